import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { Readable } from 'node:stream';
import type { SourceFile } from '../diagnostics/range';
import { LocalContext, loadIgnoreFile } from './local';

/** Where the build's files come from. */
export type ContextSource =
  | { readonly kind: 'directory'; readonly path: string }
  /** A tar (plain or compressed) from a stream: `mbuild -`. */
  | { readonly kind: 'stream'; readonly stream: NodeJS.ReadableStream }
  | { readonly kind: 'git'; readonly url: string }
  | { readonly kind: 'http'; readonly url: string }
  /** No files: `mbuild -f - -` with a Dockerfile alone on standard input. */
  | { readonly kind: 'empty' };

/** Which Dockerfile: a path, or its text. */
export type DockerfileSource = { readonly path: string } | { readonly name: string; readonly text: string };

/** The files of a build, opened. */
export interface OpenedContext {
  readonly tree: LocalContext;
  readonly dockerfile: SourceFile;
  /** Deletes what was unpacked. */
  readonly close: () => void;
}

/**
 * Opens the build directory, its Dockerfile and its ignore file.
 * @param store the store's folder: hashes of the directory's files are remembered there.
 * @throws MbuildError CONTEXT_NOT_FOUND, CONTEXT_INVALID, DOCKERFILE_NOT_FOUND, IGNORE_FILE_INVALID.
 */
export async function openContext(source: ContextSource, dockerfile: DockerfileSource | undefined, ignoreFile: string | undefined, store: string): Promise<OpenedContext> {
  const { directory, isTemporary } = await directoryOf(source);
  const close = (): void => {
    if (isTemporary) rmSync(directory, { recursive: true, force: true });
  };
  try {
    const found = dockerfile !== undefined && 'text' in dockerfile ? undefined : findDockerfile(directory, isTemporary, dockerfile?.path);
    const file = found?.file ?? (dockerfile as SourceFile);
    const ignore = loadIgnoreFile(directory, found?.path, ignoreFile);
    return { tree: new LocalContext(directory, ignore, isTemporary ? {} : { statCaches: path.join(store, 'cache', 'stat') }), dockerfile: file, close };
  } catch (error) {
    close();
    throw error;
  }
}

async function directoryOf(source: ContextSource): Promise<{ readonly directory: string; readonly isTemporary: boolean }> {
  if (source.kind === 'directory') return { directory: source.path, isTemporary: false };
  if (source.kind === 'git' || source.kind === 'http') throw new MbuildError('UNSUPPORTED', `a build context from ${source.kind === 'git' ? 'git' : 'the network'} is not supported yet`, { hint: 'fetch it and give the directory' });
  const directory = mkdtempSync(path.join(tmpdir(), 'mbuild-context-'));
  try {
    if (source.kind === 'stream') await (await import('./archive')).unpackContext(Readable.from(source.stream), directory);
    return { directory, isTemporary: true };
  } catch (error) {
    rmSync(directory, { recursive: true, force: true });
    throw error;
  }
}

/** A given path counts from the working directory, else from the context; without one it is the context's `Dockerfile`. */
function findDockerfile(directory: string, isClosed: boolean, given: string | undefined): { readonly path: string; readonly file: SourceFile } {
  const inContext = path.join(directory, given ?? 'Dockerfile');
  const candidates = given === undefined ? [inContext, path.join(directory, 'dockerfile')] : isClosed ? [inContext] : [path.resolve(given), inContext];
  for (const candidate of candidates) {
    const text = readText(candidate);
    if (text !== undefined) return { path: candidate, file: { name: given ?? path.basename(candidate), text } };
  }
  throw new MbuildError('DOCKERFILE_NOT_FOUND', `${given ?? 'Dockerfile'} is not there`, {
    hint: given === undefined ? `the context ${directory} has no Dockerfile: name it with -f, or give another directory` : 'a path behind -f counts from the working directory, then from the context',
  });
}

function readText(file: string): string | undefined {
  try {
    if (statSync(file).isDirectory()) throw new MbuildError('DOCKERFILE_NOT_FOUND', `${file} is a directory, not a Dockerfile`, { hint: 'name the file in it with -f' });
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}
