import path from 'node:path';
import { listMounts, type KeptMount } from '../../cache/mounts';
import type { Container } from '../../containers/container';
import { namesIn } from '../../content/files';
import { keptDownloads, keptRepositories } from '../../context/kept-sources';
import { KeptSteps } from '../../debug/kept-step';
import type { Engine } from '../../engine';
import type { BuildRecord } from '../../history/build-record';
import { BuildHistory } from '../../history/file-history';
import { surplusBuilds } from '../../history/retention';
import type { Image } from '../../images/store/image-store';
import { chainIds, type ChainID } from '../../oci/digest';
import { humanSize } from '../../progress/units';
import { containersOf, noteUnreadable, noteUnreadableImages } from '../containers-of';
import type { Host } from '../host';
import { defineCommand } from '../command';
import { cacheRows, cacheShape, chainsOfImages, isShared } from '../format/cache';
import { imageRows, imageSize, latestFirst } from '../format/images';
import { renderList, type ListRow, type ListShape } from '../format/list';
import { humanSince } from '../format/time';
import { treeSize } from '../../linux/tree-size';
import { withServices } from '../services';

const SHAPE: ListShape = {
  fields: {
    Type: 'TYPE',
    TotalCount: 'TOTAL',
    Active: 'ACTIVE',
    Size: 'SIZE',
    Reclaimable: 'RECLAIMABLE',
  },
  columns: ['Type', 'TotalCount', 'Active', 'Size', 'Reclaimable'],
};
const IMAGES: ListShape = {
  fields: {
    Repository: 'REPOSITORY',
    Tag: 'TAG',
    ID: 'IMAGE ID',
    CreatedSince: 'CREATED',
    Size: 'SIZE',
    SharedSize: 'SHARED SIZE',
    UniqueSize: 'UNIQUE SIZE',
    Containers: 'CONTAINERS',
  },
  columns: [
    'Repository',
    'Tag',
    'ID',
    'CreatedSince',
    'Size',
    'SharedSize',
    'UniqueSize',
    'Containers',
  ],
};
const CONTAINERS: ListShape = {
  fields: {
    ID: 'CONTAINER ID',
    Image: 'IMAGE',
    Command: 'COMMAND',
    LocalVolumes: 'LOCAL VOLUMES',
    Size: 'SIZE',
    CreatedSince: 'CREATED',
    Status: 'STATUS',
    Names: 'NAMES',
  },
  columns: ['ID', 'Image', 'Command', 'LocalVolumes', 'Size', 'CreatedSince', 'Status', 'Names'],
};
const VOLUMES: ListShape = {
  fields: { Name: 'VOLUME NAME', Links: 'LINKS', Size: 'SIZE' },
  columns: ['Name', 'Links', 'Size'],
};

/** A volume by name, with the containers that mount it. */
interface Volume {
  readonly name: string;
  readonly links: number;
  readonly bytes: number;
}

/** What is in a store, counted. */
interface Usage {
  readonly images: readonly Image[];
  readonly containers: readonly (Container & { readonly bytes: number })[];
  readonly volumes: readonly Volume[];
  readonly mounts: readonly KeptMount[];
  readonly builds: Counted;
  readonly sources: Counted;
  readonly steps: Counted;
}

/** How many there are, how many bytes they have, and how many of these a prune would free. */
interface Counted {
  readonly count: number;
  readonly bytes: number;
  readonly reclaimable: number;
}

export const command = defineCommand({
  name: 'system df',
  summary: 'Show how much space is used',
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 0 },
  flags: {
    format: {
      kind: 'string',
      value: 'FORMAT',
      help: "'table', 'table TEMPLATE', 'json', or a Go template",
    },
    verbose: {
      kind: 'boolean',
      short: 'v',
      help: 'Show each image, container, volume and cache record',
    },
  },
  run: ({ flags }, host) =>
    withServices(host, flags, async (services) => {
      const usage = await measure(services, host);
      host.out.write(
        flags.verbose
          ? details(usage, services, host.now())
          : renderList(SHAPE, summaryRows(usage, services), flags.format),
      );
      return 0;
    }),
});

