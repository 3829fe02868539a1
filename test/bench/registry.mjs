// A registry of one's own: Debian's docker-registry on loopback.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Starts a registry with its store in `dir`; `undefined` where the program is missing. It ends with this process at the latest. */
export async function startRegistry(dir) {
  if (spawnSync('docker-registry', ['--version']).error !== undefined) return undefined;
  mkdirSync(dir);
  const host = `127.0.0.1:${await freePort()}`;
  writeFileSync(
    join(dir, 'config.yml'),
    JSON.stringify({
      version: 0.1,
      log: { level: 'error', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(dir, 'data') } },
      http: { addr: host, secret: 'bench' },
    }),
  );
  const child = spawn('docker-registry', ['serve', join(dir, 'config.yml')], { stdio: 'ignore' });
  const stop = () => child.kill('SIGKILL');
  process.once('exit', stop);
  for (let tries = 0; tries < 200; tries++) {
    if (
      await fetch(`http://${host}/v2/`).then(
        (answer) => answer.ok,
        () => false,
      )
    )
      return { host, stop };
    await sleep(50);
  }
  stop();
  throw new Error('docker-registry does not answer');
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
