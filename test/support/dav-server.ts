import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { answering, ended, freePort } from './registry';

/** A running Apache (Debian's apache2-bin) on loopback whose folder `cache` takes PUT. */
export interface DavServer {
  /** `http://127.0.0.1:PORT/cache` */
  readonly url: string;
  /** Where its files lie. */
  readonly folder: string;
  stop(): Promise<void>;
}

/** The user that a server with `auth` takes. */
export const DAV_USER = { username: 'tester', password: 'hunter2' };

const MODULES = '/usr/lib/apache2/modules';

/** Why there can be no such server; `undefined` when there can. */
export function noDavServer(): string | undefined {
  return spawnSync('apache2', ['-v']).error === undefined && existsSync(`${MODULES}/mod_dav_fs.so`)
    ? undefined
    : 'Apache with WebDAV is not installed (apt-get install apache2-bin)';
}

/** Starts one with an empty folder, as the user nobody; `stop` ends it and deletes the folder. */
export async function startDavServer(
  options: { readonly auth?: boolean } = {},
): Promise<DavServer> {
  const home = mkdtempSync(path.join(tmpdir(), 'mbuild-dav-'));
  const port = await freePort();
  const folder = path.join(home, 'htdocs', 'cache');
  mkdirSync(folder, { recursive: true });
  mkdirSync(path.join(home, 'locks'));
  chmodSync(home, 0o755);
  for (const dir of [folder, path.join(home, 'locks')]) chownSync(dir, 65534, 65534);
  const { username, password } = DAV_USER;
  writeFileSync(
    path.join(home, 'users'),
    `${username}:{SHA}${spawnSync('sh', ['-c', `printf %s ${password} | openssl dgst -sha1 -binary | base64`], { encoding: 'utf8' }).stdout}`,
  );
  const modules = {
    mpm_event: 'mpm_event',
    authz_core: 'authz_core',
    authn_core: 'authn_core',
    authn_file: 'authn_file',
    auth_basic: 'auth_basic',
    authz_user: 'authz_user',
    dav: 'dav',
    dav_fs: 'dav_fs',
  };
  writeFileSync(
    path.join(home, 'apache.conf'),
    [
      `ServerRoot ${home}`,
      'ServerName localhost',
      `Listen 127.0.0.1:${port}`,
      `PidFile ${home}/pid`,
      `ErrorLog ${home}/error.log`,
      'User #65534',
      'Group #65534',
      ...Object.entries(modules).map(
        ([name, file]) => `LoadModule ${name}_module ${MODULES}/mod_${file}.so`,
      ),
      `DavLockDB ${home}/locks/db`,
      `DocumentRoot ${home}/htdocs`,
      `<Directory ${folder}>`,
      'Dav On',
      ...(options.auth === true
        ? ['AuthType Basic', 'AuthName test', `AuthUserFile ${home}/users`, 'Require valid-user']
        : ['Require all granted']),
      '</Directory>',
      '',
    ].join('\n'),
  );
  const child = spawn('apache2', ['-f', path.join(home, 'apache.conf'), '-DFOREGROUND'], {
    stdio: 'ignore',
    detached: true,
  });
  const stop = async (): Promise<void> => {
    // Its workers are in its process group, and end with it only if it is asked.
    if (child.exitCode === null && child.pid !== undefined) {
      const exit = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await exit;
    }
    await ended(child);
    rmSync(home, { recursive: true, force: true });
  };
  try {
    await answering(`http://127.0.0.1:${port}/`, child);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: `http://127.0.0.1:${port}/cache`, folder, stop };
}
