import { ALL_CAPABILITIES, DEFAULT_CAPABILITIES } from '../sandbox/capabilities';
import { MbuildError, isMbuildError } from '../diagnostics/error';
import type { RunOperation } from '../graph/operation';
import { maskStream, maskedParts } from '../progress/mask';
import type { ExitStatus } from '../sandbox/sandbox';
import { toRaw } from '../linux/paths';
import type { ActiveSnapshot } from '../snapshot/snapshotter';
import { TreeWriter } from '../snapshot/tree-writer';
import { resolveUser } from '../snapshot/users';
import { cannotRun, foreignProgram } from './foreign';
import { OutputTail } from './output-tail';
import { networkFiles, SANDBOX_HOSTNAME, stepEnvironment } from './run-environment';
import { planMounts, type PreparedMounts } from './run-mounts';
import type { PlannedOperation, StepContext } from './step';

/** A command: keyed by itself, its variables, its place and what is mounted; never by the values of secrets. */
export async function planRunStep(operation: RunOperation, context: StepContext): Promise<PlannedOperation> {
  const mounts = await planMounts(operation.mounts, context);
  return {
    inputs: {
      args: operation.args, env: [...operation.env].sort(), cwd: operation.cwd, user: operation.user,
      network: operation.network, insecure: operation.insecure, mounts: mounts.map((mount) => mount.input),
    },
    manifests: mounts.flatMap((mount) => (mount.manifest === undefined ? [] : [mount.manifest])),
    execute: async (active) => {
      const prepared: PreparedMounts[] = [];
      try {
        makeWorkingDirectory(operation, active, context);
        for (const mount of mounts) prepared.push(await mount.prepare());
        await execute(operation, active, prepared, context);
      } finally {
        for (const mount of prepared) await mount.release();
      }
    },
  };
}

/** A working directory that an earlier step took away comes back, as container runtimes make it. */
function makeWorkingDirectory({ cwd }: RunOperation, active: ActiveSnapshot, { services, parent }: StepContext): void {
  const view = services.snapshots.view(parent.stack);
  if (view.stat(toRaw(cwd)) !== undefined) return;
  const writer = new TreeWriter(view, toRaw(active.dir), { now: services.options.sourceDateEpoch, xattrs: services.xattrs });
  writer.mkdirAll(toRaw(cwd), { mode: 0o755, uid: 0, gid: 0 });
  writer.finish();
}

async function execute(operation: RunOperation, active: ActiveSnapshot, prepared: readonly PreparedMounts[], context: StepContext): Promise<void> {
  const { services, scope, vertex } = context;
  const view = services.snapshots.view(context.parent.stack);
  const foreign = foreignProgram(view, operation.args[0]);
  if (foreign?.emulator === 'missing') throw cannotRun(foreign);
  const user = resolveUser(view, operation.user);
  const files = networkFiles(view, services.options.extraHosts);
  const tail = new OutputTail();
  const parts = maskedParts(services.options.knownSecrets());
  const masked = { stdout: maskStream(parts), stderr: maskStream(parts) };
  const show = (stream: 'stdout' | 'stderr', data: Uint8Array): void => {
    if (data.length === 0) return;
    tail.add(data);
    scope.events({ kind: 'log', id: vertex, time: Date.now(), stream, data });
  };
  const status = await services.sandbox.run({
    args: operation.args,
    env: [...stepEnvironment(operation.env, user.home, services.options.proxies), ...prepared.flatMap((mount) => mount.env)],
    cwd: operation.cwd,
    user: { uid: user.uid, gid: user.gid, groups: [user.gid, ...user.groups] },
    rootfs: services.snapshots.rootfs(active),
    mounts: [...files.mounts, ...prepared.flatMap((mount) => mount.mounts)],
    mountPoints: [...files.mountPoints, ...prepared.flatMap((mount) => mount.mountPoints)],
    network: operation.network, hostname: SANDBOX_HOSTNAME,
    capabilities: operation.insecure ? ALL_CAPABILITIES : DEFAULT_CAPABILITIES, confined: !operation.insecure,
    ulimits: services.options.ulimits, shmSize: services.options.shmSize,
  }, {
    output: (stream, data) => show(stream, masked[stream].push(data)),
  }, scope).catch((error: unknown) => {
    // Where registrations cannot be seen, the attempt has to tell.
    throw foreign !== undefined && isMbuildError(error, 'EXEC_FAILED') && error.exitCode === 126 ? cannotRun(foreign) : error;
  }).finally(() => {
    for (const stream of ['stdout', 'stderr'] as const) show(stream, masked[stream].end());
  });
  if (status.code !== 0) throw commandFailed(status, tail.text());
  services.snapshots.collect(active);
}

function commandFailed(status: ExitStatus, output: string): MbuildError {
  const how = status.signal === undefined ? `exited with code ${status.code}` : `was killed by ${status.signal}`;
  return new MbuildError('EXEC_FAILED', `RUN ${how}`, { exitCode: status.code, output, hint: hintFor(status) });
}

function hintFor(status: ExitStatus): string | undefined {
  if (status.signal === 'SIGKILL') return 'SIGKILL often means that memory ran out';
  if (status.code === 127) return '127 means the shell found no such command; install it in an earlier RUN';
  if (status.code === 126) return '126 means that the file was found and cannot be executed: look at its mode and its architecture';
  return undefined;
}
