import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ownName } from '../../content/files';
import { MbuildError, isMbuildError } from '../../diagnostics/error';
import { fsPath, toRaw, type RawPath } from '../../linux/paths';
import type { BuildScope } from '../../progress/events';
import { BorrowedTree, removePoint } from '../borrowed-tree';
import { capabilityMask, heldCapabilities, type Capability } from '../capabilities';
import { InitProcess, programIo } from '../namespaces/init-process';
import type { SandboxPlaces } from '../namespaces/mount-ops';
import { enterProgram, namespaceProgram } from '../namespaces/namespace-program';
import type {
  ContainerSandbox,
  EnterSpec,
  ExitStatus,
  MountPoint,
  ProcessIo,
  ProcessSpec,
} from '../sandbox';
import { stepFilter } from '../seccomp/profile';
import { isSupervised, underSupervision } from '../supervisor';
import { WatchedFiles } from '../watched-files';
import { isInUserNamespace, mappedIds } from '../../linux/id-map';
import { removeTree } from '../../linux/remove-tree';

/**
 * The sandbox for root: mount, PID, IPC and UTS namespaces of its own (network too where the step
 * has none), pivot_root, and the capabilities that the process may keep. One process sets it up;
 * see init/interpreter.ts.
 */
export class NamespaceSandbox implements ContainerSandbox {
  readonly #places: SandboxPlaces;
  readonly #state: string;
  readonly #init: InitProcess;
  readonly #held: readonly Capability[] = heldCapabilities();
  readonly #filters = new Map<string, Uint8Array>();
  /** In a user namespace, whether there are ids for others than root. */
  readonly #ids: SandboxPlaces['ids'] = idsHere();

