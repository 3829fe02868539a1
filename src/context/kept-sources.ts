import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { namesIn, readRecord } from '../content/files';
import type { ContentStore } from '../content/store';
import { tryLock } from '../linux/flock';
import { removeFile, removeTree } from '../linux/remove-tree';
import { treeSize } from '../linux/tree-size';
import type { DownloadRecord } from './download';

/** A repository that was fetched for a context or an ADD, as far as it was needed. */
export interface KeptRepository {
  readonly kind: 'git';
  /** Without credentials. */
  readonly name: string;
  /** Milliseconds since the epoch. */
  readonly used: number;
  readonly bytes: number;
  readonly folder: string;
}

/** A file that was fetched. Its blob goes with the store's other unneeded blobs. */
export interface KeptDownload {
  readonly kind: 'download';
  readonly name: string;
  readonly used: number;
  readonly bytes: number;
  /** What is remembered of it. */
  readonly record: string;
}

/** Repositories that are kept in a store. */
export function keptRepositories(root: string): KeptRepository[] {
  const folder = path.join(root, 'git');
  return namesIn(folder)
    .filter((name) => !name.endsWith('.lock'))
    .map((name) => {
      const place = path.join(folder, name);
      const lock = statSync(`${place}.lock`, { throwIfNoEntry: false });
      const display = lock === undefined ? '' : readFileSync(`${place}.lock`, 'utf8');
      return {
        kind: 'git',
        name: display === '' ? name.slice(0, 12) : display,
        used: (lock ?? statSync(place)).mtimeMs,
        bytes: treeSize(place).bytes,
        folder: place,
      };
    });
}

/** Files that are kept in a store, and those that are only remembered (with no bytes). */
export function keptDownloads(root: string, content: Pick<ContentStore, 'size'>): KeptDownload[] {
  const folder = path.join(root, 'downloads');
  return namesIn(folder).map((name) => {
    const file = path.join(folder, name);
    const record = readRecord<DownloadRecord>(file);
    const bytes = record === undefined ? undefined : content.size(record.digest);
    return {
      kind: 'download',
      name: record?.from ?? name.slice(0, 12),
      used: statSync(file).mtimeMs,
      bytes: bytes ?? 0,
      record: file,
    };
  });
}

/**
 * Deletes a repository; false while a build uses it. What stays of it is the file by which builds
 * wait for each other.
 */
export function removeRepository({ folder }: KeptRepository): boolean {
  const fd = openSync(`${folder}.lock`, 'a', 0o600);
  try {
    if (!tryLock(fd, 'exclusive')) return false;
    removeTree(folder);
    return true;
  } finally {
    closeSync(fd);
  }
}

/** Forgets files whose blobs are gone: they would be fetched anew. */
export function forgetDownloads(root: string, content: Pick<ContentStore, 'size'>): void {
  for (const { bytes, record } of keptDownloads(root, content)) if (bytes === 0) removeFile(record);
}
