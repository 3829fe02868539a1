import { createReadStream, existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { storeError } from '../../content/files';
import type { ContentStore } from '../../content/store';
import { MbuildError, errnoOf } from '../../diagnostics/error';
import { toText } from '../../linux/paths';
import { hexOf, isDigest, type Digest } from '../../oci/digest';
import { readArchive } from './archive';
import { checkCanceled, type Transfer } from './transfer';

/**
 * Where images are loaded from: an archive (docker or OCI, compressed or not) or the directory of
 * an OCI layout, or an archive's bytes.
 */
export type LoadSource = { readonly path: string } | { readonly stream: AsyncIterable<Uint8Array> };

/** A file that became a blob of the content store. */
export interface StoredFile {
  readonly digest: Digest;
  readonly size: number;
}

/**
 * The files of an archive or directory, all of whose bytes are in the content store when `blob` has
 * returned.
 */
export interface ImageFiles {
  /** How messages name the archive or directory. */
  readonly label: string;
  /** Bytes of a small file; `undefined` when there is none of that name. */
  read(name: string): Promise<Buffer | undefined>;
  /**
   * Brings a file into the content store, verified; `undefined` when there is none of that name.
   */
  blob(
    name: string,
    expected?: { readonly digest: Digest; readonly size?: number },
  ): Promise<StoredFile | undefined>;
}

/** Members of an archive: one layer or blob each. */
const MAX_MEMBERS = 10_000;
const MAX_SMALL_FILE = 32 << 20;
const MAX_LINKS = 8;

/** @throws MbuildError ARCHIVE_INVALID, LIMIT_EXCEEDED, and as storing blobs does. */
export async function openFiles(source: LoadSource, transfer: Transfer): Promise<ImageFiles> {
  if ('stream' in source) return archiveFiles('the archive', source.stream, transfer);
  const stats = statSync(source.path, { throwIfNoEntry: false });
  if (stats === undefined)
    throw new MbuildError('ARCHIVE_INVALID', `the file ${source.path} does not exist`, {
      hint: 'give an archive of docker save, an OCI archive, or the directory of an OCI layout',
    });
  if (stats.isDirectory()) return directoryFiles(source.path, transfer.services.content);
  const stream = createReadStream(source.path, { highWaterMark: 1 << 20 });
  return archiveFiles(source.path, stream, transfer);
}

/** The files of a directory. */
export function directoryFiles(directory: string, content: ContentStore): ImageFiles {
  const find = (name: string): string | undefined => {
    const file = path.join(directory, path.posix.join('/', name));
    return existsSync(file) ? file : undefined;
  };
  return {
    label: directory,
    read: (name) => {
      const file = find(name);
      return file === undefined
        ? Promise.resolve(undefined)
        : collect(createReadStream(file), name);
    },
    blob: async (name, expected) => {
      const file = find(name);
      if (file === undefined) return undefined;
      if (expected !== undefined && content.size(expected.digest) === expected.size)
        return { digest: expected.digest, size: expected.size ?? 0 };
      return content.ingest(createReadStream(file, { highWaterMark: 1 << 20 }), expected);
    },
  };
}

/**
 * Reads an archive once, from front to end, as it may come through a pipe: every file becomes a
 * blob. What turns out not to belong to an image is deleted by the next collection of garbage.
 */
async function archiveFiles(
  label: string,
  source: AsyncIterable<Uint8Array>,
  { services: { content }, lease, scope }: Transfer,
): Promise<ImageFiles> {
  const found = new Map<string, StoredFile>();
  const links = new Map<string, string>();
  for await (const { entry, body } of readArchive(source)) {
    checkCanceled(scope.signal);
    const name = path.posix.normalize(toText(entry.path)).replace(/^\/+/, '');
    if (found.size + links.size >= MAX_MEMBERS)
      throw new MbuildError(
        'LIMIT_EXCEEDED',
        `the archive has more than ${MAX_MEMBERS} files, so it does not hold images`,
        { hint: 'to make an image from a root file system: mbuild import' },
      );
    if (entry.type === 'symlink')
      links.set(name, path.posix.join(path.posix.dirname(name), toText(entry.linkPath)));
    if (entry.type === 'link') links.set(name, path.posix.normalize(toText(entry.linkPath)));
    if (entry.type !== 'file') continue;
    const digest = digestOfName(name);
    const expected = digest === undefined ? undefined : { digest, size: entry.size };
    const hold = (made: Digest): void => lease.hold({ blobs: [made] });
    found.set(name, await content.ingest(body, expected, hold));
  }
  return {
    label,
    read: async (name) => {
      const blob = resolve(name, found, links);
      if (blob === undefined) return undefined;
      if (blob.size > MAX_SMALL_FILE) throw tooLarge(name);
      return content.read(blob.digest);
    },
    blob: async (name, expected) => {
      const blob = resolve(name, found, links);
      if (blob !== undefined && expected !== undefined && blob.digest !== expected.digest)
        throw new MbuildError(
          'DIGEST_MISMATCH',
          `${name} should be ${expected.digest}, but is ${blob.digest}`,
          { hint: 'the archive is damaged or was tampered with' },
        );
      return blob;
    },
  };
}

/** The digest that a layout's path promises. */
function digestOfName(name: string): Digest | undefined {
  const hex = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(name)?.[1];
  const digest = `sha256:${hex}`;
  return isDigest(digest) ? digest : undefined;
}

/** Docker writes a layer that images share once, and links to it. */
function resolve(
  name: string,
  found: ReadonlyMap<string, StoredFile>,
  links: ReadonlyMap<string, string>,
): StoredFile | undefined {
  let at = path.posix.normalize(name);
  for (let hops = 0; hops < MAX_LINKS; hops++) {
    const target = links.get(at);
    if (target === undefined) break;
    at = target;
  }
  return found.get(at);
}

async function collect(source: AsyncIterable<unknown>, name: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of source) {
      chunks.push(chunk as Buffer);
      size += (chunk as Buffer).length;
      if (size > MAX_SMALL_FILE) throw tooLarge(name);
    }
  } catch (error) {
    throw errnoOf(error) === undefined ? error : storeError(error, name);
  }
  return Buffer.concat(chunks);
}

function tooLarge(name: string): MbuildError {
  return new MbuildError(
    'LIMIT_EXCEEDED',
    `${name} has more than ${MAX_SMALL_FILE} bytes, which is too large for the description of an image`,
  );
}

/** Where a layout has a blob. */
export function blobName(digest: Digest): string {
  return `blobs/sha256/${hexOf(digest)}`;
}

/** The error for a file that an archive or layout mentions and does not have. */
export function lacks({ label }: ImageFiles, what: string): MbuildError {
  return new MbuildError('ARCHIVE_INVALID', `${label} lacks ${what}`);
}
