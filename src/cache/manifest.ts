import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { namesIn, replaceFile } from '../content/files';
import type { EntryRecord, SelectionDigest } from '../context/digest';
import type { Selection } from '../context/selected';
import type { SourceTree } from '../context/source-tree';
import { errnoOf } from '../diagnostics/error';
import type { RawPath } from '../linux/paths';
import { removeFile } from '../linux/remove-tree';
import type { KeyInput } from './key';
import { HASH_KEPT, packEntries, type PackedEntries } from './manifest-entries';

/**
 * What a source of COPY, or a bind mount, brought: kept under the digest that stands for it in
 * keys, so that a later miss can name the files that differ. Steps and builds that select the same
 * share it.
 */
export interface SelectionManifest {
  /** The selection's digest, as it stands in a key's inputs. */
  readonly digest: string;
  /** It was taken from a context, where an ignore file can hide files. */
  readonly ofContext: boolean;
  /**
   * By index of the source: the directory in the tree that its paths count from, without slashes
   * around it; empty for the root.
   */
  readonly places: readonly RawPath[];
  readonly entries: PackedEntries;
}

/** The digest of a selection, and all that was selected; made when it is asked for, once. */
export type DescribedSelection = readonly [
  digest: string,
  describe: () => Promise<SelectionManifest>,
];

/**
 * A stored manifest begins with a line of JSON; the hashes follow as they are, since nothing
 * compresses them, then the lines, compressed.
 */
interface Head
  extends Pick<SelectionManifest, 'ofContext' | 'places'>, Pick<PackedEntries, 'count' | 'bytes'> {
  readonly version: 3;
}

/**
 * Other forms have other names, so that none is taken for this one; they go with what nobody refers
 * to.
 */
const SUFFIX = '.3';
/** Bytes of a manifest's text: ten times what the largest one has. */
const MAX_TEXT = 512 << 20;
/** Larger selections are not kept: their misses are explained by the source's name alone. */
const MAX_ENTRIES = 200_000;
const NEWLINE = 10;

/**
 * A selection that was digested.
 * @param word the source as written, for trees whose files lie in several directories.
 */
export function describedSelection(
  { digest, entries }: SelectionDigest,
  selection: Selection,
  tree: Pick<SourceTree, 'lstat' | 'ownership'>,
  word: string,
): DescribedSelection {
  let described: Promise<SelectionManifest> | undefined;
  return [
    digest,
    () =>
      (described ??= entries().then((records) =>
        manifestOf(digest, records, { selection, tree, word }),
      )),
  ];
}

/** A selection with the tree that it is of, and the word for that in messages. */
interface Selected {
  readonly selection: Selection;
  readonly tree: Pick<SourceTree, 'lstat' | 'ownership'>;
  readonly word: string;
}

function manifestOf(
  digest: string,
  entries: Iterable<EntryRecord>,
  { selection, tree, word }: Selected,
): SelectionManifest {
  const root = tree.lstat('/')?.hostPath;
  return {
    digest,
    entries: packEntries(entries),
    ofContext: tree.ownership === 'root',
    places: selection.sources.map((source) => placeOf(source, root, word)),
  };
}

/** Writes a manifest unless it is there. */
export async function storeManifest(
  root: string,
  { digest, ofContext, places, entries: { count, bytes, hashes, lines } }: SelectionManifest,
): Promise<void> {
  const file = fileOf(root, digest);
  if (count > MAX_ENTRIES || existsSync(file)) return;
  const { deflateRawSync } = await import('node:zlib');
  const head: Head = { version: 3, ofContext, places, count, bytes };
  replaceFile(
    root,
    file,
    Buffer.concat([
      Buffer.from(`${JSON.stringify(head)}\n`),
      hashes,
      deflateRawSync(lines, { level: 1 }),
    ]),
  );
}

/** The stored manifest of a digest; `undefined` when there is none that can be read. */
export async function loadManifest(
  root: string,
  digest: string,
): Promise<SelectionManifest | undefined> {
  const bytes = storedManifest(root, digest);
  return bytes === undefined ? undefined : readManifest(bytes, digest);
}

/** A manifest as it is stored. */
export function storedManifest(root: string, digest: string): Buffer | undefined {
  try {
    return readFileSync(fileOf(root, digest));
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}

/**
 * Reads what is stored, here or elsewhere; `undefined` for what has another form: an explanation is
 * less exact without it, nothing depends on it.
 */
export async function readManifest(
  bytes: Buffer,
  digest: string,
): Promise<SelectionManifest | undefined> {
  const { inflateRawSync } = await import('node:zlib');
  try {
    const start = bytes.indexOf(NEWLINE) + 1;
    const head = JSON.parse(bytes.toString('utf8', 0, start)) as Head | null;
    if (!isHead(head)) return undefined;
    const end = start + head.count * HASH_KEPT;
    const lines = inflateRawSync(bytes.subarray(end), { maxOutputLength: MAX_TEXT });
    return {
      digest,
      ofContext: head.ofContext,
      places: head.places,
      entries: { count: head.count, bytes: head.bytes, hashes: bytes.subarray(start, end), lines },
    };
  } catch (error) {
    if (errnoOf(error) === undefined && !(error instanceof SyntaxError)) throw error;
    return undefined;
  }
}

/** The digests of selections in a key's inputs. */
export function selectionsOf({ inputs }: Pick<KeyInput, 'inputs'>): string[] {
  return [
    ...JSON.stringify([inputs['sources'], inputs['mounts']]).matchAll(/"(sha256:[0-9a-f]{64})"/g),
  ].flatMap(([, digest]) => digest ?? []);
}

/** Deletes the manifests of digests that nobody refers to any more, and those of other forms. */
export function collectManifests(root: string, isUsed: (digest: string) => boolean): void {
  const folder = folderOf(root);
  for (const name of namesIn(folder)) {
    if (!name.endsWith(SUFFIX) || !isUsed(`sha256:${name.slice(0, -SUFFIX.length)}`))
      removeFile(path.join(folder, name));
  }
}

/** The path of an entry in the tree that it was taken from. */
export function treePath(
  { places }: Pick<SelectionManifest, 'places'>,
  entry: EntryRecord,
): RawPath {
  const place = places[entry.source] ?? '';
  return place === '' ? entry.path : `${place}/${entry.path}`;
}

function fileOf(root: string, digest: string): string {
  return path.join(folderOf(root), digest.replace('sha256:', '') + SUFFIX);
}

function folderOf(root: string): string {
  return path.join(root, 'cache', 'manifests');
}

/** Where a source lies in its tree, read off the place of its first entry on the host. */
function placeOf(
  source: Selection['sources'][number],
  root: RawPath | undefined,
  word: string,
): RawPath {
  const first = source.entries[0];
  if (
    first !== undefined &&
    root !== undefined &&
    first.hostPath.startsWith(`${root}/`) &&
    first.hostPath.endsWith(`/${first.path}`)
  ) {
    return first.hostPath.slice(root.length + 1, -first.path.length - 1);
  }
  const clean = path.posix.normalize(`/${word}`).replace(/^\/+|\/+$/g, '');
  return source.kind === 'contents' ? clean : path.posix.dirname(`/${clean}`).slice(1);
}

function isHead(value: Head | null): value is Head {
  if (value === null || value.version !== 3) return false;
  const { count, bytes, places } = value as Readonly<Record<keyof Head, unknown>>;
  return (
    Number.isSafeInteger(count) &&
    Number(count) >= 0 &&
    Number.isFinite(bytes) &&
    Array.isArray(places) &&
    places.every((place) => typeof place === 'string')
  );
}
