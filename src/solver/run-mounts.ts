import { mkdtempSync, readdirSync } from 'node:fs';
import path from 'node:path';
import type { KeyValue } from '../cache/key';
import type { DescribedSelection } from '../cache/manifest';
import { MbuildError } from '../diagnostics/error';
import type { RunMount } from '../graph/graph';
import { toRaw } from '../linux/paths';
import { removeTree } from '../linux/remove-tree';
import type { Mount, MountPoint } from '../sandbox/sandbox';
import { LayeredView } from '../snapshot/merged-view';
import type { OverlayXattrs } from '../snapshot/marks';
import { readyServed, serverLog, settleServed } from '../snapshot/served';
import { bindTree, type BoundTree } from './bound-tree';
import { openCacheMount } from './cache-mounts';
import type { MountedTree } from './failed-run';
import { mountInput } from './key-inputs';
import { mountTarget } from './mount-target';
import type { StepContext } from './planned';

/** What a mount brings into one run of a step. */
export interface PreparedMounts {
  readonly mounts: readonly Mount[];
  readonly mountPoints: readonly MountPoint[];
  /** `NAME=value`, for the process alone. */
  readonly env: readonly string[];
  /** The tree that it shows, where it is one of layers. */
  readonly tree?: MountedTree | undefined;
  readonly release: () => void | Promise<void>;
}

/** A mount as the step's key sees it, and what makes it when the step runs. */
export interface PlannedMount {
  readonly input: KeyValue;
  readonly manifest?: DescribedSelection | undefined;
  readonly prepare: () => Promise<PreparedMounts>;
}

/** The mounts of a RUN, in order. */
export async function planMounts(
  mounts: readonly RunMount[],
  context: StepContext,
): Promise<PlannedMount[]> {
  const planned: PlannedMount[] = [];
  for (const mount of mounts) planned.push(await planMount(mount, context));
  return planned;
}

function planMount(mount: RunMount, context: StepContext): PlannedMount | Promise<PlannedMount> {
  switch (mount.kind) {
    case 'bind':
      return planBind(mount, context);
    case 'cache':
      return planCache(mount, context);
    case 'tmpfs':
      return {
        input: mountInput(mount, undefined),
        prepare: () =>
          at(context, mount.target, 'directory', (target) => ({
            kind: 'tmpfs',
            target,
            size: mount.size,
            readonly: mount.readonly,
          })),
      };
    case 'secret':
      return planSecret(mount, context);
    case 'ssh':
      return planSsh(mount, context);
    case 'script':
      return {
        input: mountInput(mount, undefined),
        prepare: () =>
          at(context, mount.target, 'file', (target) => ({
            kind: 'file',
            target,
            content: Buffer.from(mount.content),
            mode: 0o755,
            uid: 0,
            gid: 0,
            readonly: true,
            executable: true,
          })),
      };
  }
}

/**
 * A tree of the context, a stage or an image. What a step writes into it is for that step alone.
 */
async function planBind(
  mount: Extract<RunMount, { kind: 'bind' }>,
  context: StepContext,
): Promise<PlannedMount> {
  const tree = await bindTree(mount.from, mount.source, context);
  return {
    input: mountInput(mount, tree.content),
    manifest: tree.manifest,
    prepare: async () => {
      const { rootfs, subpath, isDirectory, shown, close } = await tree.open();
      const prepared = await at(
        context,
        mount.target,
        isDirectory ? 'directory' : 'file',
        (target) =>
          rootfs.kind !== 'directory'
            ? { kind: 'overlay', rootfs, subpath, target, readonly: mount.readonly }
            : {
                kind: 'bind',
                source: toRaw(rootfs.path),
                subpath,
                target,
                readonly: mount.readonly,
              },
      );
      return { ...prepared, tree: shown, release: close };
    },
  };
}

/** A directory that outlives the build. Its content is no part of the key. */
async function planCache(
  mount: Extract<RunMount, { kind: 'cache' }>,
  context: StepContext,
): Promise<PlannedMount> {
  const { from } = mount;
  const initial = from === undefined ? undefined : await bindTree(from, mount.source, context);
  return {
    input: mountInput(mount, initial?.content),
    manifest: initial?.manifest,
    prepare: async () => {
      if (initial !== undefined) return overlayOnCache(mount, initial, context);
      const cache = await openCacheMount(
        context.services.options.cacheMounts,
        mount,
        context.scope.signal,
      );
      const prepared = await at(context, mount.target, 'directory', (target) => ({
        kind: 'bind',
        source: toRaw(cache.dir),
        subpath: toRaw(mount.source),
        target,
        readonly: mount.readonly,
      }));
      return { ...prepared, release: cache.release };
    },
  };
}

/**
 * A cache over an initial content: what steps write is kept in the cache, as the upper directory of
 * an overlay.
 */
