import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import type { SshSource } from './options';
import { temporaryDirectory } from '../content/temporary';
import { MbuildError } from '../diagnostics/error';
import { removeTree } from '../linux/remove-tree';
import type { RunningAgent } from '../ssh/agent';

/** The SSH agents of a build. */
export interface SshAgents {
  /** By id. */
  readonly sockets: ReadonlyMap<string, string>;
  /** Ends those that were started. */
  close(): void;
}

/** Agents that were started for keys. */
interface Started {
  readonly directory: string;
  readonly agents: readonly RunningAgent[];
}

/** The longest path of a socket. unix(7). */
const MAX_SOCKET_PATH = 107;

/**
 * Finds the agents that a build was given, and starts one for each that is given as keys: in this
 * process, so that nothing is left when it is killed.
 * @throws MbuildError SECRET_MISSING for a socket or key that is not there or cannot be used.
 */
export async function openSshAgents(
  sources: readonly SshSource[],
  root: string,
): Promise<SshAgents> {
  const sockets = new Map<string, string>();
  const keys = new Map<string, readonly string[]>();
  for (const { id, paths } of sources) {
    const socket = socketOf(id, paths);
    if (socket === undefined) keys.set(id, paths);
    else sockets.set(id, socket);
  }
  const started = keys.size === 0 ? undefined : await startAgents(keys, sockets, root);
  return {
    sockets,
    close: () => {
      if (started !== undefined) endAgents(started);
    },
  };
}

/** The socket that a source is; `undefined` for keys. */
function socketOf(id: string, paths: readonly string[]): string | undefined {
  const found = paths.filter((file) => {
    const stats = statSync(file, { throwIfNoEntry: false });
    if (stats !== undefined) return stats.isSocket();
    throw new MbuildError('SECRET_MISSING', `--ssh ${id}: ${file} is not there`, {
      hint: 'name the socket of an agent, or private keys: --ssh ID=KEY[,KEY]',
    });
  });
  if (found.length > 0 && paths.length > 1)
    throw new MbuildError('SECRET_MISSING', `--ssh ${id}: one socket, or keys, but not both`, {
      hint: 'give each agent an id of its own',
    });
  return found[0];
}

async function startAgents(
  keys: ReadonlyMap<string, readonly string[]>,
  sockets: Map<string, string>,
  root: string,
): Promise<Started> {
  const [{ startAgent }, { readPrivateKey }] = await Promise.all([
    import('../ssh/agent'),
    import('../ssh/private-key'),
  ]);
  const read = [...keys].map(([id, files]) => ({
    id,
    keys: files.map((file) => ({
      comment: path.basename(file),
      ...readPrivateKey(contentOf(id, file), `--ssh ${id}: ${file}`),
    })),
  }));
  const directory = temporaryDirectory('ssh', root);
  const agents: RunningAgent[] = [];
  try {
    for (const one of read) {
      const socket = path.join(directory, `agent.${agents.length}`);
      if (Buffer.byteLength(socket) > MAX_SOCKET_PATH)
        throw new MbuildError(
          'SECRET_MISSING',
          `${socket} is too long for the socket of an agent`,
          {
            hint: 'set TMPDIR to a shorter path',
          },
        );
      agents.push(await startAgent(socket, one.keys));
      sockets.set(one.id, socket);
    }
  } catch (error) {
    endAgents({ directory, agents });
    throw error;
  }
  return { directory, agents };
}

function endAgents({ directory, agents }: Started): void {
  for (const agent of agents) agent.close();
  removeTree(directory);
}

function contentOf(id: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new MbuildError('SECRET_MISSING', `--ssh ${id}: ${file} cannot be read`, { cause });
  }
}
