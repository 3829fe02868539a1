import type { Pruned } from '../../api/results';
import { EVICTION_POLICIES, type EvictionPolicy } from '../../cache/eviction';
import type { CacheRecord } from '../../cache/record';
import type { Container } from '../../containers/container';
import type { Engine } from '../../engine';
import type { Image } from '../../images/store/image-store';
import type { LayerRecord } from '../../images/store/layer-index';
import { chainIds } from '../../oci/digest';
import { humanSize } from '../../progress/units';
import type { FlagTable } from '../args';
import { readSize, recordsOfCacheAlone } from '../cache-limit';
import { agreed } from '../agree';
import { containersOf } from '../containers-of';
import { defineCommand } from '../command';
import { cacheRows, pruneShape, recreation } from '../format/cache';
import { renderList } from '../format/list';
import type { PrunedVolumes } from './volume';
import type { Host } from '../host';
import {
  findPast,
  idleMounts,
  NO_PAST,
  pastText,
  removePast,
  sizeOfPast,
  type Past,
} from '../past';
import { checkFilters, readType, TYPES, untilOf } from '../prune-filters';
import { stoppedOf, unusedCache, unusedImages } from '../prune-victims';
import { collectGarbage, previewGarbage, shortName, withServices } from '../services';

const FLAGS = {
  all: {
    kind: 'boolean',
    short: 'a',
    help: 'Also remove named images without a container, and build cache that images share',
  },
  'dry-run': { kind: 'boolean', help: 'Only show what would be removed' },
  filter: {
    kind: 'list',
    value: 'NAME=VALUE',
    help: 'Only remove what matches: label, label!, until',
  },
  force: { kind: 'boolean', short: 'f', help: 'Do not ask' },
} as const satisfies FlagTable;

const POLICY_FLAG = {
  kind: 'string',
  value: 'POLICY',
  choices: EVICTION_POLICIES,
  fallback: 'value',
  help: 'What --keep-storage removes first: results that save the least time for their size (value), or the least recently used ones (lru)',
} as const;

interface PruneFlags {
  readonly all: boolean;
  readonly 'dry-run': boolean;
  readonly filter: readonly string[];
  readonly force: boolean;
}

interface KeepFlags {
  readonly 'keep-storage': string | undefined;
  readonly policy: string;
}

/** What a prune takes away. */
interface Victims {
  /** What went before the rest: a section of the answer, and how much it was. */
  readonly volumes?: PrunedVolumes | undefined;
  readonly containers: readonly Container[];
  readonly images: readonly Image[];
  readonly cache: readonly CacheRecord[];
  readonly past: Past;
}

const SHARED = { usage: ['[OPTIONS]'], positionals: { min: 0, max: 0 } } as const;

export const imagePrune = defineCommand({
  ...SHARED,
  name: 'image prune',
  summary: 'Remove images without a name',
  flags: FLAGS,
  run: ({ flags }, host) =>
    withServices(host, flags, async (services) => {
      checkFilters(flags.filter, ['label', 'label!', 'until'], host.now());
      const kind = flags.all
        ? 'all images without at least one container associated to them'
        : 'all dangling images';
      if (!(await agreed(`WARNING! This will remove ${kind}.`, flags, host))) return 1;
      const containers = await containersOf(services.root, host);
      return prune(
        {
          containers: [],
          images: unusedImages(services, flags, containers, host.now()),
          cache: [],
          past: NO_PAST,
        },
        services,
        flags,
        host,
      );
    }),
});

export const containerPrune = defineCommand({
  ...SHARED,
  name: 'container prune',
  summary: 'Remove all stopped containers',
  flags: { 'dry-run': FLAGS['dry-run'], filter: FLAGS.filter, force: FLAGS.force },
  run: ({ flags }, host) =>
    withServices(host, flags, async (services) => {
      checkFilters(flags.filter, ['label', 'label!', 'until'], host.now());
      if (!(await agreed('WARNING! This will remove all stopped containers.', flags, host)))
        return 1;
      return prune(
        {
          containers: stoppedOf(await containersOf(services.root, host), flags.filter, host.now()),
          images: [],
          cache: [],
          past: NO_PAST,
        },
        services,
        flags,
        host,
      );
    }),
});

