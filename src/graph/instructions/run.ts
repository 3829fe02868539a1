import { readDevices, type DeviceRequest } from '../../dockerfile/device';
import { networkMode, securityMode } from '../../dockerfile/flags';
import { parseHeredocMark } from '../../dockerfile/heredoc';
import type { Heredoc, InstructionOf } from '../../dockerfile/instruction';
import { readMounts, type MountOptions } from '../../dockerfile/mount';
import type { RunMount, RunOperation } from '../graph';
import {
  displayOf,
  expandIn,
  mistake,
  withStep,
  type StageScopeReader,
  type StageState,
} from '../state';
import { shellOf } from './command';
import { planMounts } from './mount';

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
      'NOT_ALLOWED',
      'RUN --security=insecure is not allowed',
      'allow it on the command line: --allow security.insecure',
    );
  }
  const mounts = await planMounts(options.mounts, state, (name) =>
    scope.findTree(name, instruction.range),
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

/**
 * The words to execute: heredocs that the shell reads follow the line as written, each with its
 * closing delimiter.
 */
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

/**
 * A body that begins with `#!`, behind the tabs that `<<-` removes, becomes a file, which the shell
 * executes.
 */
function scriptOf(instruction: Run): Extract<RunMount, { kind: 'script' }> | undefined {
  const [only] = instruction.heredocs;
  if (only === undefined || !isHeredocAlone(instruction) || !only.content.startsWith('#!'))
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
  { flags }: Run,
  state: StageState,
  scope: StageScopeReader,
): {
  network: RunOperation['network'];
  insecure: boolean;
  devices: DeviceRequest[];
  mounts: MountOptions[];
} {
  const network = networkMode(flags);
  return {
    network: network === 'default' ? scope.network : network,
    insecure: securityMode(flags) === 'insecure',
    devices: readDevices(flags),
    mounts: readMounts(flags, (value) => expandIn(value, state, scope)),
  };
}

/** Parents before what is mounted inside them, in whatever order they are written. */
function byTarget(mounts: readonly RunMount[]): readonly RunMount[] {
  return mounts.toSorted(({ target: a = '' }, { target: b = '' }) => {
    if (a === b) return 0;
    return a < b ? -1 : 1;
  });
}

/** SSH_AUTH_SOCK is where the first agent would be, whether it is given or not; ENV and ARG win. */
function withAgent(env: StageState['env'], mounts: readonly RunMount[]): StageState['env'] {
  const agent = mounts.find((mount) => mount.kind === 'ssh');
  return agent === undefined || env.has('SSH_AUTH_SOCK')
    ? env
    : env.with('SSH_AUTH_SOCK', agent.target);
}
