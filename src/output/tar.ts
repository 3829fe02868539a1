import { createReadStream } from 'node:fs';
import { MbuildError } from '../diagnostics/error';
import { NO_DEVICE, NO_XATTRS, paddingOf } from '../layer/tar/entry';
import { END_OF_ARCHIVE } from '../layer/tar/write';
import { fsPath, toText, type RawPath } from '../linux/paths';
import type { MergedView } from '../snapshot/view';
import { headerOf } from './archive-writer';
import type { StatementFile } from './file-statements';
import { treeEntries } from './tree';

/**
 * A tree, and the directory of a tar that it goes into: a path without a slash at its ends, or
 * empty.
 */
export interface PlacedTree {
  readonly directory: RawPath;
  readonly view: MergedView;
  /** Texts that lie beside its files. */
  readonly files?: readonly StatementFile[] | undefined;
}

/** What is root's, and nothing more. */
const PLAIN = { uid: 0, gid: 0, linkPath: '', device: NO_DEVICE, xattrs: NO_XATTRS } as const;

/**
 * Trees as one tar. @param mtime of all entries, in seconds since the epoch; their own when absent.
 */
export async function* directoriesTar(
  trees: readonly PlacedTree[],
  mtime?: number,
): AsyncGenerator<Uint8Array> {
  const made = new Set<RawPath>();
  for (const { directory, view, files = [] } of trees) {
    if (directory === '') {
      yield* treeEntriesTar(view, '', mtime);
      yield* textsTar(files, '', mtime);
      continue;
    }
    for (let end = directory.indexOf('/'); ; end = directory.indexOf('/', end + 1)) {
      const path = end < 0 ? directory : directory.slice(0, end);
      if (!made.has(path))
        yield* headerOf({
          ...PLAIN,
          type: 'directory',
          path,
          mode: 0o755,
          mtime: mtime ?? 0,
          size: 0,
        });
      made.add(path);
      if (end < 0) break;
    }
    yield* treeEntriesTar(view, `${directory}/`, mtime);
    yield* textsTar(files, `${directory}/`, mtime);
  }
  yield END_OF_ARCHIVE;
}

function* textsTar(
  files: readonly StatementFile[],
  prefix: RawPath,
  mtime = 0,
): Generator<Uint8Array> {
  for (const { name, text } of files) {
    const bytes = Buffer.from(text);
    yield* headerOf({
      ...PLAIN,
      type: 'file',
      path: `${prefix}${name}`,
      mode: 0o644,
      mtime,
      size: bytes.length,
    });
    yield bytes;
    yield Buffer.alloc(paddingOf(bytes.length));
  }
}

/**
 * A tree as a tar, with owners, modes, links, devices and attributes: also what `export` of a
 * container writes.
 */
export async function* treeTar(view: MergedView): AsyncGenerator<Uint8Array> {
  yield* treeEntriesTar(view, '');
  yield END_OF_ARCHIVE;
}

async function* treeEntriesTar(
  view: MergedView,
  prefix: RawPath,
  mtime?: number,
): AsyncGenerator<Uint8Array> {
  for (const { entry, source } of treeEntries(view)) {
    yield* headerOf({
      ...entry,
      mtime: mtime ?? entry.mtime,
      path: `${prefix}${entry.path}`,
      linkPath: entry.type === 'link' ? `${prefix}${entry.linkPath}` : entry.linkPath,
    });
    if (entry.size === 0) continue;
    let size = 0;
    for await (const chunk of createReadStream(fsPath(source), {
      highWaterMark: 1 << 20,
      end: entry.size - 1,
    })) {
      size += (chunk as Buffer).length;
      yield chunk as Buffer;
    }
    if (size !== entry.size)
      throw new MbuildError(
        'STORE_CORRUPT',
        `${toText(source)} was cut short while mbuild read it`,
      );
    yield Buffer.alloc(paddingOf(size));
  }
}
