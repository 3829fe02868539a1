import path from 'node:path';
import { FileCacheStore } from './cache/file-cache';
import type { CacheStore } from './cache/record';
import { Aside, type AsideListener } from './content/aside';
import { LocalContentStore } from './content/local-store';
import { bePresent } from './content/presence';
import { MbuildError, isMbuildError } from './diagnostics/error';
import { FileImageStore } from './images/store/file-image-store';
import { FileLayerIndex } from './images/store/file-layer-index';
import type { Image } from './images/store/image-store';
import type { ImageRequest } from './images/transfer/resolve';
import type { ImageServices } from './images/store/services';
import { stopInheritance } from './linux/inheritance';
import { makeDirectories, unmakeDirectories } from './linux/make-directories';
import { Threads } from './linux/threads';
import type { BuildScope, VertexId } from './progress/events';
import type { Admit } from './registry/policy';
import { PATIENCE, type Registry } from './registry/registry';
import type { RegistryOptions } from './registry/client';
import type { FileClient, FileSource } from './registry/download-file';
import type { ContainerSandbox } from './sandbox/sandbox';
import { heldCapabilities } from './sandbox/capabilities';
import { confinement } from './sandbox/confinement';
import { outerUid } from './sandbox/namespaces/outer-user';
import type { Isolation } from './sandbox/isolations/isolation';
import { bestIsolation, isolationOf, type IsolationName } from './sandbox/isolations/isolations';
import type { DirectorySnapshotter } from './snapshot/directory';
import { fileSystemOf, openGround, type GroundProbes } from './snapshot/ground';
import { FORMAT_WITH_NAME_LISTS, readGround, type Ground } from './snapshot/ground-file';
import { snapshotterFor, type SnapshotterName } from './snapshot/kinds/kinds';

/** How a store is opened. */
export interface EngineOptions {
  /** The store's directory; made when it is not there, for its owner alone. */
  readonly root: string;
  readonly registry?: RegistryOptions | undefined;
  /** containers-policy.json(5); the user's or the machine's when absent. */
  readonly signaturePolicy?: string | undefined;
  /**
   * Nothing is asked of the network: what is not in the store is an error. RUN has the network that
   * it is given.
   */
  readonly offline?: boolean | undefined;
  /** How RUN is isolated and how trees are kept; chosen by what is possible here when absent. */
  readonly isolation?: IsolationName | undefined;
  /** Name or path of the runtime for `oci`; crun, else runc, when absent. */
  readonly runtime?: string | undefined;
  readonly snapshotter?: SnapshotterName | undefined;
  /**
   * Told of what is damaged and was set aside: it counts as missing, and is kept until the next
   * prune.
   */
  readonly onDamage?: AsideListener | undefined;
}

/** The concrete services of one store. */
export interface Engine extends ImageServices {
  readonly snapshots: DirectorySnapshotter;
  readonly images: FileImageStore;
  readonly threads: Threads;
  readonly cache: CacheStore;
  readonly sandbox: ContainerSandbox;
  /** Why no command can be run here, and what would help; `undefined` where one can. */
  readonly refusesRun: () => Promise<MbuildError | undefined>;
  readonly registry: Registry;
  /**
   * Where FROM finds images, before this store and its registries are asked; they are in this store
   * then.
   */
  readonly findBase?:
    | ((request: ImageRequest, vertex: VertexId, scope: BuildScope) => Promise<Image | undefined>)
    | undefined;
  /** Fetches files over http. */
  readonly files: FileSource;
  /** True when git may not ask the network either. */
  readonly offline: boolean;
  /** Ends worker threads and closes connections. */
  close(): Promise<void>;
}

/**
 * Makes the services of a store: the only place that picks implementations.
 * @throws MbuildError STORE_UNUSABLE, SANDBOX_UNAVAILABLE, USAGE.
 */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  const root = path.resolve(options.root);
  const ground = await openStore(root);
  const isolation = await pickIsolation(options.isolation, ground, root);
  const leave = bePresent(root);
  try {
    const snapshots = await openSnapshots(root, ground, isolation, options.snapshotter);
    return servicesOf({ root, ground, isolation, snapshots, leave }, options);
  } catch (error) {
    leave();
    throw error;
  }
}

