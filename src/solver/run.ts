import { ALL_CAPABILITIES, DEFAULT_CAPABILITIES } from '../sandbox/capabilities';
import { MbuildError, isMbuildError, type Diagnostic } from '../diagnostics/error';
import type { RunOperation, Step } from '../graph/graph';
import { maskStream, maskedParts } from '../progress/mask';
import { refusalText } from '../sandbox/cgroups/cgroup';
import { hasLimits } from '../sandbox/cgroups/cgroup-limits';
import type { ExitStatus, ProcessSpec } from '../sandbox/sandbox';
import type { Supervision } from '../sandbox/seccomp/supervision';
import { keepsOwners } from '../linux/owners';
import { makeTreeMutable } from '../linux/file-flags';
import { toRaw, toText, type RawPath } from '../linux/paths';
import type { ActiveSnapshot } from '../snapshot/snapshotter';
import { TreeWriter } from '../snapshot/tree-writer';
import { resolveUser, type ResolvedUser } from '../snapshot/users';
import type { MergedView } from '../snapshot/view';
import { prepareDevices } from './devices';
import { isCommandError, type Decided } from './failed-run';
import { cannotRun, foreignProgram } from './foreign';
import { fullDiskHint } from './full-disk';
import { mountHostPaths, type HostMounts } from './host-paths';
import { runInputs } from './key-inputs';
import { OutputTail } from './output-tail';
import {
  networkFiles,
  packageManagerFiles,
  SANDBOX_HOSTNAME,
  stepEnvironment,
} from './run-environment';
import { planMounts, type PreparedMounts } from './run-mounts';
import type { StepServices } from './services';
import type { PlannedOperation, StepContext } from './planned';
import { presentTime } from './options';

/**
 * Processes and threads that a step may have where nobody says otherwise: enough for a big build,
 * and the end of a fork bomb.
 */
const USUAL_PROCESSES = 4096;

/**
 * A command: keyed by itself, its variables, its place and what is mounted; never by the values of
 * secrets.
 */
export async function planRunStep(
  operation: RunOperation,
  context: StepContext,
): Promise<PlannedOperation> {
  const mounts = await planMounts(operation.mounts, context);
  return {
    inputs: runInputs(
      operation,
      mounts.map((mount) => mount.input),
    ),
    manifests: mounts.flatMap((mount) => (mount.manifest === undefined ? [] : [mount.manifest])),
    execute: async (active, { isLast }) => {
      const prepared: PreparedMounts[] = [];
      try {
        await makeWorkingDirectory(operation, active, context);
        for (const mount of mounts) prepared.push(await mount.prepare());
        const process = await prepareRun(operation, active, prepared, context);
        return await execute(operation, process, context).catch((error: unknown) =>
          isLast
            ? decide(error, { operation, ...process, prepared, context })
            : Promise.reject(error),
        );
      } finally {
        for (const mount of prepared) await mount.release();
      }
    },
  };
}

/** A working directory that an earlier step took away comes back, as container runtimes make it. */
async function makeWorkingDirectory(
  { cwd }: RunOperation,
  active: ActiveSnapshot,
  { services, parent }: StepContext,
): Promise<void> {
  const view = services.snapshots.view(await parent.stack());
  if (view.stat(toRaw(cwd)) !== undefined) return;
  const writer = new TreeWriter(view, toRaw(active.dir), {
    now: presentTime(services.options),
    xattrs: services.xattrs,
  });
  writer.mkdirAll(toRaw(cwd), { mode: 0o755, uid: 0, gid: 0 });
  writer.finish();
}

/** A process that is ready to be run. */
export interface PreparedRun {
  readonly active: ActiveSnapshot;
  /** The tree below. */
  readonly view: MergedView;
  readonly user: ResolvedUser;
  readonly spec: ProcessSpec;
}

/**
 * What a RUN is, on the tree that it is given.
 * @throws MbuildError USER_NOT_FOUND, EXEC_FAILED, and as devices and host paths do.
 */
export async function prepareRun(
  operation: RunOperation,
  active: ActiveSnapshot,
  prepared: readonly PreparedMounts[],
  { services, parent }: Pick<StepContext, 'services' | 'parent'>,
): Promise<PreparedRun> {
  const view = services.snapshots.view(await parent.stack());
  const user = resolveUser(view, operation.user);
  const devices = await prepareDevices(operation.devices ?? [], view, services);
  const spec = processOf(operation, services, {
    active,
    view,
    mounts: [...prepared, mountHostPaths(operation.volumes ?? [], view), devices],
    user: { ...user, groups: [...user.groups, ...devices.gids] },
  });
  return { active, view, user, spec: withoutNul(spec) };
}

/** A run that failed, and what it was run with. */
interface Failure extends PreparedRun {
  readonly operation: RunOperation;
  readonly prepared: readonly PreparedMounts[];
  readonly context: StepContext;
}

