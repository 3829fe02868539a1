import path from 'node:path';
import { FileCacheStore } from './cache/file-cache';
import type { CacheStore } from './cache/record';
import { LocalContentStore } from './content/local-store';
import { bePresent } from './content/presence';
import { MbuildError } from './diagnostics/error';
import { FileImageStore } from './images/store/file-image-store';
import { FileLayerIndex } from './images/store/file-layer-index';
import type { Image } from './images/store/image-store';
import type { ImageRequest } from './images/transfer/resolve';
import type { ImageServices } from './images/store/services';
import { isInUserNamespace, mappedIds } from './linux/id-map';
import { makeDirectories, unmakeDirectories } from './linux/make-directories';
import { keepsOwners } from './linux/owners';
import { Threads } from './linux/threads';
import type { BuildScope, VertexId } from './progress/events';
import { PATIENCE, type Registry } from './registry/registry';
import type { RegistryOptions } from './registry/client';
import type { FileClient, FileSource } from './registry/download-file';
import type { ContainerSandbox } from './sandbox/sandbox';
import { heldCapabilities } from './sandbox/capabilities';
import { confinement } from './sandbox/confinement';
import { findInPath } from './sandbox/find-program';
import { outerUid } from './sandbox/namespaces/outer-user';
import { bestMeans, meansOf, type Isolation, type Means } from './sandbox/isolations/ladder';
import { CopySnapshotter } from './snapshot/copy';
import type { DirectorySnapshotter } from './snapshot/directory';
import { fileSystemOf, openGround, type Ground, type GroundProbes } from './snapshot/ground';
import { OverlaySnapshotter } from './snapshot/overlay';

/** How trees are kept. */
export type SnapshotterKind = 'overlay' | 'fuse-overlayfs' | 'copy';

/** How a store is opened. */
export interface EngineOptions {
  /** The store's folder; made when it is not there, for its owner alone. */
  readonly root: string;
  readonly registry?: RegistryOptions | undefined;
  /** Nothing is asked of the network: what is not in the store is an error. RUN has the network that it is given. */
  readonly offline?: boolean | undefined;
  /** How RUN is isolated and how trees are kept; chosen by what is possible here when absent. */
  readonly isolation?: Isolation | undefined;
  /** Name or path of the runtime for `oci`; crun, else runc, when absent. */
  readonly runtime?: string | undefined;
  readonly snapshotter?: SnapshotterKind | undefined;
  /** Told of a cache record that cannot be read; it counts as missing. */
  readonly onCorruptRecord?: ((file: string) => void) | undefined;
}

/** The concrete services of one store. */
export interface Engine extends ImageServices {
  readonly snapshots: DirectorySnapshotter;
  readonly images: FileImageStore;
  readonly threads: Threads;
  readonly cache: CacheStore;
  readonly sandbox: ContainerSandbox;
  /** Why no command can be run here, and what would help; `undefined` where one can. */
  readonly refusesRun: () => MbuildError | undefined;
  readonly registry: Registry;
  /** Where FROM finds its images, if not in this store and in its registries; they are in this store then. */
  readonly findBase?:
    ((request: ImageRequest, vertex: VertexId, scope: BuildScope) => Promise<Image>) | undefined;
  /** Fetches files over http. */
  readonly files: FileSource;
  /** True when git may not ask the network either. */
  readonly offline: boolean;
  /** Ends worker threads and closes connections. */
  close(): Promise<void>;
}

