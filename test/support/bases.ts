import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { cleanEnv } from './command';
import type { Mbuild } from './mbuild';
import { findProgram } from './needs';
import { mountsLeft, writeFiles } from './temp';

/** Writes a busybox root file system (see small-base.sh) to a tar, and returns the tar's path. */
export function smallBaseTar(dir: string): string {
  const tar = join(dir, 'small-base.tar');
  execFileSync('sh', [join(__dirname, 'small-base.sh'), tar], { env: cleanEnv() });
  return tar;
}

/**
 * Imports the small base: shell tools, users root, daemon and app (1000, also in staff and video).
 */
export async function smallBase(mbuild: Mbuild, name = 'small-base'): Promise<void> {
  await inTemp(async (dir) => mbuild.ok(['import', smallBaseTar(dir), name]));
}

/**
 * Tar of a Debian root file system whose apt reaches what this machine's apt reaches. Kept between
 * runs; slow the first time.
 */
export function debianTar(): string {
  const result = spawnSync('sh', [join(__dirname, 'debian-base.sh')], { encoding: 'utf8' });
  if (result.status !== 0) throw new Error(`no Debian base could be made:\n${result.stderr}`);
  return result.stdout.trim();
}

/** For `describeWith`: why there is no Debian base; `undefined` when there is one. */
export function debianMissing(): string | undefined {
  if (process.getuid?.() !== 0 || findProgram('mmdebstrap') === undefined)
    return 'needs root and mmdebstrap';
  try {
    debianTar();
    return undefined;
  } catch (error) {
    return String(error).split('\n').slice(0, 2).join(' ');
  }
}

/** Imports the Debian base. */
export async function debianBase(mbuild: Mbuild, name = 'debian'): Promise<void> {
  await mbuild.ok(['import', debianTar(), name]);
}

/** Where parts of Debian's own node lie, and its npm with all that it uses. */
export const DEBIAN_MODULES = '/usr/share/nodejs';

/**
 * Adds this machine's node and npm to the Debian base (which must be there under `from`) as one
 * layer, in /usr/local.
 */
export async function nodeBase(mbuild: Mbuild, name = 'node', from = 'debian'): Promise<void> {
  await inTemp(async (dir) => {
    const root = join(dir, 'root');
    writeFiles(root, { 'usr/local/bin/': '', 'usr/local/lib/node_modules/': '' });
    const node = realpathSync(process.execPath);
    for (const file of [node, ...librariesOf(node)])
      cpSync(
        file,
        join(root, file === node ? 'usr/local/bin/node' : `usr/local/lib/${basename(file)}`),
        { dereference: true },
      );
    if (existsSync(DEBIAN_MODULES))
      cpSync(DEBIAN_MODULES, join(root, DEBIAN_MODULES), { recursive: true, dereference: true });
    symlinkSync(installNpm(root), join(root, 'usr/local/bin/npm'));
    execFileSync(
      'tar',
      [
        '--create',
        '--file',
        join(dir, 'node.tar'),
        '--numeric-owner',
        '--owner=0',
        '--group=0',
        '-C',
        root,
        '.',
      ],
      { env: cleanEnv() },
    );
    rmSync(root, { recursive: true });
    writeFiles(dir, {
      Dockerfile: `FROM ${from}\nENV LD_LIBRARY_PATH=/usr/local/lib\nADD node.tar /\n`,
    });
    await mbuild.build(['-t', name, dir]);
  });
}

/**
 * An .npmrc for a build, by which npm in it reaches the registry that npm reaches here. May hold
 * credentials: it belongs into a stage that is not kept.
 */
export function npmrcForBuild(): string {
  const config = (key: string): string => {
    const value = execFileSync('npm', ['config', 'get', key], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
      .toString()
      .trim();
    return ['', 'null', 'undefined'].includes(value) ? '' : value;
  };
  const keys = ['registry', 'proxy', 'https-proxy', 'noproxy', 'strict-ssl'];
  const lines = keys
    .map((key) => [key, config(key)])
    .filter(([, value]) => value !== '')
    .map(([key, value]) => `${key}=${value}`);
  const files = [config('userconfig'), config('globalconfig')].filter(
    (path) => path !== '' && existsSync(path),
  );
  const scoped = files
    .flatMap((path) => readFileSync(path, 'utf8').split('\n'))
    .filter((line) => /^(\/\/|@)/.test(line.trim()));
  // The Debian base carries this machine's certificates in that place.
  return [
    ...lines,
    ...scoped,
    'cafile=/etc/ssl/certs/ca-certificates.crt',
    'audit=false',
    'fund=false',
    'update-notifier=false',
    '',
  ].join('\n');
}

/** Copies npm into a root file system; returns the path of its script inside. */
function installNpm(root: string): string {
  const script = realpathSync(findProgram('npm') ?? 'npm');
  if (script.startsWith(`${DEBIAN_MODULES}/`)) return script;
  cpSync(dirname(dirname(script)), join(root, 'usr/local/lib/node_modules/npm'), {
    recursive: true,
    verbatimSymlinks: true,
  });
  return '/usr/local/lib/node_modules/npm/bin/npm-cli.js';
}

/** The shared libraries of a program that not every Debian has. */
function librariesOf(program: string): string[] {
  const listed = execFileSync('ldd', [program]).toString().match(/\/\S+/g) ?? [];
  return listed.filter(
    (path) => !/\/(ld-linux|libc|libm|libdl|libpthread|librt|libgcc_s|libstdc\+\+)[-.]/.test(path),
  );
}

async function inTemp(work: (dir: string) => Promise<unknown>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'mbuild-base-'));
  try {
    await work(dir);
  } finally {
    if (mountsLeft(dir).length === 0) rmSync(dir, { recursive: true, force: true });
  }
}
