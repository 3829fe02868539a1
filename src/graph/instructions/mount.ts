import path from 'node:path';
import type { MountOptions, MountType } from '../../dockerfile/mount';
import type { RunMount, TreeSource } from '../graph';
import { mistake, type StageState } from '../state';
import { checkedPath } from './paths';
import { absolute } from './workdir';

/** What one `--mount` is planned with. */
interface MountPlace {
  readonly state: StageState;
  /** The how many-th SSH agent of the RUN it is. */
  readonly agent: number;
  /** The tree that `from=` names. */
  readonly findTree: (name: string) => Promise<TreeSource>;
}

type Planner = (mount: MountOptions, place: MountPlace) => RunMount | Promise<RunMount>;

/** The kinds of `--mount`. */
const PLANNERS: Readonly<Record<MountType, Planner>> = {
  bind: planBind,
  cache: planCache,
  tmpfs: planTmpfs,
  secret: planSecret,
  ssh: planSsh,
};

/**
 * The mounts of a RUN, in order.
 * @throws MbuildError DOCKERFILE_SEMANTIC, UNKNOWN_STAGE, and what `findTree` throws.
 */
export async function planMounts(
  mounts: readonly MountOptions[],
  state: StageState,
  findTree: MountPlace['findTree'],
): Promise<RunMount[]> {
  const agents = mounts.filter(({ type }) => type === 'ssh');
  const planned: RunMount[] = [];
  // One after another: the steps of stages that they bring are numbered in the order of the file.
  for (const mount of mounts) {
    const place = { state, agent: agents.indexOf(mount), findTree };
    planned.push(await PLANNERS[mount.type](mount, place));
  }
  return planned;
}

async function planBind(mount: MountOptions, place: MountPlace): Promise<RunMount> {
  return {
    kind: 'bind',
    target: targetOf(mount, place),
    from: (await treeOf(mount, place)) ?? { kind: 'context' },
    source: checkedPath(mount.source ?? '/'),
    readonly: mount.readOnly,
  };
}

async function planCache(mount: MountOptions, place: MountPlace): Promise<RunMount> {
  const target = targetOf(mount, place);
  return {
    kind: 'cache',
    target,
    id: mount.id ?? path.posix.normalize(mount.target ?? target),
    sharing: mount.sharing ?? 'shared',
    from: await treeOf(mount, place),
    source: checkedPath(mount.source ?? '/'),
    readonly: mount.readOnly,
    ...ownerOf(mount, 0o755),
  };
}

function planTmpfs(mount: MountOptions, place: MountPlace): RunMount {
  return {
    kind: 'tmpfs',
    target: targetOf(mount, place),
    size: mount.size,
    readonly: mount.readOnly,
  };
}

function planSecret(mount: MountOptions, { state }: MountPlace): RunMount {
  const id = mount.id ?? mount.source ?? path.posix.basename(mount.target ?? '');
  // One that is wanted as a variable is a file only where a target is given, too.
  const usual = mount.env === undefined ? `/run/secrets/${path.posix.basename(id)}` : undefined;
  return {
    kind: 'secret',
    id,
    target: mount.target === undefined ? usual : absolute(mount.target, state),
    env: mount.env,
    required: mount.required,
    ...ownerOf(mount, 0o400),
  };
}

function planSsh(mount: MountOptions, { state, agent }: MountPlace): RunMount {
  return {
    kind: 'ssh',
    id: mount.id ?? 'default',
    target:
      mount.target === undefined
        ? `/run/buildkit/ssh_agent.${agent}`
        : absolute(mount.target, state),
    required: mount.required,
    ...ownerOf(mount, 0o600),
  };
}

function ownerOf(
  { mode, uid = 0, gid = 0 }: MountOptions,
  usualMode: number,
): { readonly mode: number; readonly uid: number; readonly gid: number } {
  return { mode: mode ?? usualMode, uid, gid };
}

async function treeOf(
  { from }: MountOptions,
  { findTree }: MountPlace,
): Promise<TreeSource | undefined> {
  if (from === undefined) return undefined;
  if (/^\d+$/.test(from))
    throw mistake(
      'UNKNOWN_STAGE',
      `from=${from} of a mount is not the name of a stage`,
      'only COPY --from accepts the number of a stage: name the stage with FROM … AS NAME',
    );
  return findTree(from);
}

function targetOf(mount: MountOptions, { state }: MountPlace): string {
  if (mount.target === undefined)
    throw mistake(
      'DOCKERFILE_SEMANTIC',
      `the ${mount.type} mount has no target`,
      'write target=/path',
    );
  const target = absolute(mount.target, state);
  if (target === '/')
    throw mistake(
      'DOCKERFILE_SEMANTIC',
      `a ${mount.type} mount cannot cover /`,
      'mount on a directory below it',
    );
  return target;
}
