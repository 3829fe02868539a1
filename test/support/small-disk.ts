import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { findProgram } from './needs';

/** A file system of its own, in a file: one that can really be full. */
export interface SmallDisk {
  /** Where it is mounted. */
  readonly dir: string;
  /** Fills it until so many bytes are left. */
  leave(bytes: number): void;
  /** Takes away what fills it. */
  free(): void;
  unmount(): void;
}

/** For `describeWith`: why no file system can be mounted from a file; `undefined` when one can. */
export function loopMissing(): string | undefined {
  const missing = ['mkfs.ext4', 'mount', 'fallocate', 'losetup'].filter(
    (name) => findProgram(name) === undefined,
  );
  if (missing.length > 0) return `needs ${missing.join(', ')}`;
  const { status, stderr } = spawnSync('losetup', ['-f'], { encoding: 'utf8' });
  return status === 0 ? undefined : `no loop device: ${stderr.trim()}`;
}

/** Makes an ext4 of so many megabytes under a directory, and mounts it. */
export function smallDisk(under: string, megabytes: number): SmallDisk {
  const [image, dir] = [join(under, 'disk'), join(under, 'mnt')];
  mkdirSync(dir);
  execFileSync('truncate', ['-s', `${megabytes}M`, image]);
  execFileSync('mkfs.ext4', ['-q', '-F', '-m', '0', image]);
  execFileSync('mount', ['-o', 'loop', image, dir]);
  const fill = join(dir, 'fill');
  return {
    dir,
    leave(bytes) {
      const { bavail, bsize } = statfsSync(dir);
      execFileSync('fallocate', ['-l', String(bavail * bsize - bytes), fill]);
    },
    free: () => rmSync(fill, { force: true }),
    unmount: () => void spawnSync('umount', [dir]),
  };
}
