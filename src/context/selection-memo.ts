import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ownName } from '../content/files';
import { errnoOf } from '../diagnostics/error';
import { isDigest, type Digest } from '../oci/digest';
import { readKeptXattrs, xattrsText } from '../snapshot/kept-xattrs';
import type { Selection } from './selected';
import { isSettled } from './stat-cache';

const FACTS = 6;
const MOST = 64;

/**
 * Remembers the digest of whole selections by what `lstat` shows of all that is in them: a context
 * in which nothing changed then needs no look at its files one by one. It holds under the same rule
 * as the stat cache does.
 */
export class SelectionMemo {
  #known: Map<string, Digest> | undefined;

  constructor(private readonly file: string) {}

  get(signature: string): Digest | undefined {
    return this.#load().get(signature);
  }

  /** The latest are kept. The memo is a convenience: failing to write it is not an error. */
  put(signature: string, digest: Digest): void {
    const known = this.#load();
    known.set(signature, digest);
    const latest = [...known].slice(-MOST);
    const temp = ownName(path.dirname(this.file), path.basename(this.file));
    try {
      mkdirSync(path.dirname(this.file), { recursive: true, mode: 0o700 });
      writeFileSync(temp, JSON.stringify(latest), { mode: 0o600 });
      renameSync(temp, this.file);
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
    }
  }

  #load(): Map<string, Digest> {
    return (this.#known ??= new Map(readPairs(this.file)));
  }
}

/**
 * Hash of the facts of a selection. Directories count by mode and attributes alone: what is in them
 * is listed.
 */
export function selectionSignature(selection: Selection): string {
  const count = selection.sources.reduce((sum, source) => sum + source.entries.length, 0);
  const facts = new Float64Array(count * FACTS);
  const text: string[] = ['2'];
  let at = 0;
  for (const source of selection.sources) {
    text.push(source.kind, String(source.entries.length));
    for (const { path: name, hostPath, stats, linkTo } of source.entries) {
      text.push(name);
      if (linkTo !== undefined) text.push('', linkTo); // an empty name is no name
      facts[at + 5] = stats.mode;
      if (stats.isDirectory()) {
        const xattrs = xattrsText(readKeptXattrs(hostPath));
        if (xattrs !== undefined) text.push('', xattrs, '');
      } else {
        facts[at] = stats.dev;
        facts[at + 1] = stats.ino;
        facts[at + 2] = stats.size;
        facts[at + 3] = stats.mtimeMs;
        facts[at + 4] = stats.ctimeMs;
      }
      at += FACTS;
    }
  }
  return createHash('sha256')
    .update(text.join('\0'), 'latin1')
    .update('\0')
    .update(facts)
    .digest('hex');
}

/**
 * True when no entry could have changed since without showing it; directories are listed in full
 * and need not be old.
 */
export function isSelectionSettled(selection: Selection, now: number): boolean {
  return selection.sources.every((source) =>
    source.entries.every(({ stats }) => stats.isDirectory() || isSettled(stats, now)),
  );
}

function readPairs(file: string): [string, Digest][] {
  try {
    const pairs = JSON.parse(readFileSync(file, 'utf8')) as unknown;
    if (!Array.isArray(pairs)) return [];
    return pairs.filter(
      (pair): pair is [string, Digest] =>
        Array.isArray(pair) &&
        typeof pair[0] === 'string' &&
        typeof pair[1] === 'string' &&
        isDigest(pair[1]),
    );
  } catch {
    return [];
  }
}
