import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
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

/** Imports the small base: shell tools, users root, daemon and app (1000, also in staff and video). */
export async function smallBase(mbuild: Mbuild, name = 'small-base'): Promise<void> {
  await inTemp(async (dir) => mbuild.ok(['import', smallBaseTar(dir), name]));
}

/** Tar of a Debian root file system whose apt reaches what this machine's apt reaches. Kept between runs; slow the first time. */
export function debianTar(): string {
  const result = spawnSync('sh', [join(__dirname, 'debian-base.sh')], { encoding: 'utf8' });
  if (result.status !== 0) throw new Error(`no Debian base could be made:\n${result.stderr}`);
  return result.stdout.trim();
}

/** For `describeWith`: why there is no Debian base; `undefined` when there is one. */
export function debianMissing(): string | undefined {
  if (process.getuid?.() !== 0 || findProgram('mmdebstrap') === undefined) return 'needs root and mmdebstrap';
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

/** Adds this machine's node and npm to the Debian base (which must be there under `from`) as one layer, under the paths they have here. */
export async function nodeBase(mbuild: Mbuild, name = 'node', from = 'debian'): Promise<void> {
  await inTemp(async (dir) => {
    const npm = npmPaths();
    const node = realpathSync(process.execPath);
    writeFiles(dir, { 'links/usr/local/bin/': '', Dockerfile: `FROM ${from}\nADD node.tar /\n` });
    if (node !== '/usr/local/bin/node') symlinkSync(node, join(dir, 'links/usr/local/bin/node'));
    symlinkSync(npm.script, join(dir, 'links/usr/local/bin/npm'));
    const files = [node, npm.package, ...librariesOf(node)].map((path) => `.${path}`);
    execFileSync('tar', ['--create', '--file', join(dir, 'node.tar'), '--numeric-owner', '--owner=0', '--group=0', '-C', '/', ...files, '-C', join(dir, 'links'), './usr/local/bin'], { env: cleanEnv() });
    rmSync(join(dir, 'links'), { recursive: true });
    await mbuild.build(['-t', name, dir]);
  });
}

/**
 * An .npmrc for a build, by which npm in it reaches the registry that npm reaches here. May hold credentials:
 * it belongs into a stage that is not kept.
 */
export function npmrcForBuild(): string {
  const config = (key: string): string => {
    const value = execFileSync('npm', ['config', 'get', key], { stdio: ['ignore', 'pipe', 'ignore'] }).toString().trim();
    return ['', 'null', 'undefined'].includes(value) ? '' : value;
  };
  const keys = ['registry', 'proxy', 'https-proxy', 'noproxy', 'strict-ssl'];
  const lines = keys.map((key) => [key, config(key)]).filter(([, value]) => value !== '').map(([key, value]) => `${key}=${value}`);
  const files = [config('userconfig'), config('globalconfig')].filter((path) => path !== '' && existsSync(path));
  const scoped = files.flatMap((path) => readFileSync(path, 'utf8').split('\n')).filter((line) => /^(\/\/|@)/.test(line.trim()));
  // The Debian base carries this machine's certificates in that place.
  return [...lines, ...scoped, 'cafile=/etc/ssl/certs/ca-certificates.crt', 'audit=false', 'fund=false', 'update-notifier=false', ''].join('\n');
}

function npmPaths(): { script: string; package: string } {
  const script = realpathSync(findProgram('npm') ?? 'npm');
  // Debian's own npm lies about in /usr/share/nodejs with all that it uses.
  const shared = '/usr/share/nodejs';
  return { script, package: script.startsWith(`${shared}/`) ? shared : dirname(dirname(script)) };
}

function librariesOf(program: string): string[] {
  const listed = execFileSync('ldd', [program]).toString().match(/\/\S+/g) ?? [];
  const inEveryBase = /\/(ld-linux|libc|libm|libdl|libpthread|librt|libgcc_s|libstdc\+\+)[-.]/;
  // Through the links: the base may have directories where the listed path has a link.
  return listed.filter((path) => !inEveryBase.test(path)).flatMap((path) => [...new Set([path.replace(/^\/lib\//, '/usr/lib/'), realpathSync(path)])]);
}

async function inTemp(work: (dir: string) => Promise<unknown>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'mbuild-base-'));
  try {
    await work(dir);
  } finally {
    if (mountsLeft(dir).length === 0) rmSync(dir, { recursive: true, force: true });
  }
}