export const builderPrune = defineCommand({
  ...SHARED,
  name: 'builder prune',
  summary: 'Remove the build cache that no image needs, and cache mounts',
  flags: {
    ...FLAGS,
    filter: {
      kind: 'list',
      value: 'NAME=VALUE',
      help: `Only remove what matches: until, type (${TYPES.slice(0, 3).join(', ')})`,
    },
    'keep-storage': {
      kind: 'string',
      value: 'BYTES',
      aliases: ['reserved-space'],
      help: 'Keep the cache mounts, and results up to this size',
    },
    policy: POLICY_FLAG,
  },
  run: ({ flags }, host) =>
    withServices(host, flags, async (services) => {
      checkFilters(flags.filter, ['until', 'type'], host.now());
      if (flags['keep-storage'] !== undefined) readSize(flags['keep-storage']);
      const kind = flags.all ? 'build cache' : 'dangling build cache';
      if (!(await agreed(`WARNING! This will remove all ${kind}.`, flags, host))) return 1;
      const { records, past } = await findCache(services, flags, host.now());
      if (!flags['dry-run']) for (const { key } of records) services.cache.delete(key);
      const gone = { cache: new Set(records.map(({ key }) => key)), kept: past.steps };
      const collected = flags['dry-run']
        ? await previewGarbage(services, gone)
        : await collectGarbage(services, 'aside');
      if (records.length > 0)
        host.out.write(renderList(pruneShape, cacheRows(records, services, host.now())));
      host.out.write(pastText(past, flags['dry-run']));
      if (flags['dry-run']) host.out.write(recreation(records));
      const freed = flags['dry-run'] ? sizeOfPast(past, services.root) : removePast(past, services);
      host.out.write(`Total:\t${humanSize(collected.bytes + freed)}\n`);
      return 0;
    }),
});

export const systemPrune = defineCommand({
  ...SHARED,
  name: 'prune',
  summary:
    'Remove stopped containers, images without a name, and the build cache that no image needs',
  flags: {
    ...FLAGS,
    volumes: { kind: 'boolean', help: 'Also the volumes without a name that no container uses' },
  },
  run: ({ flags }, host) =>
    withServices(host, flags, async (services) => {
      checkFilters(flags.filter, ['label', 'label!', 'until'], host.now());
      const what = [
        'all stopped containers',
        flags.all
          ? 'all images without at least one container associated to them'
          : 'all dangling images',
        flags.all ? 'all build cache' : 'unused build cache',
        ...(flags.volumes ? ['all anonymous volumes not used by at least one container'] : []),
      ];
      if (
        !(await agreed(
          `WARNING! This will remove:\n${what.map((line) => `  - ${line}\n`).join('')}`,
          flags,
          host,
        ))
      )
        return 1;
      const containers = await containersOf(services.root, host);
      const stopped = stoppedOf(containers, flags.filter, host.now());
      const left = containers.filter((container) => !stopped.includes(container));
      const images = unusedImages(services, flags, left, host.now());
      const timed = { ...flags, filter: flags.filter.filter((text) => text.startsWith('until=')) };
      const volumes =
        flags.volumes && !flags['dry-run']
          ? await (await import('./volume')).pruneVolumes(services.root, false, host)
          : undefined;
      return prune(
        {
          volumes,
          containers: stopped,
          images,
          cache: unusedCache(services, timed, host.now(), images),
          past: findPast(services.root, untilOf(timed.filter, host.now()), flags.all, host.now()),
        },
        services,
        flags,
        host,
      );
    }),
});

/** What `builder prune` takes away: cache mounts too, as docker's does. */
async function findCache(
  services: Engine,
  flags: PruneFlags & KeepFlags,
  now: number,
): Promise<{ readonly records: readonly CacheRecord[]; readonly past: Past }> {
  const types = flags.filter
    .filter((text) => text.startsWith('type='))
    .map((text) => readType(text.slice('type='.length)));
  const isWanted = (type: string): boolean => types.every((wanted) => wanted === type);
  const timed = { ...flags, filter: flags.filter.filter((text) => !text.startsWith('type=')) };
  const records = isWanted('regular') ? await cacheToPrune(services, timed, now) : [];
  const before = untilOf(timed.filter, now);
  const { builds, sources, steps } = findPast(services.root, before, flags.all, now);
  const takesMounts = isWanted('exec.cachemount') && flags['keep-storage'] === undefined;
  return {
    records,
    past: {
      builds: types.length === 0 ? builds : [],
      steps: types.length === 0 && flags['keep-storage'] === undefined ? steps : [],
      sources: isWanted('source.git.checkout') ? sources : [],
      mounts: takesMounts ? idleMounts(services.root, before) : [],
    },
  };
}

