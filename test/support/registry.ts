import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A running docker-registry (Debian's package) on loopback. */
export interface TestRegistry {
  /** `127.0.0.1:PORT`, or `localhost:PORT` with TLS. */
  readonly host: string;
  /** The CA's file, with TLS. */
  readonly caFile?: string | undefined;
  stop(): Promise<void>;
}

/** The user that a registry with `auth` takes. */
export const TEST_USER = { username: 'tester', password: 'hunter2' };
/** bcrypt of the password, as htpasswd -B writes it. */
const TEST_HASH = '$2y$04$bB8IQy2sJiw49.wDxx73WOOAt0RWk0q2rbTime7uth2Mvt8iiu1oO';

/** Why registry tests cannot run here; `undefined` when they can. */
export function noRegistry(): string | undefined {
  return spawnSync('docker-registry', ['--version']).error === undefined
    ? undefined
    : 'docker-registry is not installed (apt-get install docker-registry)';
}

/** Starts a registry with an empty store of its own; `stop` ends it and deletes the store. */
export async function startRegistry(
  options: { readonly auth?: boolean; readonly tls?: boolean } = {},
): Promise<TestRegistry> {
  const folder = mkdtempSync(path.join(tmpdir(), 'mbuild-registry-'));
  const port = await freePort();
  const tls = options.tls === true ? makeCertificate(folder) : undefined;
  if (options.auth === true)
    writeFileSync(path.join(folder, 'htpasswd'), `${TEST_USER.username}:${TEST_HASH}\n`);
  writeFileSync(
    path.join(folder, 'config.yml'),
    JSON.stringify({
      version: 0.1,
      log: { level: 'error', accesslog: { disabled: true } },
      storage: {
        filesystem: { rootdirectory: path.join(folder, 'data') },
        delete: { enabled: true },
      },
      http: {
        addr: `127.0.0.1:${port}`,
        secret: 'test',
        ...(tls === undefined ? {} : { tls: { certificate: tls.cert, key: tls.key } }),
      },
      ...(options.auth === true
        ? { auth: { htpasswd: { realm: 'test', path: path.join(folder, 'htpasswd') } } }
        : {}),
    }),
  );
  const child = spawn('docker-registry', ['serve', path.join(folder, 'config.yml')], {
    stdio: 'ignore',
  });
  const stop = async (): Promise<void> => {
    await ended(child);
    rmSync(folder, { recursive: true, force: true });
  };
  const host = `${tls === undefined ? '127.0.0.1' : 'localhost'}:${port}`;
  try {
    await answering(`http://127.0.0.1:${port}/`, child);
  } catch (error) {
    await stop();
    throw error;
  }
  return { host, caFile: tls?.ca, stop };
}

/** A TCP port of loopback that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/**
 * A CA and a certificate of it for localhost and perhaps another name, which serves clients as
 * well. Returns the files.
 */
export function makeCertificate(
  folder: string,
  name = 'localhost',
): { ca: string; cert: string; key: string } {
  const at = (name: string): string => path.join(folder, name);
  const openssl = (...args: string[]): void => {
    const result = spawnSync('openssl', args, { encoding: 'utf8' });
    if (result.status !== 0) throw new Error(`openssl ${args[0]}: ${result.stderr}`);
  };
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl(
    'req',
    '-x509',
    ...newKey,
    '-keyout',
    at('ca.key'),
    '-out',
    at('ca.crt'),
    '-subj',
    '/CN=test CA',
    '-days',
    '2',
  );
  openssl(
    'req',
    ...newKey,
    '-keyout',
    at('key.pem'),
    '-out',
    at('request.pem'),
    '-subj',
    '/CN=localhost',
  );
  writeFileSync(at('extensions'), `subjectAltName=DNS:localhost,DNS:${name},IP:127.0.0.1\n`);
  openssl(
    'x509',
    '-req',
    '-in',
    at('request.pem'),
    '-CA',
    at('ca.crt'),
    '-CAkey',
    at('ca.key'),
    '-CAcreateserial',
    '-out',
    at('cert.pem'),
    '-days',
    '2',
    '-extfile',
    at('extensions'),
  );
  return { ca: at('ca.crt'), cert: at('cert.pem'), key: at('key.pem') };
}

/** Waits until a server that was started answers. */
export async function answering(url: string, child: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (child.exitCode !== null)
      throw new Error(`${child.spawnfile} ended with code ${child.exitCode}`);
    try {
      await fetch(url);
      return;
    } catch {
      await sleep(50);
    }
  }
  throw new Error(`${child.spawnfile} does not answer`);
}

/** Ends a server. */
export async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exit;
}
