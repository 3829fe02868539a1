import { realpathSync } from 'node:fs';
import path from 'node:path';
import { MbuildError, errnoOf } from '../../diagnostics/error';
import { imageMounts, mountImage, unmountImage, type ImageMount } from '../../images/store/mounts';
import type { Engine } from '../../engine';
import { defineCommand } from '../command';
import { forEachName } from '../each';
import { findImage, lookUp, withServices } from '../services';

export const mount = defineCommand({
  name: 'image mount',
  summary: 'Mount the files of an image, read-only, and print the directory',
  usage: ['IMAGE [DIR]'],
  positionals: { min: 1, max: 2 },
  flags: {},
  run: ({ flags, positionals: [name = '', directory] }, host) =>
    withServices(host, flags, async (services) => {
      host.out.write(
        `${await mountImage(findImage(services, name), directory === undefined ? undefined : realPath(directory), services, host.signal)}\n`,
      );
      return 0;
    }),
});

export const umount = defineCommand({
  name: 'image umount',
  summary: 'Unmount an image, named by image or directory',
  usage: ['IMAGE|DIR [IMAGE|DIR...]'],
  positionals: { min: 1, max: Infinity },
  flags: {},
  run: ({ flags, positionals }, host) =>
    withServices(host, flags, (services) =>
      forEachName(positionals, host, async (name) => {
        for (const found of mountsOf(name, services))
          await unmountImage(found, services.root, host.signal);
      }),
    ),
});

/** @throws MbuildError IMAGE_NOT_FOUND when nothing is mounted under that name. */
function mountsOf(name: string, services: Engine): ImageMount[] {
  const mounts = imageMounts(services.root);
  const place = realPath(name);
  const id = lookUp(services, name)?.id;
  const there = mounts.filter(({ directory }) => directory === place);
  const found =
    there.length > 0 ? there : mounts.filter((candidate) => candidate.id === (id ?? name));
  if (found.length > 0) return found;
  throw new MbuildError('IMAGE_NOT_FOUND', `no image is mounted as ${name}`, {
    hint:
      mounts.length === 0
        ? undefined
        : `mounted are: ${mounts.map(({ directory }) => directory).join(', ')}`,
  });
}

/** As the mount table has it. */
function realPath(directory: string): string {
  try {
    return realpathSync(directory);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return path.resolve(directory);
  }
}