  /** @param state a directory of the store for mount places. */
  constructor(state: string) {
    this.#init = new InitProcess(state);
    this.#state = state;
    this.#places = {
      ids: this.#ids,
      root: path.join(state, 'root'),
      files: path.join(state, 'files'),
      aside: path.join(state, 'aside'),
      stubs: path.join(state, 'stubs'),
    };
  }

  async run(wanted: ProcessSpec, io: ProcessIo, scope: BuildScope): Promise<ExitStatus> {
    scope.signal.throwIfAborted();
    return this.around(wanted, io, (spec, places) => {
      const filter = spec.confined ? this.#filter(spec) : undefined;
      const execute = (own: ProcessIo, supervised?: Uint8Array): Promise<ExitStatus> =>
        this.#init.execute({
          ops: namespaceProgram(spec, places, {
            ...programIo(own),
            ids: this.#ids,
            filter,
            supervised,
          }),
          spec,
          io: own,
          scope,
        });
      return isSupervised(spec, this.#ids)
        ? underSupervision(this.#init.arch, io, (own) =>
            execute(own, this.#filter(spec, 'supervised')),
          )
        : execute(io);
    });
  }

  /**
   * Lends places to who runs a command in them, and takes out of the tree what was put there for
   * that time.
   */
  async around<T>(
    wanted: ProcessSpec,
    io: ProcessIo,
    use: (spec: ProcessSpec, places: SandboxPlaces) => Promise<T>,
  ): Promise<T> {
    const spec = this.#granted(wanted);
    this.#makePlaces();
    const stubs = this.#stubsFor(spec);
    const borrowed =
      spec.rootfs.kind === 'directory' ? new BorrowedTree(toRaw(spec.rootfs.path)) : undefined;
    const watched = new WatchedFiles(this.#state, spec.mounts);
    try {
      borrowed?.make([...SYSTEM_POINTS, ...spec.mountPoints]);
      borrowed?.ready();
      const result = await use(spec, { ...this.#places, stubs, kept: watched.kept });
      watched.report(io);
      return result;
    } catch (error) {
      throw withServerLog(error, spec);
    } finally {
      watched.remove();
      borrowed?.restore();
      if (spec.rootfs.kind !== 'directory')
        removeMountPoints(toRaw(spec.rootfs.upper), spec.mountPoints);
      if (stubs !== this.#places.stubs) removeTree(stubs);
    }
  }

  async enter(wanted: EnterSpec, io: ProcessIo, scope: BuildScope): Promise<ExitStatus> {
    scope.signal.throwIfAborted();
    const spec = this.#granted(wanted);
    this.#makePlaces();
    return this.#init.execute({
      ops: enterProgram(spec, {
        ...programIo(io),
        ids: this.#ids,
        filter: this.#filter(spec),
      }),
      spec,
      io,
      scope,
    });
  }

  /** With the capabilities that mbuild has to give. */
  #granted<T extends Pick<ProcessSpec, 'capabilities'>>(spec: T): T {
    return { ...spec, capabilities: spec.capabilities.filter((name) => this.#held.includes(name)) };
  }

  /** The filter for who has these capabilities; compiled once, for that takes two milliseconds. */
  #filter(
    { capabilities, user }: Pick<ProcessSpec, 'capabilities' | 'user'>,
    others: 'supervised' | 'pretended' = 'pretended',
  ): Uint8Array | undefined {
    const key = `${capabilityMask(capabilities)} ${user.uid === 0} ${others}`;
    const known =
      this.#filters.get(key) ??
      stepFilter(this.#init.arch, { capabilities, user }, this.#ids === 'one' ? others : undefined);
    if (known !== undefined) this.#filters.set(key, known);
    return known;
  }

  /** Makes the directories, once per store. */
  #makePlaces(): void {
    if (existsSync(path.join(this.#places.stubs, STANDARD_POINTS.at(-1)?.path ?? ''))) return;
    const { root, files, aside, stubs } = this.#places;
    for (const dir of [root, files, aside, stubs]) mkdirSync(dir, { recursive: true, mode: 0o755 });
    makeStubs(this.#places.stubs, STANDARD_POINTS);
  }

  /**
   * The lower-most layer for a step. Where the image lacks a path that is mounted on, it is seen
   * from there, and the upper directory stays untouched.
   */
  #stubsFor(spec: ProcessSpec): string {
    const more = spec.mountPoints.filter(
      (point) => !STANDARD_POINTS.some((standard) => standard.path === point.path),
    );
    if (more.length === 0 || spec.rootfs.kind === 'directory') return this.#places.stubs;
    const dir = ownName(this.#state, 'stubs');
    makeStubs(dir, [...STANDARD_POINTS, ...spec.mountPoints]);
    return dir;
  }
}

/** What the servers of trees have to say to an error of the sandbox. */
function withServerLog(error: unknown, { rootfs, mounts }: ProcessSpec): unknown {
  if (!isMbuildError(error, 'SANDBOX_FAILED')) return error;
  const trees = [
    rootfs,
    ...mounts.flatMap((mount) => (mount.kind === 'overlay' ? [mount.rootfs] : [])),
  ];
  const lines = trees.flatMap((tree) =>
    tree.kind === 'fuse' && existsSync(tree.log) ? readFileSync(tree.log, 'utf8').split('\n') : [],
  );
  // It is told of options that it need not know, and says so.
  const said = lines
    .filter((line) => line !== '' && !line.startsWith('unknown argument ignored'))
    .at(-1);
  return said === undefined
    ? error
    : new MbuildError(error.code, `${error.message}: ${said}`, { cause: error, hint: error.hint });
}

function idsHere(): SandboxPlaces['ids'] {
  if (!isInUserNamespace()) return undefined;
  return mappedIds() === 1 ? 'one' : 'ranges';
}

const SYSTEM_POINTS: readonly MountPoint[] = ['/proc', '/sys', '/dev'].map((dir) => ({
  path: dir,
  kind: 'directory',
}));

/**
 * What every root has to mount on; the two files only so that images without them need nothing
 * made.
 */
const STANDARD_POINTS: readonly MountPoint[] = [
  ...SYSTEM_POINTS,
  { path: '/etc', kind: 'directory' },
  ...['/etc/hosts', '/etc/resolv.conf'].map((file) => ({ path: file, kind: 'file' as const })),
];

function makeStubs(dir: string, points: readonly MountPoint[]): void {
  mkdirSync(dir, { recursive: true, mode: 0o755 });
  for (const point of points) {
    const host = fsPath(`${toRaw(dir)}${point.path}`);
    // Where the image has the directory, that is the one that is seen.
    mkdirSync(
      fsPath(
        `${toRaw(dir)}${point.kind === 'directory' ? point.path : path.posix.dirname(point.path)}`,
      ),
      { recursive: true, mode: 0o755 },
    );
    if (point.kind === 'file') writeFileSync(host, '', { mode: 0o644 });
  }
}

/**
 * Takes what was made for mounting out of the upper directory again. It is this step's alone and
 * nothing runs in it any more; each part of a path is looked at without following links.
 */
function removeMountPoints(upper: RawPath, points: readonly MountPoint[]): void {
  for (const point of [...SYSTEM_POINTS, ...points].reverse()) removePoint(upper, point);
}
