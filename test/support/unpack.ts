import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { cleanEnv } from './command';

/**
 * Ways in which programs other than mbuild unpack an image. Each takes an OCI layout and gives a
 * directory.
 */
export const UNPACKERS: Readonly<
  Record<
    string,
    {
      readonly programs: readonly string[];
      readonly unpack: (layout: string, tag: string, work: string) => string;
    }
  >
> = {
  umoci: { programs: ['umoci'], unpack: unpackWithUmoci },
  'skopeo and GNU tar': { programs: ['skopeo', 'tar'], unpack: unpackWithTar },
  podman: { programs: ['podman'], unpack: unpackWithPodman },
};

/** `umoci unpack`, ownership and all. */
export function unpackWithUmoci(layout: string, tag: string, work: string): string {
  const bundle = join(work, 'bundle');
  execFileSync('umoci', ['unpack', '--image', `${layout}:${tag}`, bundle], {
    env: cleanEnv({ HOME: work }),
    stdio: 'pipe',
  });
  return join(bundle, 'rootfs');
}

/**
 * Layers as `skopeo copy` to a `dir:` gives them, laid over each other by GNU tar; whiteouts as in
 * OCI image-spec, layer.md.
 */
export function unpackWithTar(layout: string, tag: string, work: string): string {
  const copy = join(work, 'copy');
  execFileSync(
    'skopeo',
    ['--insecure-policy', 'copy', '-q', `oci:${layout}:${tag}`, `dir:${copy}`],
    { env: cleanEnv({ HOME: work }), stdio: 'pipe' },
  );
  const { layers } = JSON.parse(readFileSync(join(copy, 'manifest.json'), 'utf8')) as {
    layers: { digest: string }[];
  };
  const root = join(work, 'root');
  mkdirSync(root);
  for (const { digest } of layers) applyWithTar(join(copy, digest.replace('sha256:', '')), root);
  return root;
}

function applyWithTar(layer: string, root: string): void {
  const names = execFileSync('tar', ['-tf', layer, '--quoting-style=literal'], {
    maxBuffer: 1 << 28,
  })
    .toString('latin1')
    .split('\n');
  for (const name of names.filter((path) => basename(path).startsWith('.wh.'))) {
    if (basename(name) === '.wh..wh..opq') emptyDirectory(join(root, dirname(name)));
    else
      rmSync(hostPath(root, join(dirname(name), basename(name).slice('.wh.'.length))), {
        recursive: true,
        force: true,
      });
  }
  for (const name of names.filter((path) => path !== '' && !basename(path).startsWith('.wh.')))
    clearWay(hostPath(root, name.replace(/\/$/, '')), name.endsWith('/'));
  execFileSync(
    'tar',
    [
      '-xpf',
      layer,
      '--numeric-owner',
      '--xattrs',
      '--xattrs-include=*',
      '--exclude=.wh.*',
      '-C',
      root,
    ],
    { env: cleanEnv(), stdio: 'pipe' },
  );
}

// GNU tar does not replace a directory by a file, nor a link by a directory.
function clearWay(path: Buffer, directory: boolean): void {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats !== undefined && stats.isDirectory() !== directory)
    rmSync(path, { recursive: true, force: true });
}

// Names are Latin-1 texts with one character a byte.
function hostPath(root: string, name: string): Buffer {
  return Buffer.concat([Buffer.from(`${root}/`), Buffer.from(name, 'latin1')]);
}

function emptyDirectory(folder: string): void {
  execFileSync('find', [folder, '-mindepth', '1', '-delete']);
}

/**
 * `podman pull oci:` into a storage of its own, mounted. The mount is under `work`, whose removal
 * unmounts it.
 */
export function unpackWithPodman(layout: string, tag: string, work: string): string {
  const id =
    podman(work, ['pull', '-q', `oci:${layout}:${tag}`])
      .trim()
      .split('\n')
      .at(-1) ?? '';
  return podman(work, ['image', 'mount', id]).trim();
}

/** Flags that give podman storage, run folder and configuration of its own under `work`. */
export function podmanFlags(work: string): string[] {
  return [
    '--root',
    join(work, 'podman'),
    '--runroot',
    join(work, 'run'),
    '--tmpdir',
    join(work, 'tmp'),
    '--events-backend',
    'none',
    '--cgroup-manager',
    'cgroupfs',
  ];
}

/** Runs podman with them; returns its standard output. */
export function podman(work: string, args: readonly string[]): string {
  return execFileSync('podman', [...podmanFlags(work), ...args], {
    env: cleanEnv({ HOME: work }),
    stdio: ['ignore', 'pipe', 'pipe'],
  }).toString();
}
