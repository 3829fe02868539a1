import { findCgroup } from '../sandbox/cgroups/cgroup';
import { hasLimits } from '../sandbox/cgroups/cgroup-limits';
import type { ExitStatus, PreparedProcess, ProcessIo } from '../sandbox/sandbox';
import { resolveUser } from '../snapshot/users';
import { splitEnv, withEnv } from '../oci/env';
import { firstProcess } from './container';
import { containerEnv, containerView } from './process-spec';
import type { OpenContainer } from './services';
import { withoutBuildHint } from './supervise';

/** One more command in a container. */
export interface ExecRequest {
  readonly args: readonly string[];
  /** `NAME=value`, or `NAME` to take a variable of the container's away. */
  readonly env: readonly string[];
  readonly cwd?: string | undefined;
  /** The container's own when absent. */
  readonly user?: string | undefined;
  readonly terminal: boolean;
}

/**
 * Runs a command in the namespaces of a container that runs, with its rights and its environment.
 * @throws MbuildError CONTAINER_CONFLICT when it does not run, USER_NOT_FOUND, EXEC_NOT_FOUND,
 * EXEC_FAILED.
 */
export async function execInContainer(
  { container, store, services }: OpenContainer,
  request: ExecRequest,
  io: Pick<ProcessIo, 'stdin' | 'output' | 'terminal'> & {
    readonly started?: ((process: PreparedProcess) => void) | undefined;
  },
): Promise<ExitStatus> {
  const { record } = container;
  const { pid } = firstProcess(container, `start it with 'mbuild start ${record.name}'`);
  // The container may change its passwd right now, but what it says is its own affair.
  const user = resolveUser(containerView(record, store, services), request.user ?? record.user);
  const env = request.env.reduce<string[]>(
    (all, entry) => {
      const [name, value] = splitEnv(entry);
      return entry.includes('=')
        ? withEnv(all, name, value)
        : all.filter((item) => splitEnv(item)[0] !== name);
    },
    containerEnv({ env: record.env, hostname: record.hostname, terminal: request.terminal }, user),
  );
  try {
    return await services.sandbox.enter(
      {
        pid,
        args: request.args,
        env,
        cwd: request.cwd ?? record.cwd,
        user: { uid: user.uid, gid: user.gid, groups: [user.gid, ...user.groups] },
        capabilities: record.capabilities,
        ulimits: record.ulimits,
        noNewPrivileges: record.noNewPrivileges,
      },
      {
        stdin: io.stdin,
        output: io.output,
        terminal: io.terminal,
        prepare: (prepared) => {
          if (hasLimits(record.limits)) findCgroup(record.id).add(prepared.pid);
          io.started?.(prepared);
        },
      },
      { signal: new AbortController().signal, events: () => undefined },
    );
  } catch (error) {
    throw withoutBuildHint(error);
  }
}
