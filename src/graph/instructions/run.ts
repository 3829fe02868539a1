import path from 'node:path';
import { readDevices, type DeviceRequest } from '../../dockerfile/device';
import { networkMode, securityMode } from '../../dockerfile/flags';
import { parseHeredocMark } from '../../dockerfile/heredoc';
import type { Heredoc, InstructionOf } from '../../dockerfile/instruction';
import { readMounts, type MountOptions } from '../../dockerfile/mount';
import type { RunMount, RunOperation, TreeSource } from '../operation';
import {
  displayOf,
  expandIn,
  mistake,
  placed,
  withStep,
  type StageScopeReader,
  type StageState,
} from '../state';
import { shellOf } from './command';
import { absolute } from './workdir';

type Run = InstructionOf<'RUN'>;

/** BuildKit's place for scripts that a heredoc brings. */
const SCRIPT_DIR = '/dev/pipes';

/** `RUN`. */
export async function planRun(
  instruction: Run,
  state: StageState,
  scope: StageScopeReader,
): Promise<StageState> {
  const script = scriptOf(instruction);
  const args =
    script === undefined
      ? commandOf(instruction, state)
      : [...shellOf(state.config), script.target];
  const options = readOptions(instruction, state, scope);
  if (options.insecure && !scope.allowInsecure) {
    throw mistake(
      scope,
      instruction,
      'NOT_ALLOWED',
      'RUN --security=insecure is not allowed',
      'grant it on the command line: --allow security.insecure',
    );
  }
  const agents = options.mounts.filter(({ type }) => type === 'ssh');
  const mounts = await Promise.all(
    options.mounts.map((mount) =>
      planMount(mount, agents.indexOf(mount), instruction, state, scope),
    ),
  );
  const operation: RunOperation = {
    kind: 'run',
    args,
    env: [...withAgent(state.env, mounts)].map(([name, value]) => `${name}=${value}`),
    cwd: state.config.WorkingDir || '/',
    user: state.config.User ?? '',
    mounts: byTarget(script === undefined ? mounts : [...mounts, script]),
    network: options.network,
    insecure: options.insecure,
    ...(options.devices.length === 0 ? {} : { devices: options.devices }),
    ...scope.run,
  };
  const step = scope.makeStep(
    operation,
    `${displayOf(instruction, state, scope)}${summary(instruction.heredocs)}`,
    instruction.range,
  );
  return withStep(state, step, `RUN ${[...argPrefix(state), ...args].join(' ')} # buildkit`);
}

/** The words to execute: heredocs that the shell reads follow the line as written, each with its closing delimiter. */
function commandOf(instruction: Run, state: StageState): string[] {
  const { command, heredocs } = instruction;
  if (command.form === 'exec') return [...command.args];
  const [only] = heredocs;
  if (only !== undefined && isHeredocAlone(instruction))
    return [...shellOf(state.config), only.content];
  const bodies = heredocs.map((heredoc) => `\n${heredoc.raw}${heredoc.name}`);
  return [...shellOf(state.config), command.line + bodies.join('')];
}

/** `RUN <<EOF` with nothing else: the body is the command. */
function isHeredocAlone({ command, heredocs }: Run): boolean {
  return (
    heredocs.length === 1 &&
    command.form === 'shell' &&
    parseHeredocMark(command.line) !== undefined
  );
}

/** A body whose very first characters are `#!` becomes a file, which the shell executes; tabs that are to be removed come before them. */
function scriptOf(instruction: Run): Extract<RunMount, { kind: 'script' }> | undefined {
  const [only] = instruction.heredocs;
  if (only === undefined || !isHeredocAlone(instruction) || !only.raw.startsWith('#!'))
    return undefined;
  return { kind: 'script', target: `${SCRIPT_DIR}/${only.name}`, content: only.content };
}

/** ` (first line...)`, as BuildKit shows a heredoc. */
function summary(heredocs: readonly Heredoc[]): string {
  const [only] = heredocs;
  if (only === undefined || heredocs.length > 1) return '';
  const [first = '', ...rest] = only.content.trim().split('\n');
  return ` (${first}${rest.length > 0 ? '...' : ''})`;
}

/** `|2 A=1 B=2`: the ARGs in scope, in front of the command in the history. */
function argPrefix(state: StageState): string[] {
  const names = [...new Set(state.args)];
  return names.length === 0
    ? []
    : [`|${names.length}`, ...names.map((name) => `${name}=${state.env.get(name) ?? ''}`)];
}

