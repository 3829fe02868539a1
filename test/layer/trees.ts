import { createHash } from 'node:crypto';
import { lstatSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ApplyLimits } from '../../src/layer/layer';
import { BLOCK, NO_DEVICE, NO_XATTRS, paddingOf, type TarEntry } from '../../src/layer/tar/entry';
import { END_OF_ARCHIVE, encodePax, writeHeader } from '../../src/layer/tar/write';
import { fsPath, type RawPath } from '../../src/linux/paths';
import { readXattrs } from '../../src/linux/xattr';

export const isRoot = process.getuid?.() === 0;
/** Tests of owners, devices and mounts. */
export const whenRoot = isRoot ? it : it.skip;
export const needsRoot = isRoot ? '' : ' (skipped: needs root)';

export const LIMITS: ApplyLimits = { maxSize: 2 ** 40, maxEntries: 1e6 };

/** A temporary directory for the running test. */
export function useDirectory(): () => string {
  let dir = '';
  beforeEach(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'mbuild-layer-'));
  });
  afterEach(() => {
    rmSync(dir, { recursive: true, force: true });
  });
  return () => dir;
}

/**
 * Everything a layer keeps of a tree, a line an entry; hard links show as the first name of their
 * file.
 */
export function describeTree(
  root: RawPath,
  keep: { readonly mtimes?: boolean; readonly linkTimes?: boolean; readonly xattrs?: boolean } = {},
): string[] {
  const lines: string[] = [];
  const inodes = new Map<number, RawPath>();
  const visit = (dir: RawPath): void => {
    for (const name of readdirSync(fsPath(dir === '' ? root : `${root}/${dir}`), {
      encoding: 'latin1',
    }).sort()) {
      const inside = dir === '' ? name : `${dir}/${name}`;
      const host = `${root}/${inside}`;
      const stats = lstatSync(fsPath(host));
      const first = inodes.get(stats.ino);
      if (!stats.isDirectory()) inodes.set(stats.ino, first ?? inside);
      const xattrs =
        keep.xattrs === false
          ? ''
          : [...readXattrs(host)]
              .map(([key, value]) => ` ${key}=${value.toString('hex')}`)
              .join('');
      const content = stats.isFile()
        ? `${stats.size}:${createHash('sha1')
            .update(readFileSync(fsPath(host)))
            .digest('hex')}`
        : stats.isSymbolicLink()
          ? readlinkSync(fsPath(host), { encoding: 'latin1' })
          : stats.isDirectory()
            ? ''
            : `rdev ${stats.rdev}`;
      const mtime =
        keep.mtimes === false || (keep.linkTimes === false && stats.isSymbolicLink())
          ? ''
          : ` @${Math.floor(stats.mtimeMs / 1000)}`;
      lines.push(
        `${JSON.stringify(inside)} ${stats.mode.toString(8)} ${stats.uid}:${stats.gid}${mtime}${xattrs} ${first === undefined ? content : `= ${JSON.stringify(first)}`}`,
      );
      if (stats.isDirectory()) visit(inside);
    }
  };
  visit('');
  return lines;
}

/** An entry with defaults. */
export function entryOf(facts: Partial<TarEntry> & { readonly path: string }): TarEntry {
  return {
    type: 'file',
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtime: 0,
    size: 0,
    linkPath: '',
    device: NO_DEVICE,
    xattrs: NO_XATTRS,
    ...facts,
  };
}

export type Member = Partial<TarEntry> & {
  readonly path: string;
  readonly content?: string | Uint8Array;
};

/** A tar of the given members, as our writer puts them. */
export function tarOf(...members: readonly Member[]): Buffer {
  return Buffer.concat([...members.map(memberOf), END_OF_ARCHIVE]);
}

function memberOf({ content = '', ...facts }: Member): Buffer {
  const bytes = Buffer.from(content);
  const entry = entryOf({ size: bytes.length, ...facts });
  const header = Buffer.alloc(BLOCK);
  writeHeader(entry, header, 0);
  return Buffer.concat([
    encodePax(entry) ?? Buffer.alloc(0),
    header,
    bytes,
    Buffer.alloc(paddingOf(bytes.length)),
  ]);
}