async function overlayOnCache(
  mount: Extract<RunMount, { kind: 'cache' }>,
  initial: BoundTree,
  context: StepContext,
): Promise<PreparedMounts> {
  const { services, scope } = context;
  // two overlays cannot share an upper directory
  const sharing = mount.sharing === 'private' ? 'private' : 'locked';
  const cache = await openCacheMount(
    services.options.cacheMounts,
    { ...mount, id: `${mount.id}\0${JSON.stringify(initial.content)}`, sharing },
    scope.signal,
  );
  const folder = path.dirname(cache.dir);
  // The cache is ours alone now: what is there was left by a step that was killed.
  for (const name of readdirSync(folder))
    if (name.startsWith('work-')) removeTree(path.join(folder, name));
  const work = mkdtempSync(path.join(folder, 'work-'));
  const below = await initial.open();
  const { rootfs } = below;
  if (rootfs.kind === 'directory') {
    below.close();
    cache.release();
    throw new MbuildError(
      'UNSUPPORTED',
      'a cache over an initial content (from=) needs overlay mounts, which are not possible here',
      { hint: 'to learn why, run `mbuild doctor`' },
    );
  }
  const settle = (): void =>
    settleServed(cache.dir, () => viewOf(rootfs.lowers, services.xattrs), services.xattrs);
  settle();
  const upper =
    rootfs.kind === 'fuse'
      ? { upper: readyServed(cache.dir, services.xattrs), log: serverLog(cache.dir) }
      : { upper: cache.dir };
  const prepared = await at(context, mount.target, 'directory', (target) => ({
    kind: 'overlay',
    rootfs: { ...rootfs, ...upper, work },
    subpath: below.subpath,
    target,
    readonly: mount.readonly,
  }));
  return {
    ...prepared,
    tree: below.shown,
    release: () => {
      settle();
      below.close();
      removeTree(work);
      cache.release();
    },
  };
}

function viewOf([top = '', ...below]: readonly string[], xattrs: OverlayXattrs): LayeredView {
  return new LayeredView([toRaw(top), ...below.map(toRaw)], xattrs);
}

/** A secret is keyed by its name: its value may change without the step being run again. */
function planSecret(
  mount: Extract<RunMount, { kind: 'secret' }>,
  context: StepContext,
): PlannedMount {
  const { id, target, env, required } = mount;
  return {
    input: mountInput(mount, undefined),
    prepare: async () => {
      const content = context.services.options.secrets.get(id)?.();
      if (content === undefined) {
        // BuildKit sets the variable of a secret that is not given, to nothing.
        if (!required) return { ...NOTHING, env: env === undefined ? [] : [`${env}=`] };
        throw new MbuildError('SECRET_MISSING', `the secret ${id} was not given`, {
          hint: `pass it with --secret id=${id},src=FILE or --secret id=${id},env=NAME`,
        });
      }
      const file =
        target === undefined
          ? NOTHING
          : await at(context, target, 'file', (place) => ({
              ...mount,
              kind: 'file',
              target: place,
              content,
              readonly: true,
              // One with an x bit is a program.
              executable: (mount.mode & 0o111) !== 0,
            }));
      return { ...file, env: env === undefined ? [] : [`${env}=${content.toString('utf8')}`] };
    },
  };
}

function planSsh(mount: Extract<RunMount, { kind: 'ssh' }>, context: StepContext): PlannedMount {
  const { id, target, required } = mount;
  return {
    input: mountInput(mount, undefined),
    prepare: async () => {
      const socket = context.services.options.ssh.get(id);
      if (socket === undefined) {
        if (!required) return NOTHING;
        throw new MbuildError('SECRET_MISSING', `the SSH agent ${id} was not given`, {
          hint:
            id === 'default'
              ? 'start an agent and pass --ssh default, or pass a private key with --ssh default=KEY'
              : `pass it with --ssh ${id}=SOCKET or --ssh ${id}=KEY`,
        });
      }
      return at(context, target, 'file', (place) => ({
        kind: 'bind',
        source: toRaw(path.dirname(socket)),
        subpath: toRaw(path.basename(socket)),
        target: place,
        readonly: false,
      }));
    },
  };
}

const NOTHING: PreparedMounts = { mounts: [], mountPoints: [], env: [], release: () => undefined };

/** One mount at a path of the step's tree. */
async function at(
  context: StepContext,
  wanted: string,
  kind: MountPoint['kind'],
  mount: (target: string) => Mount,
): Promise<PreparedMounts> {
  const view = context.services.snapshots.view(await context.parent.stack());
  const { target, missing } = mountTarget(view, toRaw(wanted), kind);
  return { ...NOTHING, mounts: [mount(target)], mountPoints: missing };
}