/** What becomes of a command that failed. @throws the error, unless a person decided otherwise. */
async function decide(
  error: unknown,
  { operation, active, user, spec, prepared, context }: Failure,
): Promise<Decided> {
  const { services, scope, step, vertex } = context;
  const { failedRun, knownSecrets, ...settings } = services.options;
  if (failedRun === undefined || scope.signal.aborted || !isCommandError(error)) throw error;
  const trees = new Map(
    prepared.flatMap(({ tree }, i) => (tree === undefined ? [] : [[i, tree] as const])),
  );
  const ran = { operation, spec, user, active, trees, error };
  const decided = await failedRun({ step, vertex, settings, secrets: knownSecrets(), ...ran });
  if (decided === undefined) throw error;
  if (decided === 'take') services.snapshots.collect(active, user);
  return decided;
}

async function execute(
  operation: RunOperation,
  { active, view, user, spec }: PreparedRun,
  context: StepContext,
): Promise<undefined> {
  const { services, scope, vertex } = context;
  const foreign = foreignProgram(view, operation.args[0]);
  if (foreign?.emulator === 'missing') throw cannotRun(foreign);
  const tail = new OutputTail();
  const shown = shownOutput(tail, context);
  const lostWrites: RawPath[] = [];
  const status = await services.sandbox
    .run(
      spec,
      {
        output: shown.push,
        refused: (refused) =>
          services.warn({
            severity: 'warning',
            code: 'LimitNotSet',
            message: refusalText('RUN', refused),
          }),
        rewritten: (target) => lostWrites.push(target),
      },
      scope,
    )
    .finally(shown.end)
    .catch((error: unknown) => {
      if (isMbuildError(error, 'STEP_TIMEOUT'))
        throw tooSlow(services.options.stepTimeout, tail.text());
      // Where registrations cannot be seen, the attempt has to tell.
      throw foreign !== undefined && isMbuildError(error, 'EXEC_FAILED') && error.exitCode === 126
        ? cannotRun(foreign)
        : error;
    });
  if (status.usage !== undefined) scope.events({ kind: 'usage', id: vertex, usage: status.usage });
  if (status.code !== 0) {
    const { root } = services;
    throw commandFailed(
      status,
      tail.text(),
      cacheHint(operation, user, tail.text()) ?? fullDiskHint(tail.text(), root),
    );
  }
  collect({ spec, user, lostWrites, supervision: status.supervision }, active, context);
  return undefined;
}

/** Shows what a command writes, without the values of secrets, and keeps its end. */
function shownOutput(tail: OutputTail, { services, scope, vertex }: StepContext) {
  const parts = maskedParts(services.options.knownSecrets());
  const masked = { stdout: maskStream(parts), stderr: maskStream(parts) };
  const show = (stream: 'stdout' | 'stderr', data: Uint8Array): void => {
    if (data.length === 0) return;
    tail.add(data);
    scope.events({ kind: 'log', id: vertex, time: Date.now(), stream, data });
  };
  return {
    push: (stream: 'stdout' | 'stderr', data: Uint8Array) =>
      show(stream, masked[stream].push(data)),
    end: () => {
      for (const stream of ['stdout', 'stderr'] as const) show(stream, masked[stream].end());
    },
  };
}

/** A command that has ended well. */
interface Ended {
  readonly spec: ProcessSpec;
  readonly user: ResolvedUser;
  /** Files that were given to it and that it wrote to. */
  readonly lostWrites: readonly RawPath[];
  readonly supervision: Supervision | undefined;
}

/** Takes what it left into the snapshot, and warns of what is lost. */
function collect(
  { spec, user, lostWrites, supervision }: Ended,
  active: ActiveSnapshot,
  { services, step }: StepContext,
): void {
  // Nothing may be left that the next step, or a prune, cannot change.
  if (spec.capabilities.includes('LINUX_IMMUTABLE'))
    makeTreeMutable(toRaw(spec.rootfs.kind === 'directory' ? spec.rootfs.path : active.dir));
  services.snapshots.collect(active, user);
  for (const target of lostWrites) services.warn(writeIsLost(step, target));
  if (spec.rootfs.kind === 'fuse') services.warn(FUSE_FAULTS, true);
  const lost = keepsOwners() && user.uid === 0 ? lostOwners(supervision) : undefined;
  if (lost !== undefined) services.warn(ownersNotKept(step, lost), true);
}

/** Every step is given files of these names anew. */
function writeIsLost({ file, range }: Step, target: RawPath): Diagnostic {
  const flags = target.endsWith('hosts') ? '--add-host NAME:ADDRESS' : '--dns, --dns-search';
  return {
    severity: 'warning',
    code: 'WriteIsLost',
    message: `RUN wrote to ${toText(target)}, but the change is lost: every step gets a new file there, and the image does not contain it`,
    file,
    range,
    hint: `${flags} changes it for all steps of the build; in a container, change it when the container starts`,
  };
}

const FUSE_FAULTS: Diagnostic = {
  severity: 'warning',
  code: 'FuseOverlayFaults',
  message:
    'fuse-overlayfs loses some deletions, so the image may differ from one built elsewhere: if a RUN replaces a file of an earlier layer and then deletes it, the old file comes back',
  hint: 'if there is space for copies, leave out --snapshotter=fuse-overlayfs; docs/isolation.md lists its other faults',
};