/** Makes the services of a store: the only place that picks implementations. @throws MbuildError STORE_UNUSABLE. */
export function openEngine(options: EngineOptions): Engine {
  const root = path.resolve(options.root);
  const ground = openStore(root);
  if (options.isolation !== undefined) checkIsolation(options.isolation, root);
  const leave = bePresent(root);
  const isolation =
    options.isolation === undefined ? bestMeans(ground.canMount) : meansOf(options.isolation);
  const snapshots = makeSnapshotter(root, ground, isolation, options.snapshotter);
  const content = new LocalContentStore(root);
  const layers = new FileLayerIndex(root);
  const threads = new Threads();
  const offline = options.offline === true;
  // A build that finds everything in its cache needs none of these.
  const registry = later<Registry>(async () =>
    offline
      ? new (await import('./registry/offline')).OfflineRegistry()
      : new (await import('./registry/client')).RegistryClient(options.registry),
  );
  const files = later<FileSource & Pick<FileClient, 'close'>>(async () =>
    offline
      ? new (await import('./registry/offline')).OfflineFiles()
      : new (await import('./registry/download-file')).FileClient(options.registry),
  );
  const sandbox = later<ContainerSandbox>(async () =>
    makeSandbox(isolation, path.join(root, 'sandbox'), options.runtime),
  );
  return {
    root,
    content,
    layers,
    threads,
    offline,
    patience: {
      attempts: options.registry?.attempts ?? PATIENCE.attempts,
      pauseMs: options.registry?.pauseMs ?? PATIENCE.pauseMs,
    },
    xattrs: ground.marks,
    images: new FileImageStore(root, content, layers),
    snapshots,
    cache: new FileCacheStore(root, options.onCorruptRecord),
    sandbox: sandbox.service,
    refusesRun: () => (isolation === undefined ? noSandbox(root) : undefined),
    registry: registry.service,
    files: files.service,
    async close() {
      snapshots.close();
      await Promise.all([
        threads.close(),
        (await registry.made())?.close(),
        (await files.made())?.close(),
      ]);
      leave();
    },
  };
}

/** Where no store can be had, nothing is left of the attempt. */
function openStore(root: string): Ground {
  const made = makeStore(root);
  try {
    return openGround(root, groundProbes(root));
  } catch (error) {
    unmakeDirectories(made);
    throw error;
  }
}

/** @returns the directories that were not there, the deepest last. */
function makeStore(root: string): string[] {
  try {
    return [root, path.join(root, 'sandbox')].flatMap((directory) =>
      makeDirectories(directory, 0o700),
    );
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MbuildError('STORE_UNUSABLE', `the store ${root} cannot be opened: ${reason}`, {
      cause,
      hint: 'choose another folder with --root or MBUILD_ROOT',
    });
  }
}

function groundProbes(root: string): GroundProbes {
  // Loaded when a store is made, and where it is used under another confinement.
  const probe = (): typeof import('./sandbox/isolations/probe') =>
    require('./sandbox/isolations/probe') as typeof import('./sandbox/isolations/probe');
  return {
    fileSystem: () => fileSystemOf(root),
    confinement: () => (heldCapabilities().includes('SYS_ADMIN') ? confinement() : undefined),
    canMount: () =>
      heldCapabilities().includes('SYS_ADMIN') && probe().probeNamespaces(root) === undefined,
    refusesOverlay: (marks) => {
      const obstacle =
        marks === 'files'
          ? undefined
          : probe().probeOverlay(root, marks === 'user' ? 'userxattr' : '');
      return obstacle === undefined ? undefined : `cannot ${obstacle.what} (${obstacle.errno})`;
    },
  };
}

function noSandbox(scratch: string): MbuildError {
  const { refuseRun } =
    require('./sandbox/isolations/examine') as typeof import('./sandbox/isolations/examine');
  return refuseRun(scratch, outerUid(process.env) ?? process.getuid?.() ?? -1);
}

/** @throws MbuildError SANDBOX_UNAVAILABLE, with the reason and the way out, for an isolation that this process cannot have. */
function checkIsolation(isolation: Isolation, scratch: string): void {
  if (isPossible(isolation)) return;
  const { refuseIsolation } =
    require('./sandbox/isolations/examine') as typeof import('./sandbox/isolations/examine');
  throw refuseIsolation(isolation, scratch, outerUid(process.env) ?? process.getuid?.() ?? -1);
}

function isPossible(isolation: Isolation): boolean {
  switch (isolation) {
    case 'namespaces':
      return heldCapabilities().includes('SYS_ADMIN');
    case 'user-namespace':
      return isInUserNamespace() && mappedIds() > 1;
    case 'single-id':
      return isInUserNamespace() && mappedIds() === 1;
    case 'chroot':
      return heldCapabilities().includes('SYS_CHROOT');
    case 'oci':
      return heldCapabilities().includes('SYS_ADMIN') && !keepsOwners();
    case 'in-place':
      return (
        (
          require('./sandbox/isolations/in-place') as typeof import('./sandbox/isolations/in-place')
        ).inPlaceObstacle() === undefined
      );
    // Whoever has rights would give them to the steps.
    case 'proot':
      return keepsOwners() && findInPath('proot') !== undefined;
  }
}

