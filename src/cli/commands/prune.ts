import type { Engine } from '../../engine';
import { chainIds } from '../../oci/digest';
import { humanSize } from '../../progress/units';
import type { FlagTable } from '../args';
import { defineCommand } from '../command';
import { filterImages, parseImageFilter } from '../format/images';
import type { Host } from '../host';
import { collectGarbage, lookUp, shortName, withServices } from '../services';

const FLAGS = {
  all: { kind: 'boolean', short: 'a', help: 'Also what has a name (images), or what an image needs (build cache)' },
  filter: { kind: 'list', value: 'NAME=VALUE', help: 'Only images with: label, until' },
  force: { kind: 'boolean', short: 'f', ignored: 'nothing is asked', hidden: true, help: 'Do not ask' },
} as const satisfies FlagTable;

const SHARED = { usage: ['[OPTIONS]'], positionals: { min: 0, max: 0 }, flags: FLAGS } as const;

export const imagePrune = defineCommand({
  ...SHARED, name: 'image prune', summary: 'Remove images without a name',
  run: ({ flags }, host) => withServices(host, flags, async (services) => report(host, services, removeImages(services, flags, host), [])),
});

export const builderPrune = defineCommand({
  ...SHARED, name: 'builder prune', summary: 'Remove the build cache that no image needs',
  run: ({ flags }, host) => withServices(host, flags, async (services) => report(host, services, [], removeCache(services, flags.all))),
});

export const systemPrune = defineCommand({
  ...SHARED, name: 'prune', summary: 'Remove images without a name, and the build cache that no image needs',
  run: ({ flags }, host) => withServices(host, flags, async (services) => report(host, services, removeImages(services, flags, host), removeCache(services, flags.all))),
});

/** Docker's lines of what went. */
function removeImages({ images }: Engine, flags: { readonly all: boolean; readonly filter: readonly string[] }, host: Host): string[] {
  const filters = flags.filter.map(parseImageFilter);
  const dangling = flags.all ? [] : [{ key: 'dangling', value: 'true' }];
  return filterImages(images.list(), [...filters, ...dangling], (name) => lookUp({ images }, name), host.now()).flatMap((image) => {
    const untagged = image.names.map((name) => `untagged: ${shortName(name)}`);
    images.remove(image.id);
    return [...untagged, `deleted: ${image.id}`];
  });
}

/** Forgets the records whose layers no image has; with `all` every record. Returns their keys. */
function removeCache({ cache, images }: Engine, all: boolean): string[] {
  const used = new Set(images.list().flatMap(({ config }) => chainIds(config.rootfs.diff_ids)));
  return cache.list().filter(({ layer }) => all || layer === undefined || !used.has(layer.chainId)).map(({ key }) => {
    cache.delete(key);
    return key;
  });
}

async function report(host: Host, services: Engine, images: readonly string[], cache: readonly string[]): Promise<number> {
  const { bytes } = await collectGarbage(services);
  if (images.length > 0) host.out.write(`Deleted Images:\n${images.map((line) => `${line}\n`).join('')}\n`);
  if (cache.length > 0) host.out.write(`Deleted build cache objects:\n${cache.map((key) => `${key}\n`).join('')}\n`);
  host.out.write(`Total reclaimed space: ${humanSize(bytes)}\n`);
  return 0;
}
