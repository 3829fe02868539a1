import {
  closeSync,
  createReadStream,
  createWriteStream,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
} from 'node:fs';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { namesIn, storeError } from '../../content/files';
import { MbuildError, errnoOf, isMbuildError } from '../../diagnostics/error';
import { lock } from '../../linux/flock';
import { removeFile } from '../../linux/remove-tree';
import { digestOf, hexOf, isDigest, type Digest } from '../../oci/digest';
import type { Descriptor, Index, Manifest } from '../../oci/image';
import { parseJson } from '../../oci/json';
import { MediaType, isIndexType } from '../../oci/media-types';
import { parseIndex } from '../../oci/read-image';
import type { BlobBody, BlobSource } from '../../registry/registry';
import { configOf, MAX_CACHE_CONFIG } from './format';
import type { CachePlace, OutgoingCache, StoredCache } from './place';

const TAG = 'org.opencontainers.image.ref.name';
const MAX_MANIFEST = 4 << 20;

/**
 * A folder that is an OCI image layout: each tag of its index is a cache. Blobs that the index does
 * not need any more are deleted.
 */
export class LocalPlace implements CachePlace {
  readonly title: string;

  constructor(
    private readonly folder: string,
    private readonly tag: string,
    private readonly digest?: string,
  ) {
    this.title = folder;
  }

  read(): Promise<readonly StoredCache[]> {
    const index = this.#index();
    const entry = index?.manifests.find(({ digest, annotations }) =>
      this.digest === undefined
        ? (annotations?.[TAG] ?? 'latest') === this.tag
        : digest === this.digest,
    );
    if (entry === undefined) return Promise.resolve([]);
    const manifest = this.#small(entry.digest, MAX_MANIFEST, 'its manifest');
    const config = configOf(manifest);
    return Promise.resolve(
      config === undefined
        ? []
        : [{ manifest, config: this.#small(config.digest, MAX_CACHE_CONFIG, 'its config') }],
    );
  }

  blob({ digest }: Descriptor, start: number): Promise<BlobBody> {
    const file = this.#file(digest);
    this.#sizeOf(file, digest);
    return Promise.resolve({
      start,
      bytes: createReadStream(file, { start }) as AsyncIterable<Uint8Array>,
    });
  }

  async write(
    { blobs, manifest }: OutgoingCache,
    signal: AbortSignal,
    note: (text: string) => void,
  ): Promise<void> {
    const { descriptor, bytes } = manifest;
    let fd: number | undefined;
    try {
      mkdirSync(path.join(this.folder, 'blobs', 'sha256'), { recursive: true });
      fd = openSync(path.join(this.folder, '.lock'), 'a', 0o600);
      await lock(fd, 'exclusive', signal);
      for (const blob of [...blobs, inMemory(descriptor, bytes)]) await this.#put(blob, signal);
      await this.#replace('oci-layout', '{"imageLayoutVersion":"1.0.0"}', signal);
      const others = (this.#index()?.manifests ?? []).filter(
        ({ annotations }) => (annotations?.[TAG] ?? 'latest') !== this.tag,
      );
      const index: Index = {
        schemaVersion: 2,
        mediaType: MediaType.ociIndex,
        manifests: [...others, { ...descriptor, annotations: { [TAG]: this.tag } }],
      };
      await this.#replace('index.json', JSON.stringify(index), signal);
      const deleted = this.#collect(index);
      note(
        `manifest ${descriptor.digest}${deleted === 0 ? '' : `, ${deleted} blob${deleted === 1 ? '' : 's'} of earlier caches deleted`}`,
      );
    } catch (error) {
      throw storeError(error, this.folder);
    } finally {
      if (fd !== undefined) closeSync(fd);
    }
  }

  #index(): Index | undefined {
    try {
      return parseIndex(readFileSync(path.join(this.folder, 'index.json')), this.folder);
    } catch (cause) {
      if (errnoOf(cause) === 'ENOENT') return undefined;
      if (!isMbuildError(cause)) throw storeError(cause, this.folder);
      throw new MbuildError(
        'CACHE_INVALID',
        `${this.folder}/index.json is not the index of an image layout: ${cause.message}`,
        { hint: 'give another directory' },
      );
    }
  }

  /** A pipe in the place of a file would be waited for. @throws MbuildError CACHE_INVALID. */
  #sizeOf(file: string, digest: Digest): number {
    const stats = statSync(file, { throwIfNoEntry: false });
    if (stats?.isFile() === true) return stats.size;
    throw new MbuildError('CACHE_INVALID', `it lacks the blob ${digest}`);
  }

  #small(digest: Digest, limit: number, what: string): Buffer {
    const file = this.#file(digest);
    const size = this.#sizeOf(file, digest);
    if (size > limit)
      throw new MbuildError(
        'LIMIT_EXCEEDED',
        `${what} has ${size} bytes, but at most ${limit} are allowed`,
      );
    const bytes = readFileSync(file);
    if (digestOf(bytes) !== digest)
      throw new MbuildError(
        'DIGEST_MISMATCH',
        `${what} does not match its digest: expected ${digest}, found ${digestOf(bytes)}`,
      );
    return bytes;
  }

  async #put(blob: BlobSource, signal: AbortSignal): Promise<void> {
    const file = this.#file(blob.descriptor.digest);
    if (statSync(file, { throwIfNoEntry: false })?.size !== blob.descriptor.size)
      await this.#write(file, blob.open(0), signal);
  }

  #replace(name: string, text: string, signal: AbortSignal): Promise<void> {
    return this.#write(path.join(this.folder, name), [Buffer.from(text)], signal);
  }

  async #write(
    file: string,
    bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    const temp = `${file}.${randomBytes(6).toString('hex')}.partial`;
    try {
      await pipeline(
        Readable.from(bytes, { objectMode: false }),
        createWriteStream(temp, { flags: 'wx' }),
        { signal },
      );
      renameSync(temp, file);
    } catch (error) {
      removeFile(temp);
      throw error;
    }
  }

  /**
   * Deletes what no entry of the index leads to; nothing at all where that cannot be told. Returns
   * how many there were.
   */
  #collect({ manifests }: Index): number {
    const needed = new Set<string>();
    try {
      for (const entry of manifests) this.#need(entry, needed);
    } catch {
      return 0;
    }
    const blobs = path.join(this.folder, 'blobs', 'sha256');
    const surplus = namesIn(blobs).filter(
      (name) => !needed.has(name.slice(0, 64)) || name.endsWith('.partial'),
    );
    for (const name of surplus) removeFile(path.join(blobs, name));
    return surplus.length;
  }

  #need({ digest, mediaType }: Descriptor, needed: Set<string>): void {
    needed.add(hexOf(digest));
    const content = parseJson(this.#small(digest, MAX_MANIFEST, 'a manifest')) as Partial<
      Manifest & Index
    >;
    if (isIndexType(mediaType))
      for (const entry of content.manifests ?? []) this.#need(entry, needed);
    else
      for (const blob of [content.config, ...(content.layers ?? [])])
        if (blob !== undefined) needed.add(hexOf(blob.digest));
  }

  #file(digest: Digest): string {
    if (!isDigest(digest))
      throw new MbuildError('CACHE_INVALID', `${JSON.stringify(digest)} is not a digest`);
    return path.join(this.folder, 'blobs', 'sha256', hexOf(digest));
  }
}

function inMemory(descriptor: Descriptor, bytes: Buffer): BlobSource {
  return {
    descriptor,
    open: (start) => Readable.from([bytes.subarray(start)]) as AsyncIterable<Uint8Array>,
  };
}