/** A store that is open, and how RUN is isolated in it. */
interface OpenStore {
  readonly root: string;
  readonly ground: Ground;
  readonly isolation: Isolation | undefined;
  readonly snapshots: DirectorySnapshotter;
  /** Says that this process uses the store no more. */
  readonly leave: () => void;
}

function servicesOf(
  { root, ground, isolation, snapshots, leave }: OpenStore,
  options: EngineOptions,
): Engine {
  const aside = new Aside(root, options.onDamage);
  const content = new LocalContentStore(root, aside);
  const layers = new FileLayerIndex(root, aside);
  const images = new FileImageStore(root, content, layers, {
    aside,
    hasNameLists: ground.format >= FORMAT_WITH_NAME_LISTS,
  });
  const threads = new Threads();
  const offline = options.offline === true;
  const registry = later(REGISTRY, () => makeRegistry(offline, options.registry));
  const files = later(FILES, () => makeFiles(offline, options.registry));
  const sandbox = later(SANDBOX, async () => {
    if (isolation === undefined) throw await noSandbox(root);
    return isolation.makeSandbox({ state: path.join(root, 'sandbox'), runtime: options.runtime });
  });
  return {
    root,
    content,
    layers,
    aside,
    threads,
    offline,
    admit: admitLater(options),
    patience: {
      attempts: options.registry?.attempts ?? PATIENCE.attempts,
      pauseMs: options.registry?.pauseMs ?? PATIENCE.pauseMs,
    },
    xattrs: ground.marks,
    images,
    snapshots,
    cache: new FileCacheStore(root, aside),
    sandbox: sandbox.service,
    refusesRun: async () => (isolation === undefined ? noSandbox(root) : undefined),
    registry: registry.service,
    files: files.service,
    async close() {
      try {
        images.flush();
      } finally {
        snapshots.close();
        await Promise.all([
          threads.close(),
          (await registry.made())?.close(),
          (await files.made())?.close(),
        ]);
        leave();
      }
    },
  };
}

/** Where no store can be made, nothing is left of the attempt. */
async function openStore(root: string): Promise<Ground> {
  const made = makeStore(root);
  try {
    return await openGround(root, groundProbes(root));
  } catch (error) {
    unmakeDirectories(made);
    throw error;
  }
}

/** @returns the directories that were not there, the deepest last. */
function makeStore(root: string): string[] {
  try {
    const made = makeDirectories(root, 0o700);
    // Files of layers have the modes and owners of their image alone.
    if (readGround(root) === undefined) stopInheritance(root);
    return [...made, ...makeDirectories(path.join(root, 'sandbox'), 0o700)];
  } catch (cause) {
    if (isMbuildError(cause)) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MbuildError('STORE_UNUSABLE', `the store ${root} cannot be opened: ${reason}`, {
      cause,
      hint: ANOTHER_ROOT,
    });
  }
}

const ANOTHER_ROOT = 'choose another directory with --root or MBUILD_ROOT';

/** Tried when a store is made, and where it is used under another confinement. */
function groundProbes(root: string): GroundProbes {
  const mayMount = (): boolean => heldCapabilities().includes('SYS_ADMIN');
  return {
    fileSystem: () => fileSystemOf(root),
    confinement: () => (mayMount() ? confinement() : undefined),
    async canMount() {
      if (!mayMount()) return false;
      const { probeNamespaces } = await import('./sandbox/isolations/probe');
      return probeNamespaces(root) === undefined;
    },
    async refusesOverlay(marks) {
      const { obstacleText, probeOverlay } = await import('./sandbox/isolations/probe');
      const obstacle = probeOverlay(root, marks === 'user' ? 'userxattr' : '');
      return obstacle === undefined ? undefined : obstacleText(obstacle);
    },
  };
}

/**
 * @throws MbuildError SANDBOX_UNAVAILABLE, with the reason and the way out, for an isolation that
 * this process has no rights for.
 */
