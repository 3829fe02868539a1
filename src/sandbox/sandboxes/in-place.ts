import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  type Stats,
} from 'node:fs';
import { MbuildError } from '../../diagnostics/error';
import { fsPath, toText, type RawPath } from '../../linux/paths';
import { mountPoints } from '../../linux/mount-points';
import { removeTree } from '../../linux/remove-tree';
import { setTimes } from '../../linux/times';
import { isSameTime } from '../borrowed-tree';
import { ChrootSandbox } from './chroot';
import type { Op } from '../namespaces/init/program';
import { commandOps } from '../namespaces/command-ops';
import type { ProgramIo } from '../namespaces/descriptors';
import { parentOps } from '../namespaces/parent-ops';
import type { ProcessSpec } from '../sandbox';

/**
 * Where all of mbuild lies in a container that is made for this: its Node.js with libraries, its
 * bundle, its store.
 */
const HOME = '/mbuild';
/** Says that the container is thrown away after the build. */
const MARKER = `${HOME}/in-place`;
/** Files that engines put into every container without mounting them. */
const OF_ENGINES = ['/.dockerenv', '/run/.containerenv', '/etc/mtab'];

/**
 * The sandbox for a throw-away container whose steps need /proc where nothing can be mounted: for
 * the time of a command the tree's entries are moved to `/`, and back afterwards. What is mounted
 * in the container, and mbuild's own folder, stay as they are and hide what the tree has there.
 * Nothing keeps the command from mbuild.
 * @param state a directory of the store, on the file system of `/`.
 * @throws MbuildError SANDBOX_UNAVAILABLE when the store lies elsewhere.
 */
export function inPlaceSandbox(state: string): ChrootSandbox {
  if (!`${state}/`.startsWith(`${HOME}/`) || lstatSync(state).dev !== lstatSync('/').dev) {
    throw new MbuildError(
      'SANDBOX_UNAVAILABLE',
      `--isolation=in-place needs its store in ${HOME}, on the container's own file system, not in ${state}`,
      { hint: `use --root ${HOME}/store, without a volume there` },
    );
  }
  return new ChrootSandbox(
    state,
    inPlaceProgram,
    (root) => new MovedTree(root, '', new Set(mountPoints())),
  );
}

/**
 * Why commands cannot be run in place here; `undefined` where they can. This is no machine to be
 * overwritten unless all of it says so.
 */
export function inPlaceObstacle(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can use it';
  if (!existsSync(MARKER))
    return `this is not a disposable container of mbuild: ${MARKER} does not exist`;
  for (const file of [process.execPath, process.argv[1] ?? ''])
    if (!file.startsWith(`${HOME}/`))
      return `${file} would be replaced: all files of mbuild must be in ${HOME}`;
  const foreign = foreignFile('', new Set(mountPoints()));
  return foreign === undefined
    ? undefined
    : `/ holds more than mbuild, such as ${toText(foreign)}: use a new container of an image that holds only mbuild`;
}

function inPlaceProgram(spec: ProcessSpec, _root: RawPath, io: ProgramIo): Op[] {
  return [
    ...parentOps(0, true),
    { what: 'enter the root', call: 'chdir', args: [{ text: '/' }] },
    ...commandOps(spec, io),
  ];
}

