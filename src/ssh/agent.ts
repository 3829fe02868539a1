import { chmodSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type { SshKey } from './private-key';
import { WireError, WireReader, sshNumber, sshString } from './wire';

/*
 * An SSH agent that only lists its keys and signs with them: a step can neither read keys, nor add
 * or remove some. draft-ietf-sshm-ssh-agent (draft-miller-ssh-agent).
 */

/** A key of an agent. */
export interface AgentKey extends SshKey {
  /** What `ssh-add -l` shows beside it. */
  readonly comment: string;
}

/** An agent that answers until it is closed. */
export interface RunningAgent {
  close(): void;
}

const FAILURE = 5;
const REQUEST_IDENTITIES = 11;
const IDENTITIES_ANSWER = 12;
const SIGN_REQUEST = 13;
const SIGN_RESPONSE = 14;
/** As OpenSSH has it: AGENT_MAX_LEN. */
const MAX_MESSAGE = 256 * 1024;

/**
 * Listens at a path (at most 107 bytes) that is not there yet. Every user may connect, as a step
 * need not be root: who can reach the path is for its directory to say.
 * @throws the system's error.
 */
export async function startAgent(
  socketPath: string,
  keys: readonly AgentKey[],
): Promise<RunningAgent> {
  const clients = new Set<Socket>();
  const server = createServer((client) => {
    clients.add(client);
    client.on('close', () => clients.delete(client));
    // Who goes away in the middle gets no answer.
    client.on('error', () => client.destroy());
    serve(client, keys);
  });
  await listen(server, socketPath);
  chmodSync(socketPath, 0o666);
  server.unref();
  return {
    close: () => {
      server.close();
      for (const client of clients) client.destroy();
    },
  };
}

async function listen(server: Server, socketPath: string): Promise<void> {
  server.listen(socketPath);
  await once(server, 'listening');
}

/** Answers messages in their order; ends at one that is too long. */
function serve(client: Socket, keys: readonly AgentKey[]): void {
  let pending = Buffer.alloc(0);
  client.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    while (pending.length >= 4) {
      const length = pending.readUInt32BE(0);
      if (length > MAX_MESSAGE) {
        client.destroy();
        return;
      }
      if (pending.length < 4 + length) return;
      client.write(sshString(answer(pending.subarray(4, 4 + length), keys)));
      pending = pending.subarray(4 + length);
    }
  });
}

function answer(message: Buffer, keys: readonly AgentKey[]): Buffer {
  if (message[0] === REQUEST_IDENTITIES)
    return Buffer.concat([
      Buffer.of(IDENTITIES_ANSWER),
      sshNumber(keys.length),
      ...keys.flatMap(({ publicKey, comment }) => [sshString(publicKey), sshString(comment)]),
    ]);
  const signature =
    message[0] === SIGN_REQUEST ? signatureFor(message.subarray(1), keys) : undefined;
  if (signature === undefined) return Buffer.of(FAILURE);
  return Buffer.concat([Buffer.of(SIGN_RESPONSE), sshString(signature)]);
}

/** `undefined` for a key that is not here, and for a request that is cut off. */
function signatureFor(request: Buffer, keys: readonly AgentKey[]): Buffer | undefined {
  try {
    const reader = new WireReader(request);
    const wanted = reader.string();
    const data = reader.string();
    const flags = reader.number();
    return keys.find(({ publicKey }) => publicKey.equals(wanted))?.sign(data, flags);
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}
