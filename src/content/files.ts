import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MbuildError, errnoOf, isMbuildError } from '../diagnostics/error';
import { ownIdentity } from '../linux/process';
import { removeFile } from '../linux/remove-tree';
import { formatOwner } from './owner';

/** Milliseconds until a file that is being written is looked at again. */
const WAIT = 10;
const CHUNK = 1 << 20;

/**
 * The bytes of a file from its beginning while somebody writes it, and to its end once `isWhole`.
 * Once it is open, it may be renamed.
 */
export async function* followFile(
  file: string,
  isWhole: () => boolean,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void> {
  const fd = openSync(file, 'r');
  try {
    for (let position = 0; ;) {
      signal.throwIfAborted();
      const wasWhole = isWhole();
      const there = fstatSync(fd).size - position;
      if (there > 0) {
        const chunk = Buffer.allocUnsafe(Math.min(CHUNK, there));
        position += readSync(fd, chunk);
        yield chunk;
      } else if (wasWhole) return;
      else await sleep(WAIT);
    }
  } finally {
    closeSync(fd);
  }
}

/**
 * A fresh name in a folder of the store; it says whose it is, so that what a dead process left can
 * be collected.
 */
export function ownName(folder: string, what: string): string {
  return path.join(
    folder,
    `${what}.${randomBytes(6).toString('hex')}.${formatOwner(ownIdentity())}`,
  );
}

/** The same in the store's `tmp`. */
export function tempName(root: string, what: string): string {
  return ownName(path.join(root, 'tmp'), what);
}

/** Replaces a file of the store as a whole: readers see the old text or the new one. */
export function replaceFile(root: string, file: string, text: string | Uint8Array): void {
  const temp = tempName(root, 'file');
  storing(file, () => {
    writeInto(temp, text);
    for (let tries = 0; ; tries++) {
      try {
        return renameSync(temp, file);
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT' || tries === 3) throw error;
        // The folder is made by the first file in it; another process may just have removed it as
        // empty.
        mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
      }
    }
  });
}

/** Makes a file of the store unless it is there; false when another was first. */
export function createFile(root: string, file: string, text: string): boolean {
  const temp = tempName(root, 'file');
  return storing(file, () => {
    writeInto(temp, text);
    try {
      mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
      linkSync(temp, file);
      return true;
    } catch (error) {
      if (errnoOf(error) === 'EEXIST') return false;
      throw error;
    } finally {
      removeFile(temp);
    }
  });
}

/**
 * A JSON file of the store; `undefined` when it is not there. @throws MbuildError STORE_CORRUPT.
 */
export function readJson<T>(file: string): T | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw storeError(error, file);
  }
  try {
    const value: unknown = JSON.parse(text);
    if (value === null) throw new SyntaxError('it is null');
    return value as T;
  } catch (cause) {
    throw new MbuildError('STORE_CORRUPT', `${file} is not valid JSON`, {
      cause,
      hint: 'delete the file; mbuild makes it again when needed',
    });
  }
}

/**
 * The same for what is made again when it is missing: a file that a machine without power left
 * damaged is as good as none.
 */
export function readRecord<T>(file: string): T | undefined {
  try {
    return readJson<T>(file);
  } catch (error) {
    if (isMbuildError(error, 'STORE_CORRUPT')) return undefined;
    throw error;
  }
}

/** Sorted names in a folder of the store; none when it is not there. */
export function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return [];
    throw storeError(error, folder);
  }
}

/** Runs a write to the store; system errors come out as {@link storeError}. */
export function storing<T>(file: string, write: () => T): T {
  try {
    return write();
  } catch (error) {
    throw storeError(error, file);
  }
}

/**
 * A system error about a file of the store as an MbuildError: NO_SPACE, PERMISSION_DENIED or
 * IO_FAILED; anything else as it is.
 */
export function storeError(error: unknown, file: string): unknown {
  switch (errnoOf(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new MbuildError('NO_SPACE', `no space left to write ${file}`, {
        cause: error,
        hint: 'free some space, or move the store with --root',
      });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new MbuildError('PERMISSION_DENIED', `no permission to access ${file}`, {
        cause: error,
        hint: 'choose a store of your own with --root',
      });
    default:
      return isSystemError(error)
        ? new MbuildError('IO_FAILED', `cannot access ${file}: ${error.message}`, { cause: error })
        : error;
  }
}

/**
 * True for what a system call answered; what Node.js says of itself has a code like
 * ERR_INVALID_ARG_TYPE.
 */
function isSystemError(error: unknown): error is Error {
  return /^E(?!RR_)[A-Z0-9]+$/.test(errnoOf(error) ?? '');
}

function writeInto(temp: string, text: string | Uint8Array): void {
  try {
    writeFileSync(temp, text, { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') {
      mkdirSync(path.dirname(temp), { recursive: true, mode: 0o700 });
      writeFileSync(temp, text, { flag: 'wx', mode: 0o600 });
      return;
    }
    removeFile(temp);
    throw error;
  }
}
