import { existsSync } from 'node:fs';
import path from 'node:path';
import { Aside } from '../../content/aside';
import { createFile, namesIn, readRecord, replaceFile } from '../../content/files';
import { removeFile } from '../../linux/remove-tree';
import { chainIds, hexOf, isDigest, type ChainID, type DiffID } from '../../oci/digest';
import type { Descriptor } from '../../oci/image';
import type { LayerId, Stack } from '../../snapshot/snapshotter';
import type { LayerIndex, LayerRecord } from './layer-index';

/**
 * One file a layer: `<root>/chains/<hex of the ChainID>.json`. One that cannot be read counts as
 * missing.
 */
export class FileLayerIndex implements LayerIndex {
  readonly #folder: string;

  constructor(
    private readonly root: string,
    private readonly aside: Aside = new Aside(root),
  ) {
    this.#folder = path.join(root, 'chains');
  }

  get(chainId: ChainID): LayerRecord | undefined {
    return readRecord<LayerRecord>(this.#file(chainId));
  }

  stack(diffIds: readonly DiffID[]): Stack | undefined {
    const stack: LayerId[] = [];
    for (const chainId of chainIds(diffIds)) {
      const record = this.get(chainId);
      if (record === undefined) return undefined;
      stack.push(record.id);
    }
    return stack;
  }

  put(record: LayerRecord): LayerRecord {
    for (;;) {
      if (createFile(this.root, this.#file(record.chainId), JSON.stringify(record))) return record;
      const first = this.get(record.chainId);
      if (first !== undefined) return first;
      // Damaged, unless another process has just deleted it.
      this.replace(record);
    }
  }

  replace(record: LayerRecord): void {
    const file = this.#file(record.chainId);
    if (existsSync(file)) replaceFile(this.root, file, JSON.stringify(record));
  }

  addBlob(chainId: ChainID, blob: Descriptor): void {
    const record = this.get(chainId);
    if (record === undefined || record.blobs.some((known) => known.digest === blob.digest)) return;
    // Of two processes that add at the same moment one is forgotten: its blob is then compressed or
    // fetched once more.
    this.replace({ ...record, blobs: [...record.blobs, blob] });
  }

  list(): LayerRecord[] {
    return namesIn(this.#folder).flatMap((name) => {
      const digest = `sha256:${name.replace(/\.json$/, '')}`;
      const record = isDigest(digest) ? this.get(digest as string as ChainID) : undefined;
      return record === undefined ? [] : [record];
    });
  }

  delete(chainId: ChainID): void {
    removeFile(this.#file(chainId));
  }

  setAside(chainId: ChainID): void {
    this.aside.move(this.#file(chainId));
  }

  #file(chainId: ChainID): string {
    return path.join(this.#folder, `${hexOf(chainId)}.json`);
  }
}
