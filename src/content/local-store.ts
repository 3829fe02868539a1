import { createHash } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { removeFile } from '../linux/remove-tree';
import { digestOf, hexOf, isDigest, toDigest, type Digest } from '../oci/digest';
import { Aside } from './aside';
import { replaceFile, storeError, storing, tempName } from './files';
import { isAbandoned } from './presence';
import type { ContentStore, Expected } from './store';
import { isVerified, noteVerified } from './verified';

/** Bytes that are hashed and read at once. */
const CHUNK = 1 << 20;

/**
 * Blobs as files `<root>/blobs/sha256/<hex>`; with `oci-layout` beside them the root reads as an
 * OCI image layout (image-spec, image-layout.md). What is being written lies in `<root>/tmp` under
 * names that carry their owner.
 */
export class LocalContentStore implements ContentStore {
  readonly #blobs: string;
  /** Partial files that this process has claimed. */
  readonly #partials = new Map<Digest, string>();

  /**
   * Makes the folders (mode 0700) when they are not there.
   * @throws MbuildError PERMISSION_DENIED, NO_SPACE.
   */
  constructor(
    private readonly root: string,
    private readonly aside: Aside = new Aside(root),
  ) {
    this.#blobs = path.join(root, 'blobs', 'sha256');
    const layout = path.join(root, 'oci-layout');
    if (existsSync(layout)) return;
    storing(root, () => {
      mkdirSync(root, { recursive: true, mode: 0o700 });
      for (const folder of [this.#blobs, path.join(root, 'tmp')])
        mkdirSync(folder, { recursive: true, mode: 0o700 });
      try {
        writeFileSync(path.join(root, 'index.json'), '{"schemaVersion":2,"manifests":[]}\n', {
          flag: 'wx',
        });
      } catch (error) {
        if (errnoOf(error) !== 'EEXIST') throw error;
      }
    });
    replaceFile(root, layout, '{"imageLayoutVersion":"1.0.0"}\n');
  }

  path(digest: Digest): string {
    return path.join(this.#blobs, hexOf(digest));
  }

  size(digest: Digest): number | undefined {
    return sizeOf(this.path(digest));
  }

  open(digest: Digest, range?: { readonly start: number }): Readable {
    if (this.size(digest) === undefined) throw missing(digest);
    return createReadStream(this.path(digest), {
      highWaterMark: CHUNK,
      ...(range === undefined ? {} : { start: range.start }),
    });
  }

  async *openVerified(digest: Digest): AsyncGenerator<Buffer, void> {
    const file = this.path(digest);
    if (isVerified(file)) return yield* this.open(digest) as AsyncIterable<Buffer>;
    const hash = createHash('sha256');
    for await (const chunk of this.open(digest) as AsyncIterable<Buffer>) {
      hash.update(chunk);
      yield chunk;
    }
    if (toDigest(hash) === digest) return noteVerified(file);
    this.setAside(digest);
    throw new MbuildError(
      'STORE_CORRUPT',
      `the blob ${digest} was damaged on disk and has been set aside`,
      { hint: 'run the same command again, or pull the image again' },
    );
  }

  read(digest: Digest): Buffer {
    let bytes: Buffer;
    try {
      bytes = readFileSync(this.path(digest));
    } catch (error) {
      throw errnoOf(error) === 'ENOENT' ? missing(digest) : storeError(error, this.path(digest));
    }
    if (digestOf(bytes) !== digest) {
      throw new MbuildError('STORE_CORRUPT', `the blob ${digest} was damaged on disk`, {
        hint: `delete ${this.path(digest)} and pull or build the image again`,
      });
    }
    return bytes;
  }

  async ingest(
    source: AsyncIterable<Uint8Array>,
    expected?: Expected,
    hold?: (digest: Digest) => void,
    begun?: (file: string) => void,
  ): Promise<{ readonly digest: Digest; readonly size: number }> {
    const temp = tempName(this.root, 'blob');
    try {
      const written = await writeHashed(temp, source, expected?.size, begun);
      check(written, expected);
      noteVerified(temp);
      hold?.(written.digest);
      renameSync(temp, this.path(written.digest));
      return written;
    } catch (error) {
      removeFile(temp);
      throw storeError(error, temp);
    }
  }

  write(bytes: Uint8Array): Digest {
    const digest = digestOf(bytes);
    // One that a machine without power left damaged is written again.
    if (!this.#holds(digest, bytes)) replaceFile(this.root, this.path(digest), bytes);
    return digest;
  }

  #holds(digest: Digest, bytes: Uint8Array): boolean {
    return this.size(digest) === bytes.length && readFileSync(this.path(digest)).equals(bytes);
  }

  partial(digest: Digest): { readonly path: string; readonly size: number } {
    const known = this.#partials.get(digest);
    const file =
      known ?? this.#claimAbandoned(digest) ?? tempName(this.root, partialPrefix(digest));
    this.#partials.set(digest, file);
    return { path: file, size: sizeOf(file) ?? 0 };
  }

  async adopt(expected: Expected): Promise<void> {
    const { path: file } = this.partial(expected.digest);
    try {
      writeFileSync(file, '', { flag: 'a', mode: 0o600 });
      check(await hashFile(file), expected);
      noteVerified(file);
      renameSync(file, this.path(expected.digest));
    } catch (error) {
      removeFile(file);
      throw storeError(error, file);
    } finally {
      this.#partials.delete(expected.digest);
    }
  }

  async isIntact(digest: Digest): Promise<boolean> {
    const file = this.path(digest);
    try {
      return (await hashFile(file)).digest === digest;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return false;
      throw storeError(error, file);
    }
  }

  setAside(digest: Digest): void {
    this.aside.move(this.path(digest));
  }

  list(): Digest[] {
    return readdirSync(this.#blobs)
      .map((name) => `sha256:${name}`)
      .filter(isDigest)
      .sort();
  }

  /**
   * Takes over what a process that has ended left of a download. Of several that try, the rename
   * lets one win.
   */
  #claimAbandoned(digest: Digest): string | undefined {
    const folder = path.join(this.root, 'tmp');
    for (const name of readdirSync(folder)) {
      if (!name.startsWith(`${partialPrefix(digest)}.`) || !isAbandoned(this.root, name)) continue;
      const mine = tempName(this.root, partialPrefix(digest));
      try {
        renameSync(path.join(folder, name), mine);
        return mine;
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT') throw storeError(error, mine);
      }
    }
    return undefined;
  }
}

function partialPrefix(digest: Digest): string {
  return `partial-${hexOf(digest)}`;
}

function check(
  found: { readonly digest: Digest; readonly size: number },
  expected: Expected | undefined,
): void {
  if (expected === undefined) return;
  if (expected.size !== undefined && found.size !== expected.size)
    throw sizeMismatch(expected, `${found.size} bytes were received`);
  if (found.digest !== expected.digest) {
    throw new MbuildError(
      'DIGEST_MISMATCH',
      `expected ${expected.digest}, but received ${found.digest}`,
      { hint: 'the source is damaged or was tampered with; nothing was stored' },
    );
  }
}

function sizeMismatch(expected: Expected, what: string): MbuildError {
  return new MbuildError(
    'SIZE_MISMATCH',
    `${expected.digest} has ${expected.size} bytes, but ${what}`,
  );
}

function missing(digest: Digest): MbuildError {
  return new MbuildError('STORE_CORRUPT', `the blob ${digest} is not in the store`, {
    hint: 'pull or build the image again',
  });
}

async function writeHashed(
  file: string,
  source: AsyncIterable<Uint8Array>,
  limit = Infinity,
  begun?: (file: string) => void,
): Promise<{ digest: Digest; size: number }> {
  const hash = createHash('sha256');
  let size = 0;
  const { open } = await import('node:fs/promises');
  const handle = await open(file, 'wx', 0o600);
  try {
    begun?.(file);
    for await (const chunk of source) {
      size += chunk.length;
      if (size > limit)
        throw new MbuildError('SIZE_MISMATCH', `more than the ${limit} bytes that were announced`);
      hash.update(chunk);
      for (let at = 0; at < chunk.length;) at += (await handle.write(chunk, at)).bytesWritten;
    }
  } finally {
    await handle.close();
  }
  return { digest: toDigest(hash), size };
}

async function hashFile(file: string): Promise<{ digest: Digest; size: number }> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: CHUNK })) {
    hash.update(chunk as Buffer);
    size += (chunk as Buffer).length;
  }
  return { digest: toDigest(hash), size };
}

function sizeOf(file: string): number | undefined {
  try {
    return statSync(file).size;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw storeError(error, file);
  }
}
