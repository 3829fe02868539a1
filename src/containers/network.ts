import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { connect } from 'node:net';
import type { Duplex, Readable } from 'node:stream';
import { MbuildError, errnoOf } from '../diagnostics/error';
import type { PortMapping } from './container';

/** The resolver that a private network has; it asks the host's. slirp4netns(1), "Networking". */
export const PRIVATE_RESOLVER = '10.0.2.3';

/** The address of a container in its private network. */
export const PRIVATE_ADDRESS = '10.0.2.100';

const PROGRAM = 'slirp4netns';
const READY_FD = 3;
const EXIT_FD = 4;
const SOCKET = 'network.sock';

/** A connection between a private network and the host's. */
export interface NetworkConnection {
  /** Ends it, and waits until it has; it ends by itself when this process does. */
  close(): Promise<void>;
}

/**
 * Connects the network namespace of a process by slirp4netns: what runs there reaches what this
 * machine reaches, but not what listens on its loopback, and is reached through the published ports
 * alone.
 * @param folder where the program has its socket.
 * @throws MbuildError UNSUPPORTED when the program is not installed, CONTAINER_CONFLICT when a port
 * is taken, SANDBOX_FAILED.
 */
export async function connectNetwork(
  pid: number,
  ports: readonly PortMapping[],
  folder: string,
): Promise<NetworkConnection> {
  const child = spawn(
    PROGRAM,
    [
      '--configure',
      '--mtu=65520',
      '--disable-host-loopback',
      '--enable-sandbox',
      `--ready-fd=${READY_FD}`,
      `--exit-fd=${EXIT_FD}`,
      `--api-socket=${SOCKET}`,
      '--netns-type=path',
      `/proc/${pid}/ns/net`,
      'tap0',
    ],
    { cwd: folder, stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'], detached: true },
  );
  const ends: readonly unknown[] = child.stdio;
  const exit = ends[EXIT_FD] as Duplex;
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const connection: NetworkConnection = {
    close: () => {
      exit.destroy();
      return ended;
    },
  };
  exit.on('error', () => undefined); // it may have ended by itself
  try {
    await ready(child, ends[READY_FD] as Readable);
    for (const port of ports) await publish(port, folder);
    return connection;
  } catch (error) {
    await connection.close();
    throw error;
  }
}

function ready(child: ChildProcess, pipe: Readable): Promise<void> {
  let errors = '';
  child.stderr?.on('data', (data: Buffer) => {
    errors = `${errors}${data.toString()}`.slice(-2000);
  });
  return new Promise((resolve, reject) => {
    pipe.once('data', () => resolve());
    child.once('error', (cause) =>
      reject(
        errnoOf(cause) === 'ENOENT'
          ? new MbuildError(
              'UNSUPPORTED',
              `a private network needs ${PROGRAM}, which is not installed`,
              { cause, hint: `install the package ${PROGRAM}, or use --network host` },
            )
          : new MbuildError('SANDBOX_FAILED', `${PROGRAM} could not be started: ${cause.message}`, {
              cause,
            }),
      ),
    );
    child.once('exit', () =>
      reject(
        new MbuildError(
          'SANDBOX_FAILED',
          `${PROGRAM} could not connect the network: ${errors.trim().split('\n').at(-1) ?? ''}`,
          {
            hint: 'it needs /dev/net/tun; --network host works without',
          },
        ),
      ),
    );
  });
}

/** slirp4netns(1), "API socket": one request a connection, in JSON. */
async function publish(
  { hostIp = '0.0.0.0', hostPort, containerPort, protocol }: PortMapping,
  folder: string,
): Promise<void> {
  const request = {
    execute: 'add_hostfwd',
    arguments: {
      proto: protocol,
      host_addr: hostIp,
      host_port: hostPort,
      guest_addr: PRIVATE_ADDRESS,
      guest_port: containerPort,
    },
  };
  const reply = JSON.parse(await ask(JSON.stringify(request), folder)) as {
    readonly error?: { readonly desc?: string };
  };
  if (reply.error === undefined) return;
  throw new MbuildError(
    'CONTAINER_CONFLICT',
    `port ${hostPort}/${protocol} of ${hostIp} cannot be published`,
    {
      cause: new Error(reply.error.desc),
      hint: 'another program uses it already, or this machine does not have the address',
    },
  );
}

async function ask(request: string, folder: string): Promise<string> {
  // By way of /proc, for the path of a socket may have no more than 107 bytes.
  const fd = openSync(folder, 'r');
  try {
    return await new Promise((resolve, reject) => {
      let reply = '';
      const socket = connect(`/proc/self/fd/${fd}/${SOCKET}`, () => socket.end(request));
      socket.on('data', (data: Buffer) => {
        reply += data.toString();
      });
      socket.on('error', reject);
      socket.on('close', () => resolve(reply));
    });
  } finally {
    closeSync(fd);
  }
}
