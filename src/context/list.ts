import { readdirSync } from 'node:fs';
import { errnoOf } from '../diagnostics/error';
import { fsPath, type RawPath } from '../linux/paths';
import { lstatOf, type FileStats } from '../linux/stat';
import { childPath } from '../snapshot/marks';
import type { IgnoreFile, LocalContext } from './local';
import type { IgnoreState } from './ignore';
import type { HidingRule } from './source-tree';

/**
 * Something of the build directory: a file that goes in or stays out, or a whole directory that is
 * empty or stays out.
 */
export interface ContextEntry {
  /** Relative to the context; a directory's ends with `/`. */
  readonly path: RawPath;
  readonly type: 'file' | 'directory' | 'symlink' | 'other';
  readonly included: boolean;
  /** Bytes of the file, or of all below the directory. */
  readonly size: number;
  /** Files in it: 1 but for directories. */
  readonly files: number;
  /** The line of the ignore file that decided last; absent when none matched. */
  readonly rule?: HidingRule | undefined;
}

/**
 * Everything in the build directory, by path, with what the ignore file says about it. A directory
 * that stays out as a whole is one entry. Sockets are no part of a context; what cannot be read in
 * a directory that stays out counts nothing.
 */
export function listContext(context: LocalContext): ContextEntry[] {
  const rules = context.ignore?.rules;
  const state = rules?.isEmpty === false ? [] : undefined;
  return walk({ hostPath: context.path, prefix: '', state }, context.ignore);
}

/** A directory to list. */
interface Listed {
  readonly hostPath: RawPath;
  /** In front of the names in it. */
  readonly prefix: RawPath;
  readonly state: IgnoreState | undefined;
}

function walk(
  { hostPath: folder, prefix, state }: Listed,
  ignore: IgnoreFile | undefined,
): ContextEntry[] {
  const entries: ContextEntry[] = [];
  for (const name of readdirSync(fsPath(folder), { encoding: 'latin1' }).sort()) {
    const hostPath = childPath(folder, name);
    const stats = lstatOf(hostPath);
    if (stats === undefined || stats.isSocket()) continue;
    const path = prefix + name;
    const verdict =
      state === undefined ? undefined : ignore?.rules.match(path, stats.isDirectory(), state);
    const included = verdict?.ignored !== true;
    const rule =
      verdict?.rule === undefined || ignore === undefined
        ? undefined
        : { file: ignore.name, line: verdict.rule.line, pattern: verdict.rule.pattern };
    if (!stats.isDirectory()) {
      entries.push({ path, type: typeOf(stats), included, size: stats.size, files: 1, rule });
      continue;
    }
    if (!included && ignore?.rules.mayDescend(path) !== true) {
      entries.push({ path: `${path}/`, type: 'directory', included, ...sizeOf(hostPath), rule });
      continue;
    }
    const below = walk({ hostPath, prefix: `${path}/`, state: verdict?.state }, ignore);
    // No spread: of a large directory there are more than a call takes.
    for (const entry of below) entries.push(entry);
    if (below.length === 0)
      entries.push({ path: `${path}/`, type: 'directory', included, size: 0, files: 0, rule });
  }
  return entries;
}

/** What is below a directory, all of it. */
function sizeOf(folder: RawPath): { size: number; files: number } {
  let size = 0;
  let files = 0;
  const folders = [folder];
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    for (const name of namesIn(next)) {
      const path = childPath(next, name);
      const stats = lstatOf(path);
      if (stats === undefined) continue;
      if (stats.isDirectory()) {
        folders.push(path);
      } else {
        size += stats.size;
        files += 1;
      }
    }
  }
  return { size, files };
}

function namesIn(folder: RawPath): RawPath[] {
  try {
    return readdirSync(fsPath(folder), { encoding: 'latin1' });
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return [];
  }
}

function typeOf(stats: FileStats): ContextEntry['type'] {
  if (stats.isFile()) return 'file';
  return stats.isSymbolicLink() ? 'symlink' : 'other';
}