/** With `--keep-storage` those beyond the size that the cache alone keeps; else all that {@link unusedCache} finds. */
async function cacheToPrune(
  services: Engine,
  flags: Pick<PruneFlags, 'all' | 'filter'> & KeepFlags,
  now: number,
): Promise<CacheRecord[]> {
  const unused = unusedCache(services, flags, now);
  if (flags['keep-storage'] === undefined) return unused;
  const { recordsBeyond } = await import('../../pipeline/cache-limit');
  const alone = new Set((await recordsOfCacheAlone(services)).map(({ key }) => key));
  return recordsBeyond(
    unused.filter(({ key }) => alone.has(key)),
    readSize(flags['keep-storage']),
    flags.policy as EvictionPolicy,
    services,
  );
}

/** Removes what was found (or says that it would), and then what nothing needs any more; in docker's words. */
async function prune(
  victims: Victims,
  services: Engine,
  flags: Pick<PruneFlags, 'dry-run'>,
  host: Host,
): Promise<number> {
  const dry = flags['dry-run'];
  const untagged = victims.images.map((image) =>
    [...image.names, ...image.repoDigests].map((name) => `untagged: ${shortName(name)}`),
  );
  const { containers, bytes: sizes } = dry
    ? { containers: victims.containers, bytes: 0 }
    : await removeAll(victims, services);
  const { layers, bytes } = dry
    ? await previewGarbage(services, {
        images: new Set(victims.images.map(({ id }) => id)),
        cache: new Set(victims.cache.map(({ key }) => key)),
        containers: new Set(victims.containers.map(({ record }) => record.id)),
        kept: victims.past.steps,
      })
    : await collectGarbage(services, 'aside');
  const section = (title: string, lines: readonly string[]): string =>
    lines.length === 0
      ? ''
      : `${dry ? 'Would delete' : 'Deleted'} ${title}:\n${lines.map((line) => `${line}\n`).join('')}\n`;
  const imageLines = victims.images.flatMap((image, i) => [
    ...(untagged[i] ?? []),
    `deleted: ${image.id}`,
    ...layersOf(image, victims.images.slice(i + 1), layers),
  ]);
  const pruned: Pruned = {
    containers: containers.map(({ record }) => record.id),
    images: victims.images.map(({ id }) => id),
    cache: victims.cache.map(({ key }) => key),
    bytes:
      bytes +
      sizes +
      (victims.volumes?.bytes ?? 0) +
      (dry ? sizeOfPast(victims.past, services.root) : 0),
  };
  host.out.write(
    section('Containers', pruned.containers) +
      (victims.volumes?.text ?? '') +
      section('Images', imageLines) +
      section('build cache objects', pruned.cache) +
      pastText(victims.past, dry),
  );
  if (dry) host.out.write(recreation(victims.cache));
  host.result?.(pruned);
  const total = `Total ${dry ? 'reclaimable' : 'reclaimed'} space`;
  host.out.write(`${total}: ${humanSize(pruned.bytes)}\n`);
  return 0;
}

/** A layer is named under the last image that stood on it. */
function layersOf(image: Image, later: readonly Image[], layers: readonly LayerRecord[]): string[] {
  const chains = new Set(chainIds(image.config.rootfs.diff_ids));
  const laterChains = new Set(later.flatMap(({ config }) => chainIds(config.rootfs.diff_ids)));
  return layers
    .filter(({ chainId }) => chains.has(chainId) && !laterChains.has(chainId))
    .map(({ chainId }) => `deleted: ${chainId}`);
}

/** Returns the containers that went, for one may have been started or removed meanwhile; and the bytes of their own layers, and of what builds left. */
async function removeAll(
  { containers, images, cache, past }: Victims,
  services: Engine,
): Promise<{ readonly containers: readonly Container[]; readonly bytes: number }> {
  let bytes = removePast(past, services);
  const removed: Container[] = [];
  if (containers.length > 0) {
    const [{ ContainerStore }, { removeContainer }, { treeSize }] = await Promise.all([
      import('../../containers/store'),
      import('../../containers/remove'),
      import('../../linux/tree-size'),
    ]);
    const store = new ContainerStore(services.root);
    for (const container of containers) {
      const { record } = container;
      if ((store.state(record.id)?.status ?? 'running') === 'running') continue;
      bytes += treeSize(store.writableLayer(record).dir).bytes;
      removeContainer(record, store, services.root, { volumes: false });
      removed.push(container);
    }
  }
  for (const { id } of images) services.images.remove(id);
  for (const { key } of cache) services.cache.delete(key);
  return { containers: removed, bytes };
}