/**
 * What of owners is lost where there is one id. Unsupervised, whether the command asked for any
 * cannot be known: the kernel's filter, which answers, tells nobody.
 */
function lostOwners(supervision: Supervision | undefined): string | undefined {
  if (supervision === undefined)
    return 'when RUN gives files to other users (chown), the call succeeds, but the files still belong to root';
  if (supervision.lost > 0)
    return `of what RUN gives to other users (chown), ${supervision.lost} still belong to root: the file system cannot store the owner`;
  return supervision.users.length === 0
    ? undefined
    : `RUN became another user (${supervision.users.join(', ')}), whose files belong to root`;
}

function ownersNotKept({ file, range }: Step, lost: string): Diagnostic {
  return {
    severity: 'warning',
    code: 'OwnersNotKept',
    message: `only one user id is available: ${lost}`,
    file,
    range,
    hint: 'to learn how to get ids of other users, run `mbuild doctor`',
  };
}

/** What a step finds when it starts. */
interface ProcessPlace {
  readonly active: ActiveSnapshot;
  /** The tree below. */
  readonly view: MergedView;
  readonly mounts: readonly (HostMounts & Partial<PreparedMounts>)[];
  readonly user: ResolvedUser;
}

/** The process that a step is, on the tree that it is given. */
function processOf(
  operation: RunOperation,
  { snapshots, options }: StepServices,
  { active, view, mounts, user }: ProcessPlace,
): ProcessSpec {
  const {
    args,
    cwd,
    network,
    insecure,
    capabilities,
    noNewPrivileges,
    hostname = SANDBOX_HOSTNAME,
  } = operation;
  const { limits, ulimits, shmSize, stepTimeout, proxies, extraHosts, resolver } = options;
  const files = [
    networkFiles(view, hostname, extraHosts, resolver),
    packageManagerFiles(view),
    ...mounts,
  ];
  return {
    args,
    cwd,
    network,
    hostname,
    env: [
      ...stepEnvironment(operation.env, user.home, proxies),
      ...mounts.flatMap((mount) => mount.env ?? []),
    ],
    user: { uid: user.uid, gid: user.gid, groups: [user.gid, ...user.groups] },
    rootfs: snapshots.rootfs(active),
    mounts: files.flatMap(({ mounts }) => mounts),
    mountPoints: files.flatMap(({ mountPoints }) => mountPoints),
    capabilities: insecure ? ALL_CAPABILITIES : (capabilities ?? DEFAULT_CAPABILITIES),
    confined: !insecure,
    noNewPrivileges,
    ulimits,
    shmSize,
    timeout: stepTimeout,
    limits: hasLimits(limits) ? limits : undefined,
    maxProcesses: limits.pids === undefined ? USUAL_PROCESSES : undefined,
  };
}

/** The kernel's strings end at a NUL: what stands behind one would be lost silently. */
function withoutNul(spec: ProcessSpec): ProcessSpec {
  const holder = spec.args.some((arg) => arg.includes('\0'))
    ? 'its command'
    : spec.env.find((entry) => entry.includes('\0'))?.split('=')[0];
  if (holder !== undefined)
    throw new MbuildError('EXEC_FAILED', `RUN cannot be executed: ${holder} holds a NUL`, {
      hint: 'arguments and variables of a program cannot hold a NUL',
    });
  return spec;
}

function tooSlow(timeout: number | undefined, output: string): MbuildError {
  return new MbuildError(
    'STEP_TIMEOUT',
    `RUN took longer than the ${(timeout ?? 0) / 1000} seconds of --step-timeout and was killed`,
    {
      output,
      hint: 'earlier steps stay in the cache: build again with a longer --step-timeout',
    },
  );
}

/** Of a command that was denied something, and whose user does not own a cache that is mounted. */
function cacheHint(
  { mounts }: RunOperation,
  { uid, gid }: ResolvedUser,
  output: string,
): string | undefined {
  if (uid === 0 || !/permission denied|EACCES/i.test(output)) return undefined;
  const foreign = mounts.find((mount) => mount.kind === 'cache' && mount.uid !== uid);
  return foreign === undefined
    ? undefined
    : `the cache mount ${foreign.target} belongs to another user: add uid=${uid},gid=${gid} to it for a cache of this user`;
}

function commandFailed(
  status: ExitStatus,
  output: string,
  otherwise: string | undefined,
): MbuildError {
  const how =
    status.signal === undefined
      ? `exited with code ${status.code}`
      : `was killed by ${status.signal}`;
  return new MbuildError('EXEC_FAILED', `RUN ${how}`, {
    exitCode: status.code,
    output,
    hint: hintFor(status) ?? otherwise,
  });
}

function hintFor(status: ExitStatus): string | undefined {
  if (status.outOfMemory === true)
    return 'a process was killed because it needed more memory than --memory allows';
  if (status.signal === 'SIGKILL') return 'SIGKILL often means that memory ran out';
  if (status.code === 127)
    return '127 means the shell found no such command; install it in an earlier RUN';
  if (status.code === 126)
    return '126 means that the file was found but cannot be executed: check its mode and its architecture';
  return undefined;
}
