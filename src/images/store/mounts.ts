import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, realpathSync, rmdirSync } from 'node:fs';
import path from 'node:path';
import { MbuildError, errnoOf } from '../../diagnostics/error';
import { unescapeMount } from '../../linux/mount-points';
import type { Digest } from '../../oci/digest';
import { runCommand } from '../../sandbox/command';
import type { LayerId } from '../../snapshot/snapshotter';
import type { Image } from './image-store';
import { Lease } from './lease';
import type { ImageServices } from './services';

/** An image whose tree can be seen in a directory of the host. */
export interface ImageMount {
  readonly id: Digest;
  /** Absolute. */
  readonly directory: string;
  /** What it shows: must stay as long as it is mounted. */
  readonly layers: readonly LayerId[];
}

/**
 * What is mounted of a store: the mount table is the only record, as it is gone with the machine.
 */
export function imageMounts(root: string): ImageMount[] {
  const start = sourceOf(root, '');
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [before = '', after = ''] = line.split(' - ');
      const [, source = '', options = ''] = after.split(' ');
      const directory = before.split(' ')[4];
      if (directory === undefined || !source.startsWith(start)) return [];
      const lowers = [...options.matchAll(/(?:^|,)lowerdir\+?=([^,]*)/g)].flatMap(
        ([, names = '']) => names.split(':'),
      );
      return [
        {
          id: source.slice(start.length) as Digest,
          directory: unescapeMount(directory),
          layers: lowers.map((name) => path.basename(name) as LayerId),
        },
      ];
    });
}

/**
 * Mounts the tree of an image read-only, in `directory` or the store's own place for it; returns
 * where. Programs there gain no rights.
 * @throws MbuildError UNSUPPORTED where this process cannot mount it for others to see,
 * IMAGE_NOT_FOUND, IO_FAILED.
 */
export async function mountImage(
  image: Image,
  directory: string | undefined,
  services: ImageServices,
  signal: AbortSignal,
): Promise<string> {
  // Once it is mounted, the mount keeps the layers from being collected.
  const lease = new Lease(services.root);
  lease.hold({ layers: image.stack });
  try {
    if (services.images.find(image.id) === undefined)
      throw new MbuildError('IMAGE_NOT_FOUND', `the image ${image.id} was removed meanwhile`);
    return await mountHeld(image, directory, services, signal);
  } finally {
    lease.release();
  }
}

async function mountHeld(
  image: Image,
  directory: string | undefined,
  { root: given, xattrs }: ImageServices,
  signal: AbortSignal,
): Promise<string> {
  const root = realpathSync(given);
  if (
    xattrs === 'files' ||
    !/^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8'))
  ) {
    throw new MbuildError(
      'UNSUPPORTED',
      'only root can mount an image, and only if the kernel mounts overlays',
      { hint: 'to write the files instead: `mbuild build --output DIR`, or `mbuild export`' },
    );
  }
  const place = path.resolve(
    directory ?? path.join(root, 'mounts', image.id.replace(/^sha256:/, '')),
  );
  if (imageMounts(root).some((mount) => mount.directory === place && mount.id === image.id))
    return place;
  try {
    mkdirSync(place, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new MbuildError('IO_FAILED', `cannot create ${place} (${errnoOf(cause)})`, {
      cause,
      hint: 'give a directory',
    });
  }
  // Relative names keep the options of many layers within a page; the empty directory is there as
  // overlay wants two.
  const lowers = [...[...image.stack].reverse(), '../empty'].join(':');
  const options = [
    'ro',
    'nosuid',
    'nodev',
    `lowerdir=${lowers}`,
    ...(xattrs === 'user' ? ['userxattr'] : ['redirect_dir=off', 'metacopy=off']),
    'index=off',
  ].join(',');
  const result = await runCommand(
    'mount',
    ['-t', 'overlay', '-o', options, sourceOf(root, image.id), place],
    { cwd: path.join(root, 'layers'), signal },
  );
  if (result.exitCode === 0) return place;
  removePlace(root, place);
  throw new MbuildError('IO_FAILED', `cannot mount on ${place}: ${result.stderr.trim()}`);
}

/**
 * Ends what {@link mountImage} did. @throws MbuildError IO_FAILED while something there is in use.
 */
export async function unmountImage(
  { directory }: ImageMount,
  root: string,
  signal: AbortSignal,
): Promise<void> {
  const result = await runCommand('umount', ['--', directory], { signal });
  if (result.exitCode !== 0)
    throw new MbuildError('IO_FAILED', `cannot unmount ${directory}: ${result.stderr.trim()}`, {
      hint: 'end the programs that use files there',
    });
  removePlace(root, directory);
}

/** The store's own places go with their mounts, a user's directory stays. */
function removePlace(root: string, place: string): void {
  if (path.dirname(place) === path.join(realpathSync(root), 'mounts') && existsSync(place))
    rmdirSync(place);
}

/** By which a mount is known as this store's, whatever links lead to it, and the image. */
function sourceOf(root: string, id: string): string {
  return `mbuild-${createHash('sha256').update(realpathSync(root)).digest('hex').slice(0, 12)}-${id}`;
}