/** The first file that is neither mbuild's nor an engine's. */
function foreignFile(dir: RawPath, mounts: ReadonlySet<RawPath>): RawPath | undefined {
  for (const name of readdirSync(fsPath(dir || '/'), { encoding: 'latin1' })) {
    const file = `${dir}/${name}`;
    if (file === HOME || mounts.has(file) || OF_ENGINES.includes(file)) continue;
    const found = lstatSync(fsPath(file)).isDirectory() ? foreignFile(file, mounts) : file;
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * A directory that both trees have, with its attributes before; `ready` is when the command began.
 */
interface Shared {
  readonly here: Stats;
  readonly there: Stats;
  /** Names that were there before. */
  readonly taken: ReadonlySet<RawPath>;
  ready: Stats;
}

/** A tree whose entries are somewhere else for a time. */
export class MovedTree {
  /** Directories of both, by path. */
  readonly #shared = new Map<RawPath, Shared>();

  /**
   * @param to where the entries go; what is there already stays, and directories of both are one.
   * @param fixed paths from there that nothing is moved to.
   */
  constructor(
    private readonly from: RawPath,
    private readonly to: RawPath,
    private readonly fixed: ReadonlySet<RawPath>,
  ) {}

  /**
   * Moves the entries there.
   * @throws MbuildError SANDBOX_FAILED when something is in the way; {@link leave} then brings back
   * what was moved.
   */
  enter(): void {
    this.#enter('');
    for (const [dir, shared] of this.#shared) shared.ready = lstatSync(fsPath(this.#there(dir)));
  }

  /** Moves all that is there now back, but for what was there before. */
  leave(): void {
    this.#leave('');
    this.#shared.clear();
  }

  #enter(dir: RawPath): void {
    const [here, there] = [
      lstatSync(fsPath(`${this.from}${dir}`)),
      lstatSync(fsPath(this.#there(dir))),
    ];
    const taken = new Set(readdirSync(fsPath(this.#there(dir)), { encoding: 'latin1' }));
    this.#shared.set(dir, { here, there, taken, ready: there });
    setOwner(this.#there(dir), here);
    for (const name of readdirSync(fsPath(`${this.from}${dir}`), { encoding: 'latin1' })) {
      const entry = `${dir}/${name}`;
      if (!taken.has(name))
        renameSync(fsPath(`${this.from}${entry}`), fsPath(`${this.to}${entry}`));
      else if (!this.fixed.has(`${this.to}${entry}`)) this.#share(entry);
    }
  }

  #share(entry: RawPath): void {
    const areDirectories = [`${this.from}${entry}`, `${this.to}${entry}`].every((file) =>
      lstatSync(fsPath(file)).isDirectory(),
    );
    if (!areDirectories || `${this.to}${entry}` === HOME)
      throw new MbuildError(
        'SANDBOX_FAILED',
        `the image's ${toText(entry)} cannot be put into the container: the container has another file there`,
      );
    this.#enter(entry);
  }

  #leave(dir: RawPath): void {
    const shared = this.#shared.get(dir);
    if (shared === undefined) return;
    const now = lstatSync(fsPath(this.#there(dir)));
    const present = readdirSync(fsPath(this.#there(dir)), { encoding: 'latin1' });
    for (const name of present)
      if (!shared.taken.has(name))
        renameSync(fsPath(`${this.to}${dir}/${name}`), fsPath(`${this.from}${dir}/${name}`));
    for (const name of shared.taken) this.#leaveShared(`${dir}/${name}`);
    setOwner(`${this.from}${dir}`, now);
    const times = isSameTime(now, shared.ready) ? shared.here : now;
    setTimes(`${this.from}${dir}`, times.atimeMs / 1000, times.mtimeMs / 1000);
    setOwner(this.#there(dir), shared.there);
  }

  /** A directory of both, which the command may have taken away or replaced. */
  #leaveShared(entry: RawPath): void {
    const shared = this.#shared.get(entry);
    if (shared === undefined) return;
    const stats = lstatSync(fsPath(`${this.to}${entry}`), { throwIfNoEntry: false });
    if (stats?.isDirectory() === true) return this.#leave(entry);
    removeTree(fsPath(`${this.from}${entry}`));
    if (stats !== undefined)
      renameSync(fsPath(`${this.to}${entry}`), fsPath(`${this.from}${entry}`));
    mkdirSync(fsPath(`${this.to}${entry}`));
    setOwner(`${this.to}${entry}`, shared.there);
  }

  #there(dir: RawPath): RawPath {
    return `${this.to}${dir}` || '/';
  }
}

function setOwner(file: RawPath, { uid, gid, mode }: Stats): void {
  chownSync(fsPath(file), uid, gid);
  chmodSync(fsPath(file), mode & 0o7777);
}