function readOptions(
  instruction: Run,
  state: StageState,
  scope: StageScopeReader,
): {
  network: RunOperation['network'];
  insecure: boolean;
  devices: DeviceRequest[];
  mounts: MountOptions[];
} {
  try {
    const network = networkMode(instruction.flags);
    return {
      network: network === 'default' ? scope.network : network,
      insecure: securityMode(instruction.flags) === 'insecure',
      devices: readDevices(instruction.flags),
      mounts: readMounts(instruction.flags, (value) => expandIn(instruction, value, state, scope)),
    };
  } catch (error) {
    throw placed(error, scope.file, instruction.range);
  }
}

/** Parents before what is mounted inside them, in whatever order they are written. */
function byTarget(mounts: readonly RunMount[]): readonly RunMount[] {
  return mounts.toSorted(({ target: a = '' }, { target: b = '' }) => (a < b ? -1 : a > b ? 1 : 0));
}

/** SSH_AUTH_SOCK is where the first agent would be, whether it is given or not; ENV and ARG win. */
function withAgent(env: StageState['env'], mounts: readonly RunMount[]): StageState['env'] {
  const agent = mounts.find((mount) => mount.kind === 'ssh');
  return agent === undefined || env.has('SSH_AUTH_SOCK')
    ? env
    : new Map([...env, ['SSH_AUTH_SOCK', agent.target]]);
}

/** @param agent the how many-th SSH agent the mount is */
async function planMount(
  mount: MountOptions,
  agent: number,
  instruction: Run,
  state: StageState,
  scope: StageScopeReader,
): Promise<RunMount> {
  const tree = async (): Promise<TreeSource> => {
    if (mount.from === undefined) return { kind: 'context' };
    if (/^\d+$/.test(mount.from))
      throw mistake(
        scope,
        instruction,
        'UNKNOWN_STAGE',
        `from=${mount.from} of a mount names no stage`,
        'only COPY --from takes the number of a stage: name it with FROM … AS NAME',
      );
    return scope.findTree(mount.from, instruction.range);
  };
  const owner = { mode: mount.mode, uid: mount.uid ?? 0, gid: mount.gid ?? 0 };
  switch (mount.type) {
    case 'bind':
      return {
        kind: 'bind',
        target: targetOf(mount, instruction, state, scope),
        from: await tree(),
        source: mount.source ?? '/',
        readonly: mount.readOnly,
      };
    case 'cache': {
      const target = targetOf(mount, instruction, state, scope);
      return {
        kind: 'cache',
        target,
        id: mount.id ?? path.posix.normalize(mount.target ?? target),
        sharing: mount.sharing ?? 'shared',
        from: mount.from === undefined ? undefined : await tree(),
        source: mount.source ?? '/',
        readonly: mount.readOnly,
        ...owner,
        mode: mount.mode ?? 0o755,
      };
    }
    case 'tmpfs':
      return {
        kind: 'tmpfs',
        target: targetOf(mount, instruction, state, scope),
        size: mount.size,
        readonly: mount.readOnly,
      };
    case 'secret': {
      const id = mount.id ?? mount.source ?? path.posix.basename(mount.target ?? '');
      const target =
        mount.target === undefined
          ? mount.env === undefined
            ? `/run/secrets/${path.posix.basename(id)}`
            : undefined
          : absolute(mount.target, state);
      return {
        kind: 'secret',
        id,
        target,
        env: mount.env,
        required: mount.required,
        ...owner,
        mode: mount.mode ?? 0o400,
      };
    }
    case 'ssh': {
      const target =
        mount.target === undefined
          ? `/run/buildkit/ssh_agent.${agent}`
          : absolute(mount.target, state);
      return {
        kind: 'ssh',
        id: mount.id ?? 'default',
        target,
        required: mount.required,
        ...owner,
        mode: mount.mode ?? 0o600,
      };
    }
  }
}

function targetOf(
  mount: MountOptions,
  instruction: Run,
  state: StageState,
  scope: StageScopeReader,
): string {
  if (mount.target === undefined)
    throw mistake(
      scope,
      instruction,
      'DOCKERFILE_SEMANTIC',
      `the ${mount.type} mount has no target`,
      'write target=/path',
    );
  const target = absolute(mount.target, state);
  if (target === '/')
    throw mistake(
      scope,
      instruction,
      'DOCKERFILE_SEMANTIC',
      `a ${mount.type} mount cannot cover /`,
      'mount on a directory below it',
    );
  return target;
}
