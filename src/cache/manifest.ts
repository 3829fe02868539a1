import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { namesIn, removeFile, replaceFile } from '../content/files';
import type { EntryRecord } from '../context/digest';
import type { Selection } from '../context/selection';
import type { SourceTree } from '../context/source-tree';
import { errnoOf } from '../diagnostics/error';
import { toText, type RawPath } from '../linux/paths';
import type { KeyInput } from './key';

/**
 * What a source of COPY, or a bind mount, brought: kept under the digest that stands for it in keys, so that a later miss
 * can name the files that differ. Steps and builds that select the same share it.
 */
export interface SelectionManifest {
  /** The selection's digest, as it stands in a key's inputs. */
  readonly digest: string;
  /** It was taken from a context, where an ignore file can hide files. */
  readonly ofContext: boolean;
  /** By index of the source: the directory in the tree that its paths count from, without slashes around it; empty for the root. */
  readonly places: readonly RawPath[];
  /** Content hashes may be cut: they tell contents apart, they do not vouch for them. */
  readonly entries: readonly EntryRecord[];
}

/** A manifest as it is stored: columns, which compress well. */
interface Columns {
  readonly version: 1;
  readonly ofContext: boolean;
  readonly places: readonly RawPath[];
  readonly paths: readonly RawPath[];
  readonly sources: readonly number[];
  readonly types: string;
  readonly modes: readonly number[];
  readonly owners: readonly string[];
  readonly sizes: readonly (number | null)[];
  readonly contents: string;
  /** `[index, target, device, capability]` of the entries that have any. */
  readonly more: readonly (readonly [number, RawPath | null, string | null, string | null])[];
}

const TYPES: Readonly<Record<EntryRecord['type'], string>> = { file: 'f', directory: 'd', symlink: 's', link: 'l', fifo: 'p', char: 'c', block: 'b' };
/** Characters kept of a content's hash: two contents of one path and size that agree in 48 bits are not to be expected. */
const HASH_KEPT = 12;
const NO_HASH = '-'.repeat(HASH_KEPT);
/** Bytes of a manifest's text: ten times what the largest one has. */
const MAX_TEXT = 512 << 20;
/** Larger selections are not kept: their misses are explained by the source's name alone. */
const MAX_ENTRIES = 200_000;

/** The manifest of a selection that was digested. @param word the source as written, for trees whose files lie in several directories. */
export function manifestOf(digest: string, entries: readonly EntryRecord[], selection: Selection, tree: Pick<SourceTree, 'lstat' | 'ownership'>, word: string): SelectionManifest {
  const root = tree.lstat('/')?.hostPath;
  return { digest, entries, ofContext: tree.ownership === 'root', places: selection.sources.map((source) => placeOf(source, root, word)) };
}

/** Writes a manifest unless it is there. */
export async function storeManifest(root: string, manifest: SelectionManifest): Promise<void> {
  const file = fileOf(root, manifest.digest);
  if (manifest.entries.length > MAX_ENTRIES || existsSync(file)) return;
  const { deflateRawSync } = await import('node:zlib');
  replaceFile(root, file, deflateRawSync(JSON.stringify(columnsOf(manifest)), { level: 3 }));
}