async function measure({ root, images, content }: Engine, host: Host): Promise<Usage> {
  const containers = await containersOf(root, host);
  const { ContainerStore } = await import('../../containers/store');
  const store = new ContainerStore(root);
  const list = images.list();
  noteUnreadableImages(images, list, host);
  const folder = path.join(root, 'volumes');
  return {
    images: latestFirst(list),
    containers: containers.map((container) => ({
      ...container,
      bytes: treeSize(store.writableLayer(container.record).dir).bytes,
    })),
    volumes: namesIn(folder).map((name) => ({
      name,
      bytes: treeSize(path.join(folder, name)).bytes,
      links: containers.filter(({ record }) => record.volumes.some(({ volume }) => volume === name))
        .length,
    })),
    mounts: listMounts(root),
    builds: countBuilds(root, host),
    sources: countSources(root, content),
    steps: countSteps(root),
  };
}

function countBuilds(root: string, host: Host): Counted {
  const history = new BuildHistory(root);
  const builds = [...history.all((id) => noteUnreadable(host, `build ${id}`, undefined))];
  const size = (list: readonly BuildRecord[]): number =>
    list.reduce((sum, build) => sum + history.size(build), 0);
  return { count: builds.length, bytes: size(builds), reclaimable: size(surplusBuilds(history)) };
}

/** Trees of failed steps: any of them may go. */
function countSteps(root: string): Counted {
  const steps = new KeptSteps(root).list();
  const bytes = steps.reduce((sum, step) => sum + step.bytes, 0);
  return { count: steps.length, bytes, reclaimable: bytes };
}

/** Everything that was fetched can be fetched again. */
function countSources(root: string, content: Engine['content']): Counted {
  const sources = [...keptRepositories(root), ...keptDownloads(root, content)];
  const bytes = sources.reduce((sum, source) => sum + source.bytes, 0);
  return { count: sources.length, bytes, reclaimable: bytes };
}

/**
 * Docker's four rows, and what else builds leave. A layer counts once, however many images have it;
 * what of it is reclaimable is what no container needs.
 */
function summaryRows(
  { images, containers, volumes, mounts, builds, sources, steps }: Usage,
  services: Engine,
): ListRow[] {
  const used = new Set(containers.map(({ record }) => record.image.id));
  const active = images.filter(({ id }) => used.has(id));
  const total = sizeOfChains(images, services);
  const records = services.cache.list();
  const chains = chainsOfImages(services.images);
  const own = [
    ...new Map(
      records
        .filter((record) => !isShared(record, chains))
        .map(({ layer }) => [layer?.chainId, layer?.contentSize ?? 0]),
    ).values(),
  ];
  const cacheBytes = own.reduce((sum, bytes) => sum + bytes, 0);
  const sum = (list: readonly { readonly bytes: number }[]): number =>
    list.reduce((bytes, item) => bytes + item.bytes, 0);
  const stopped = containers.filter(({ state }) => state.status !== 'running');
  return [
    row('Images', {
      total: images.length,
      active: active.length,
      bytes: total,
      reclaimable: share(total - sizeOfChains(active, services), total),
    }),
    row('Containers', {
      total: containers.length,
      active: containers.length - stopped.length,
      bytes: sum(containers),
      reclaimable: share(sum(stopped), sum(containers)),
    }),
    row('Local Volumes', {
      total: volumes.length,
      active: volumes.filter(({ links }) => links > 0).length,
      bytes: sum(volumes),
      reclaimable: share(sum(volumes.filter(({ links }) => links === 0)), sum(volumes)),
    }),
    row('Build Cache', {
      total: records.length,
      bytes: cacheBytes,
      reclaimable: humanSize(cacheBytes),
    }),
    row('Cache Mounts', {
      total: mounts.length,
      active: mounts.filter(({ inUse }) => inUse).length,
      bytes: sum(mounts),
      reclaimable: share(sum(mounts.filter(({ inUse }) => !inUse)), sum(mounts)),
    }),
    row('Fetched Sources', countedRow(sources)),
    row('Build Records', countedRow(builds)),
    row('Failed Steps', countedRow(steps)),
  ];
}