async function makeSandbox(
  isolation: Means | undefined,
  state: string,
  runtime: string | undefined,
): Promise<ContainerSandbox> {
  switch (isolation) {
    case 'oci':
      return ociSandbox(state, runtime);
    case 'namespaces':
      return new (await import('./sandbox/isolations/namespaces')).NamespaceSandbox(state);
    case 'in-place':
      return (await import('./sandbox/isolations/in-place')).inPlaceSandbox(state);
    case 'chroot':
      return new (await import('./sandbox/isolations/chroot')).ChrootSandbox(state);
    case 'proot':
      return (await import('./sandbox/isolations/proot')).prootSandbox(state);
    case undefined:
      throw noSandbox(state);
  }
}

async function ociSandbox(state: string, wanted: string | undefined): Promise<ContainerSandbox> {
  const [{ OciSandbox, findRuntime }, { NamespaceSandbox }] = await Promise.all([
    import('./sandbox/isolations/oci-runtime'),
    import('./sandbox/isolations/namespaces'),
  ]);
  const runtime = findRuntime(wanted);
  if (runtime !== undefined) return new OciSandbox(state, runtime, new NamespaceSandbox(state));
  throw new MbuildError(
    'SANDBOX_UNAVAILABLE',
    wanted === undefined
      ? '--isolation=oci needs crun or runc, and neither is installed'
      : `the runtime ${wanted} is not there`,
    {
      hint: 'apt-get install crun, or leave --isolation away: mbuild needs no runtime',
    },
  );
}

/** @throws MbuildError STORE_UNUSABLE for a store whose layers cannot be used that way. */
function makeSnapshotter(
  root: string,
  { marks, reason }: Ground,
  isolation: Means | undefined,
  pinned: EngineOptions['snapshotter'],
): DirectorySnapshotter {
  const kind =
    pinned ??
    ((isolation === 'namespaces' || isolation === 'oci') &&
    marks !== 'files' &&
    reason === undefined
      ? 'overlay'
      : 'copy');
  const hint = 'choose another folder with --root or MBUILD_ROOT';
  if (
    kind !== 'copy' &&
    (isolation === 'chroot' || isolation === 'proot' || isolation === 'in-place')
  )
    throw new MbuildError(
      'USAGE',
      `--snapshotter=${kind} cannot be had with --isolation=${isolation}: nothing is mounted then`,
      { hint: 'use --snapshotter=copy' },
    );
  if (marks === 'trusted' && !heldCapabilities().includes('SYS_ADMIN')) {
    throw new MbuildError(
      'STORE_UNUSABLE',
      `the store ${root} was made by a process with more rights than this one has: its layers carry attributes that need CAP_SYS_ADMIN`,
      { hint },
    );
  }
  if (kind === 'copy') return new CopySnapshotter(root, marks);
  if (kind === 'fuse-overlayfs')
    return new (
      require('./snapshot/fuse-overlayfs') as typeof import('./snapshot/fuse-overlayfs')
    ).FuseOverlaySnapshotter(root, marks, () => fuseOverlayfs(root));
  if (marks === 'files' || reason !== undefined)
    throw new MbuildError(
      'STORE_UNUSABLE',
      `--snapshotter=overlay cannot be had: ${reason ?? 'the file system does not allow it'}`,
      { hint },
    );
  return new OverlaySnapshotter(root, marks);
}

/** The path of fuse-overlayfs. @throws MbuildError SANDBOX_UNAVAILABLE. */
function fuseOverlayfs(root: string): string {
  const found = (
    require('./sandbox/isolations/fuse') as typeof import('./sandbox/isolations/fuse')
  ).findFuseOverlayfs(root);
  if ('program' in found) return found.program;
  throw new MbuildError(
    'SANDBOX_UNAVAILABLE',
    `--snapshotter=fuse-overlayfs cannot be had: ${found.obstacle}`,
    { hint: `${found.fix}; or --snapshotter=copy` },
  );
}

/** A service whose methods all return promises, loaded and made at the first call. */
interface Later<T> {
  readonly service: T;
  readonly made: () => Promise<T> | undefined;
}

function later<T extends object>(make: () => Promise<T>): Later<T> {
  let made: Promise<T> | undefined;
  const service = new Proxy({} as T, {
    get:
      (_, method) =>
      async (...args: readonly unknown[]) => {
        const real = (await (made ??= make())) as Record<
          PropertyKey,
          (...given: readonly unknown[]) => unknown
        >;
        return real[method]?.(...args);
      },
  });
  return { service, made: () => made };
}
