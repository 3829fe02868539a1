import { existsSync, createReadStream, lstatSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { temporaryDirectory as makeTemporary } from '../content/temporary';
import { MbuildError, errnoOf, machineFault, type Diagnostic } from '../diagnostics/error';
import { decodeText } from '../diagnostics/text';
import type { SourceFile } from '../diagnostics/range';
import { fsPath, toRaw, toText } from '../linux/paths';
import { removeTree } from '../linux/remove-tree';
import type { Download } from './download';
import type { GitCheckout } from './git-checkout';
import { LocalContext, findIgnoreFile, loadIgnoreFile, type ContextModes } from './local';

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
export type DockerfileSource =
  { readonly path: string } | { readonly name: string; readonly text: string };

/** The files of a build, opened. */
export interface OpenedContext {
  readonly tree: LocalContext;
  readonly dockerfile: SourceFile;
  readonly warnings: readonly Diagnostic[];
  /** Deletes what was unpacked. */
  readonly close: () => void;
}

/** Fetches contexts that are elsewhere. */
export interface ContextFetcher {
  readonly git: (url: string) => Promise<GitCheckout>;
  readonly http: (url: string) => Promise<Download>;
}

/** A directory that holds a context's files. */
interface ContextDirectory {
  readonly path: string;
  /** For messages. */
  readonly title?: string | undefined;
  /**
   * True for files that others have made: no link in them leads to the host, and nothing is
   * remembered of them.
   */
  readonly isForeign: boolean;
  /** The Dockerfile, where the source was nothing else. */
  readonly dockerfile?: SourceFile | undefined;
  readonly close: () => void;
}

/** A Dockerfile that was found. */
interface FoundDockerfile {
  /** On the host; its ignore file is beside it. */
  readonly path: string;
  readonly file: SourceFile;
}

/** What a Dockerfile is called that is not named, in the order in which they are looked for. */
const DOCKERFILES = ['Dockerfile', 'dockerfile', 'Containerfile'];

/** No Dockerfile is longer. */
const MAX_DOCKERFILE = 16 * 1024 * 1024;

/** What a build is given to open. */
export interface ContextRequest {
  readonly context: ContextSource;
  /** The context's own when absent. */
  readonly dockerfile?: DockerfileSource | undefined;
  readonly ignoreFile?: string | undefined;
  readonly contextModes?: ContextModes | undefined;
}

/**
 * Opens the build directory, its Dockerfile and its ignore file. A file instead of a directory is
 * an archive of the context, or the Dockerfile of the directory that it is in.
 * @param store the store's folder: hashes of the directory's files are remembered there.
 * @param fetcher needed for contexts of kind `git` and `http`.
 * @throws MbuildError CONTEXT_NOT_FOUND, CONTEXT_INVALID, DOCKERFILE_NOT_FOUND,
 * IGNORE_FILE_INVALID, and those of git and of downloads.
 */
export async function openContext(
  request: ContextRequest,
  store: string,
  fetcher?: ContextFetcher,
): Promise<OpenedContext> {
  const { dockerfile, source } = await ofFile(request);
  const directory = await directoryOf(source, fetcher, store);
  try {
    const given =
      directory.dockerfile ??
      (dockerfile !== undefined && 'text' in dockerfile ? dockerfile : undefined);
    const path = dockerfile !== undefined && 'path' in dockerfile ? dockerfile.path : undefined;
    const found = given === undefined ? await findDockerfile(directory, path) : undefined;
    const owner = ignoreFileOwner(directory, found);
    const ignore = findIgnoreFile(directory.path, owner, request.ignoreFile);
    if (ignore.problem !== undefined && directory.isForeign)
      throw new MbuildError('IGNORE_FILE_INVALID', ignore.problem);
    const options = directory.isForeign
      ? { title: directory.title }
      : { statCaches: statCachesOf(store) };
    const file = given ?? found?.file;
    if (file === undefined) throw new MbuildError('INTERNAL', 'a context without a Dockerfile');
    const modes = request.contextModes;
    return {
      tree: new LocalContext(directory.path, ignore.file, { ...options, modes }),
      dockerfile: file,
      warnings: ignore.problem === undefined ? [] : [ignoreWarning(ignore.problem)],
      close: directory.close,
    };
  } catch (error) {
    directory.close();
    throw error;
  }
}

function statCachesOf(store: string): string {
  return path.join(store, 'cache', 'stat');
}

function ignoreWarning(message: string): Diagnostic {
  return { severity: 'warning', code: 'IgnoreFileLink', message };
}

/** What a file in the place of the context's directory means. */
async function ofFile({ context, dockerfile }: ContextRequest): Promise<{
  readonly source: ContextSource;
  readonly dockerfile: DockerfileSource | undefined;
}> {
  if (context.kind !== 'directory') return { source: context, dockerfile };
  const file = path.resolve(context.path);
  if (statSync(file, { throwIfNoEntry: false })?.isFile() !== true)
    return { source: context, dockerfile };
  const { isArchive } = await import('./extract');
  if (await isArchive(toRaw(file)))
    return { source: { kind: 'stream', stream: createReadStream(file) }, dockerfile };
  if (dockerfile !== undefined) return { source: context, dockerfile };
  return {
    source: { kind: 'directory', path: path.dirname(file) },
    dockerfile: { path: file },
  };
}

/**
 * A named context that is a directory: with the ignore file in it, as BuildKit has it.
 * @throws MbuildError CONTEXT_NOT_FOUND, IGNORE_FILE_INVALID.
 */
export function openNamedDirectory(
  name: string,
  directory: string,
  store: string,
  modes?: ContextModes,
): LocalContext {
  return new LocalContext(directory, loadIgnoreFile(directory), {
    statCaches: statCachesOf(store),
    title: `the build context ${name}`,
    modes,
  });
}

/** How a named context is fetched. */
export interface RemoteOptions {
  readonly fetcher: ContextFetcher;
  readonly store: string;
  readonly modes: ContextModes | undefined;
}

/** A named context from elsewhere. */
export async function openNamedRemote(
  name: string,
  source: Extract<ContextSource, { url: string }>,
  { fetcher, store, modes }: RemoteOptions,
): Promise<GitCheckout> {
  const directory = await directoryOf(source, fetcher, store);
  if (directory.dockerfile === undefined)
    return {
      tree: new LocalContext(directory.path, undefined, {
        title: `the build context ${name}`,
        modes,
      }),
      close: directory.close,
    };
  directory.close();
  throw new MbuildError('CONTEXT_INVALID', `the build context ${name} is not an archive`, {
    hint: 'to fetch a single file, use ADD',
  });
}

async function directoryOf(
  source: ContextSource,
  fetcher: ContextFetcher | undefined,
  store: string,
): Promise<ContextDirectory> {
  switch (source.kind) {
    case 'directory':
      return { path: source.path, isForeign: false, close: () => undefined };
    case 'git': {
      const { tree, close } = await needed(fetcher).git(source.url);
      return { path: toText(tree.path), title: tree.title, isForeign: true, close };
    }
    case 'http':
      return httpDirectory(source.url, needed(fetcher), store);
    case 'stream':
      return temporaryDirectory(store, async (directory) =>
        (await import('./archive')).unpackContext(Readable.from(source.stream), directory),
      );
    case 'empty':
      return temporaryDirectory(store, () => Promise.resolve());
  }
}

/**
 * An archive is the context; anything else is the Dockerfile of a build without files, as docker
 * has it.
 */
async function httpDirectory(
  url: string,
  fetcher: ContextFetcher,
  store: string,
): Promise<ContextDirectory> {
  const { hostPath, size } = await fetcher.http(url);
  const [{ isArchive }, { unpackContext }] = await Promise.all([
    import('./extract'),
    import('./archive'),
  ]);
  if (await isArchive(hostPath))
    return temporaryDirectory(store, (directory) =>
      unpackContext(createReadStream(fsPath(hostPath), { highWaterMark: 1024 * 1024 }), directory),
    );
  if (size > MAX_DOCKERFILE)
    throw new MbuildError(
      'CONTEXT_INVALID',
      `the fetched build context is neither an archive nor a Dockerfile: it has ${size} bytes`,
    );
  return {
    ...(await temporaryDirectory(store, () => Promise.resolve())),
    dockerfile: {
      name: path.posix.basename(new URL(url).pathname) || 'Dockerfile',
      text: readFileSync(fsPath(hostPath), 'utf8'),
    },
  };
}

async function temporaryDirectory(
  store: string,
  fill: (directory: string) => Promise<void>,
): Promise<ContextDirectory> {
  const directory = makeTemporary('context', store);
  const close = (): void => removeTree(directory);
  try {
    await fill(directory);
    return { path: directory, isForeign: true, close };
  } catch (error) {
    close();
    throw error;
  }
}

function needed(fetcher: ContextFetcher | undefined): ContextFetcher {
  if (fetcher !== undefined) return fetcher;
  throw new MbuildError(
    'UNSUPPORTED',
    'this command cannot read a build context from the network',
    { hint: 'fetch it first, and give its directory' },
  );
}

/**
 * A given path counts from the working directory, else from the context; without one it is the
 * context's `Dockerfile`, or its `Containerfile`.
 */
async function findDockerfile(
  directory: ContextDirectory,
  given: string | undefined,
): Promise<FoundDockerfile> {
  const names = given === undefined ? DOCKERFILES : [given];
  const candidates = directory.isForeign
    ? names.flatMap((name) => placeIn(directory, name) ?? [])
    : [
        ...(given === undefined ? [] : [path.resolve(given)]),
        ...names.map((name) => path.join(directory.path, name)),
      ];
  for (const candidate of candidates) {
    const text = await readText(candidate);
    if (text !== undefined)
      return { path: candidate, file: { name: given ?? path.basename(candidate), text } };
  }
  if (!existsSync(directory.path)) {
    throw new MbuildError('CONTEXT_NOT_FOUND', `${directory.path} does not exist`, {
      hint: 'the last argument is the directory of the build context; name the Dockerfile with -f',
    });
  }
  throw new MbuildError('DOCKERFILE_NOT_FOUND', `${given ?? 'Dockerfile'} does not exist`, {
    hint: missingHint(directory, given),
  });
}

function missingHint({ title, path: place, isForeign }: ContextDirectory, given?: string): string {
  if (given === undefined)
    return `${title ?? `the context ${place}`} has no Dockerfile: name one with -f, or give another directory`;
  return isForeign
    ? 'the path after -f is relative to the root of the context'
    : 'the path after -f is relative to the working directory, or else to the context';
}

/** A path of foreign files on the host, where it leads to a regular file of theirs. */
function placeIn(directory: ContextDirectory, name: string): string | undefined {
  const entry = new LocalContext(directory.path).stat(toRaw(path.posix.resolve('/', name)));
  return entry?.stats.isFile() === true ? toText(entry.hostPath) : undefined;
}

/** The Dockerfile whose own ignore file counts: that of foreign files must be no link. */
function ignoreFileOwner(
  directory: ContextDirectory,
  found: FoundDockerfile | undefined,
): string | undefined {
  if (found === undefined || !directory.isForeign) return found?.path;
  return lstatSync(`${found.path}.dockerignore`, { throwIfNoEntry: false })?.isFile() === true
    ? found.path
    : undefined;
}

async function readText(file: string): Promise<string | undefined> {
  try {
    const stats = statSync(file);
    if (stats.isDirectory())
      throw new MbuildError('DOCKERFILE_NOT_FOUND', `${file} is a directory, not a Dockerfile`, {
        hint: 'name the file in it with -f',
      });
    const bytes = stats.isFIFO()
      ? await (await import('./read-pipe')).readPipe(file, MAX_DOCKERFILE)
      : readFileSync(file);
    return decodeText(bytes, path.basename(file));
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    if (code === undefined) throw error;
    throw (
      machineFault(error) ??
      new MbuildError(
        'DOCKERFILE_NOT_FOUND',
        `cannot read the Dockerfile ${file}: ${(error as Error).message}`,
        { cause: error, hint: 'make it readable, or name another with -f' },
      )
    );
  }
}