function countedRow({ count, bytes, reclaimable }: Counted): Parameters<typeof row>[1] {
  return { total: count, bytes, reclaimable: humanSize(reclaimable) };
}

function sizeOfChains(images: readonly Image[], { layers }: Engine): number {
  const chains = new Set(images.flatMap(({ config }) => chainIds(config.rootfs.diff_ids)));
  return [...chains].reduce((sum, chain) => sum + (layers.get(chain)?.contentSize ?? 0), 0);
}

function row(
  type: string,
  counts: {
    readonly total: number;
    readonly active?: number;
    readonly bytes: number;
    readonly reclaimable: string;
  },
): ListRow {
  return {
    Type: type,
    TotalCount: String(counts.total),
    Active: String(counts.active ?? 0),
    Size: humanSize(counts.bytes),
    Reclaimable: counts.reclaimable,
  };
}

function share(reclaimable: number, bytes: number): string {
  return bytes === 0
    ? humanSize(reclaimable)
    : `${humanSize(reclaimable)} (${Math.trunc((reclaimable / bytes) * 100)}%)`;
}

function details(usage: Usage, services: Engine, now: number): string {
  const { containers, volumes } = usage;
  const records = services.cache.list();
  const blobs = services.content.list();
  const blobBytes = blobs.reduce((sum, digest) => sum + (services.content.size(digest) ?? 0), 0);
  return [
    'Images space usage:',
    renderList(IMAGES, verboseImages(usage, services, now)),
    'Containers space usage:',
    renderList(
      CONTAINERS,
      containers.map((container) => containerRow(container, now)),
    ),
    'Local Volumes space usage:',
    renderList(
      VOLUMES,
      volumes.map(({ name, links, bytes }) => ({
        Name: name,
        Links: String(links),
        Size: humanSize(bytes),
      })),
    ),
    `Build cache usage: ${summaryRows(usage, services)[3]?.['Size'] ?? ''}`,
    renderList(cacheShape, cacheRows(records, services, now)),
    `Stored blobs: ${blobs.length}, ${humanSize(blobBytes)}\n`,
  ]
    .join('\n\n')
    .replace(/\n\n\n+/g, '\n\n');
}

/** A row per image and name, with what it shares with others and what it alone has. */
function verboseImages({ images, containers }: Usage, services: Engine, now: number): ListRow[] {
  const users = new Map<ChainID, number>();
  for (const { config } of images)
    for (const chain of chainIds(config.rootfs.diff_ids))
      users.set(chain, (users.get(chain) ?? 0) + 1);
  return images.flatMap((image) => {
    const shared = chainIds(image.config.rootfs.diff_ids)
      .filter((chain) => (users.get(chain) ?? 0) > 1)
      .reduce((sum, chain) => sum + (services.layers.get(chain)?.contentSize ?? 0), 0);
    const count = containers.filter(({ record }) => record.image.id === image.id).length;
    return imageRows([image], services.layers, { noTrunc: false, now }).map((line) => ({
      ...line,
      SharedSize: humanSize(shared),
      UniqueSize: humanSize(imageSize(image, services.layers) - shared),
      Containers: String(count),
    }));
  });
}

function containerRow({ record, state, bytes }: Usage['containers'][number], now: number): ListRow {
  return {
    ID: record.id.slice(0, 12),
    Image: record.image.name,
    Command: JSON.stringify(record.args.join(' ').slice(0, 20)),
    LocalVolumes: String(record.volumes.filter(({ volume }) => volume !== undefined).length),
    Size: humanSize(bytes),
    CreatedSince: humanSince(record.created, now),
    Status: state.status === 'exited' ? `Exited (${state.exitCode ?? 0})` : state.status,
    Names: record.name,
  };
}