async function pickIsolation(
  name: IsolationName | undefined,
  { canMount }: Ground,
  scratch: string,
): Promise<Isolation | undefined> {
  if (name === undefined) return bestIsolation(canMount);
  const isolation = isolationOf(name);
  if (await isolation.isPossible()) return isolation;
  const { refuseIsolation } = await import('./sandbox/isolations/examine');
  throw await refuseIsolation(name, scratch, machineUid());
}

async function noSandbox(scratch: string): Promise<MbuildError> {
  const { refuseRun } = await import('./sandbox/isolations/examine');
  return refuseRun(scratch, machineUid());
}

/** The user of the machine that this process is. */
function machineUid(): number {
  return outerUid(process.env) ?? process.getuid?.() ?? -1;
}

/**
 * @throws MbuildError USAGE for a snapshotter that the isolation cannot use, STORE_UNUSABLE for a
 * store whose layers it cannot use.
 */
async function openSnapshots(
  root: string,
  ground: Ground,
  isolation: Isolation | undefined,
  wanted: SnapshotterName | undefined,
): Promise<DirectorySnapshotter> {
  const kind = snapshotterFor(wanted, ground, isolation?.mounts === true);
  if (kind.mounts && isolation?.mounts === false)
    throw new MbuildError(
      'USAGE',
      `--snapshotter=${kind.name} does not work with --isolation=${isolation.name}, which cannot mount`,
      { hint: 'use --snapshotter=copy' },
    );
  if (ground.marks === 'trusted' && !heldCapabilities().includes('SYS_ADMIN')) {
    throw new MbuildError(
      'STORE_UNUSABLE',
      `the store ${root} was made by a process with more rights: its layers have attributes that need CAP_SYS_ADMIN`,
      { hint: ANOTHER_ROOT },
    );
  }
  return kind.open({ root, ground });
}

/** A client of registries; a build that finds everything in its cache needs none. */
async function makeRegistry(
  offline: boolean,
  options: RegistryOptions | undefined,
): Promise<Registry> {
  if (offline) return new (await import('./registry/offline')).OfflineRegistry();
  return new (await import('./registry/client')).RegistryClient(options);
}

/** The policy is read when the first image comes from elsewhere. */
function admitLater({ registry, signaturePolicy: file }: EngineOptions): Admit {
  let admit: Admit | undefined;
  return async (origin) => {
    const { policyOf } = await import('./registry/policy');
    admit ??= policyOf({ env: registry?.env ?? process.env, file });
    return admit(origin);
  };
}

async function makeFiles(
  offline: boolean,
  options: RegistryOptions | undefined,
): Promise<ClosableFiles> {
  if (offline) return new (await import('./registry/offline')).OfflineFiles();
  return new (await import('./registry/download-file')).FileClient(options);
}

type ClosableFiles = FileSource & Pick<FileClient, 'close'>;

const REGISTRY: Names<Registry> = {
  resolve: true,
  manifest: true,
  blob: true,
  pushBlob: true,
  beginBlob: true,
  pushManifest: true,
  checkPush: true,
  tags: true,
  repositories: true,
  search: true,
  check: true,
  close: true,
};
const FILES: Names<ClosableFiles> = { fetch: true, folder: true, call: true, close: true };
const SANDBOX: Names<ContainerSandbox> = { run: true, enter: true };

/** All methods of a service. */
type Names<T> = Readonly<Record<keyof T, true>>;

/** A service whose methods all return promises, loaded and made at the first call. */
interface Later<T> {
  readonly service: T;
  readonly made: () => Promise<T> | undefined;
}

function later<T extends object>(names: Names<T>, make: () => Promise<T>): Later<T> {
  let made: Promise<T> | undefined;
  const call = async (name: keyof T, args: readonly unknown[]): Promise<unknown> => {
    const real = await (made ??= make());
    const method = real[name] as (...given: readonly unknown[]) => unknown;
    return method.apply(real, [...args]);
  };
  const methods = (Object.keys(names) as (keyof T)[]).map((name) => [
    name,
    (...args: readonly unknown[]) => call(name, args),
  ]);
  return { service: Object.fromEntries(methods) as T, made: () => made };
}
