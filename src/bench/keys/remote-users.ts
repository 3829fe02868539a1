import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { decompressed } from '../../layer/decompress';
import { TarReader } from '../../layer/tar/read';
import { toRaw } from '../../linux/paths';
import type { Descriptor } from '../../oci/image';
import type { Repository } from '../../registry/registry';
import type { ImageSource } from '../../registry/registry';
import { LayeredView } from '../../snapshot/merged-view';
import type { MergedView } from '../../snapshot/view';

/** An image in a registry, as far as its users are looked up. */
export interface RemoteImage {
  readonly repository: Repository;
  /** Bottom first. */
  readonly layers: readonly Descriptor[];
  readonly registry: ImageSource;
  readonly signal: AbortSignal;
}

/** The files that users are looked up in, and what hides those of layers below. */
const FILES = ['etc/passwd', 'etc/group'] as const;
/** Larger ones are no list of users. */
const MAX_BYTES = 4 << 20;

/**
 * A tree with the image's /etc/passwd and /etc/group and nothing else. Layers are read from the top, each up to where both files
 * are known: no more is fetched than that.
 * @param directory an empty directory that the caller removes.
 */
export async function remoteUsers(image: RemoteImage, directory: string): Promise<MergedView> {
  const found = new Map<string, Buffer | 'deleted'>();
  for (const layer of image.layers.toReversed()) {
    if (FILES.every((name) => found.has(name))) break;
    await searchLayer(layer, image, found);
  }
  mkdirSync(path.join(directory, 'etc'), { recursive: true });
  for (const name of FILES) {
    const content = found.get(name);
    if (content !== undefined && content !== 'deleted')
      writeFileSync(path.join(directory, name), content);
  }
  return new LayeredView([toRaw(directory)]);
}

/** What a higher layer has, or has deleted, stays as it is. */
async function searchLayer(
  layer: Descriptor,
  { repository, registry, signal }: RemoteImage,
  found: Map<string, Buffer | 'deleted'>,
): Promise<void> {
  const here = new Map<string, Buffer | 'deleted'>();
  let open: { readonly name: string; readonly chunks: Buffer[] } | undefined;
  const reader = new TarReader({
    entry: ({ path: name, type, size }) => {
      const clean = name.replace(/^(?:\.?\/)+/, '');
      const isWanted = (FILES as readonly string[]).includes(clean) && !found.has(clean);
      open =
        isWanted && type === 'file' && size <= MAX_BYTES ? { name: clean, chunks: [] } : undefined;
      for (const file of FILES)
        if (clean === file.replace('etc/', 'etc/.wh.') && !found.has(file))
          here.set(file, 'deleted');
    },
    data: (bytes) => open?.chunks.push(Buffer.from(bytes)),
    hole: () => undefined,
    end: () => {
      if (open !== undefined) here.set(open.name, Buffer.concat(open.chunks));
      open = undefined;
    },
  });
  const body = await registry.blob(repository, layer, 0, signal);
  for await (const chunk of decompressed(body.bytes)) {
    reader.push(chunk);
    if (FILES.every((name) => found.has(name) || here.has(name))) break;
  }
  for (const [name, content] of here) found.set(name, content);
}