/** The stored manifest of a digest; `undefined` when there is none that can be read. */
export async function loadManifest(root: string, digest: string): Promise<SelectionManifest | undefined> {
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

/** Reads what is stored, here or elsewhere; `undefined` for what has another form: an explanation is less exact without it, nothing depends on it. */
export async function readManifest(bytes: Buffer, digest: string): Promise<SelectionManifest | undefined> {
  const { inflateRawSync } = await import('node:zlib');
  try {
    const columns = JSON.parse(inflateRawSync(bytes, { maxOutputLength: MAX_TEXT }).toString('utf8')) as Columns;
    return isColumns(columns) ? { digest, ofContext: columns.ofContext, places: columns.places, entries: entriesOf(columns) } : undefined;
  } catch (error) {
    if (errnoOf(error) === undefined && !(error instanceof SyntaxError)) throw error;
    return undefined;
  }
}

/** The digests of selections in a key's inputs. */
export function selectionsOf({ inputs }: Pick<KeyInput, 'inputs'>): string[] {
  return [...JSON.stringify([inputs['sources'], inputs['mounts']]).matchAll(/"(sha256:[0-9a-f]{64})"/g)].flatMap(([, digest]) => digest ?? []);
}

/** Deletes the manifests of digests that nobody refers to any more. */
export function collectManifests(root: string, isUsed: (digest: string) => boolean): void {
  const folder = folderOf(root);
  for (const name of namesIn(folder)) {
    if (!isUsed(`sha256:${name}`)) removeFile(path.join(folder, name));
  }
}

function fileOf(root: string, digest: string): string {
  return path.join(folderOf(root), digest.replace('sha256:', ''));
}

function folderOf(root: string): string {
  return path.join(root, 'cache', 'manifests');
}

/** Where a source lies in its tree, read off the place of its first entry on the host. */
function placeOf(source: Selection['sources'][number], root: RawPath | undefined, word: string): RawPath {
  const first = source.entries[0];
  if (first !== undefined && root !== undefined && first.hostPath.startsWith(`${root}/`) && first.hostPath.endsWith(`/${first.path}`)) {
    return first.hostPath.slice(root.length + 1, -first.path.length - 1);
  }
  const clean = path.posix.normalize(`/${word}`).replace(/^\/+|\/+$/g, '');
  return source.kind === 'contents' ? clean : path.posix.dirname(`/${clean}`).slice(1);
}

/** The path of an entry in the tree that it was taken from, for people. */
export function shownPath(manifest: SelectionManifest, entry: EntryRecord): string {
  const place = manifest.places[entry.source] ?? '';
  return toText(place === '' ? entry.path : `${place}/${entry.path}`);
}

function columnsOf({ ofContext, places, entries }: SelectionManifest): Columns {
  return {
    version: 1, ofContext, places,
    paths: entries.map((entry) => entry.path), sources: entries.map((entry) => entry.source), types: entries.map((entry) => TYPES[entry.type]).join(''),
    modes: entries.map((entry) => entry.mode), owners: entries.map((entry) => `${entry.uid}:${entry.gid}`), sizes: entries.map((entry) => entry.size ?? null),
    contents: entries.map((entry) => entry.content?.slice(0, HASH_KEPT).padEnd(HASH_KEPT, '-') ?? NO_HASH).join(''),
    more: entries.flatMap(({ target, device, capability }, index) => (
      target === undefined && device === undefined && capability === undefined ? [] : [[index, target ?? null, device ?? null, capability ?? null] as const])),
  };
}

function isColumns(value: Columns | null): value is Columns {
  if (value === null || value.version !== 1) return false;
  const { places, paths, sources, types, modes, owners, sizes, contents, more } = value as Readonly<Record<keyof Columns, unknown>>;
  const every = (list: unknown, type: string): boolean => Array.isArray(list) && list.every((item) => typeof item === type || (item === null && list === sizes));
  const told = (item: unknown): boolean => Array.isArray(item) && typeof item[0] === 'number' && item.slice(1).every((part) => part === null || typeof part === 'string');
  return every(places, 'string') && every(paths, 'string') && every(sources, 'number') && typeof types === 'string' && every(modes, 'number')
    && every(owners, 'string') && every(sizes, 'number') && typeof contents === 'string' && Array.isArray(more) && more.every(told);
}

function entriesOf(columns: Columns): EntryRecord[] {
  const more = new Map(columns.more.map(([index, ...rest]) => [index, rest]));
  const types = new Map(Object.entries(TYPES).map(([type, letter]) => [letter, type as EntryRecord['type']]));
  return columns.paths.map((entryPath, index): EntryRecord => {
    const content = columns.contents.slice(index * HASH_KEPT, (index + 1) * HASH_KEPT);
    const [uid, gid] = (columns.owners[index] ?? '0:0').split(':').map(Number);
    const [target, device, capability] = more.get(index) ?? [null, null, null];
    return {
      source: columns.sources[index] ?? 0, path: entryPath, type: types.get(columns.types[index] ?? '') ?? 'file', mode: columns.modes[index] ?? 0, uid: uid ?? 0, gid: gid ?? 0,
      size: columns.sizes[index] ?? undefined, content: content === NO_HASH ? undefined : content, target: target ?? undefined, device: device ?? undefined, capability: capability ?? undefined,
    };
  });
}

/** What of two contents is compared. */
export function sameContent(a: string | undefined, b: string | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined) return false;
  return a.length < b.length ? b.startsWith(a.slice(0, HASH_KEPT)) : a.startsWith(b.slice(0, HASH_KEPT));
}
