import {
  createVolume,
  isAnonymous,
  listVolumes,
  removeVolume,
  volumeNamed,
  type Volume,
} from '../../containers/volumes';
import { MbuildError } from '../../diagnostics/error';
import { didYouMean } from '../../diagnostics/suggest';
import { visible } from '../../diagnostics/visible';
import { treeSize } from '../../linux/tree-size';
import { humanSize } from '../../progress/units';
import { agreed } from '../agree';
import { defineCommand } from '../command';
import { containersOf } from '../containers-of';
import { renderList, type ListRow, type ListShape } from '../format/list';
import { parseTemplate } from '../format/go-template';
import type { Host } from '../host';
import { withServices } from '../services';
import { usage } from '../usage';

const SHAPE: ListShape = {
  fields: {
    Driver: 'DRIVER',
    Name: 'VOLUME NAME',
    Scope: 'SCOPE',
    Mountpoint: 'MOUNTPOINT',
    Labels: 'LABELS',
    Links: 'LINKS',
    Size: 'SIZE',
  },
  columns: ['Driver', 'Name'],
};

export const create = defineCommand({
  name: 'volume create',
  summary: 'Make a volume',
  usage: ['[OPTIONS] [VOLUME]'],
  positionals: { min: 0, max: 1 },
  flags: {
    driver: {
      kind: 'string',
      short: 'd',
      value: 'NAME',
      choices: ['local'],
      fallback: 'local',
      help: 'Only local',
    },
    label: {
      kind: 'list',
      value: 'KEY=VALUE',
      ignored: 'volumes have no labels',
      help: 'Not kept',
    },
  },
  run: ({ flags, positionals: [name] }, host) =>
    withServices(host, flags, ({ root }) => {
      host.out.write(`${createVolume(root, name).name}\n`);
      return 0;
    }),
});

export const ls = defineCommand({
  name: 'volume ls',
  summary: 'List volumes',
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 0 },
  flags: {
    filter: {
      kind: 'list',
      short: 'f',
      value: 'NAME=VALUE',
      help: 'dangling=true|false or name=TEXT',
    },
    format: { kind: 'string', value: 'FORMAT', help: "'table', 'json', or a Go template" },
    quiet: { kind: 'boolean', short: 'q', help: 'Print names only' },
  },
  run: ({ flags }, host) =>
    withServices(host, flags, async ({ root }) => {
      const used = await usedVolumes(root, host);
      const rows = listVolumes(root)
        .filter((volume) => flags.filter.every((filter) => matches(filter, volume, used)))
        .map((volume) => rowOf(volume, used));
      const names = rows.map(({ Name = '' }) => `${Name}\n`).join('');
      host.out.write(flags.quiet ? names : renderList(SHAPE, rows, flags.format));
      return 0;
    }),
});

export const inspect = defineCommand({
  name: 'volume inspect',
  summary: 'Show what is known of volumes',
  usage: ['[OPTIONS] VOLUME [VOLUME...]'],
  positionals: { min: 1, max: Infinity },
  flags: { format: { kind: 'string', short: 'f', value: 'FORMAT', help: 'A Go template' } },
  run: ({ flags, positionals }, host) =>
    withServices(host, flags, ({ root }) => {
      const found = positionals.map((name) => described(needVolume(root, name)));
      if (flags.format === undefined || flags.format === 'json')
        host.out.write(`${JSON.stringify(found, undefined, 4)}\n`);
      else {
        const template = parseTemplate(flags.format);
        for (const volume of found) host.out.write(`${template.execute(volume)}\n`);
      }
      return 0;
    }),
});

export const rm = defineCommand({
  name: 'volume rm',
  summary: 'Delete volumes',
  usage: ['[OPTIONS] VOLUME [VOLUME...]'],
  positionals: { min: 1, max: Infinity },
  flags: { force: { kind: 'boolean', short: 'f', help: 'A volume that is not there is no error' } },
  run: ({ flags, positionals }, host) =>
    withServices(host, flags, async ({ root }) => {
      const used = await usedVolumes(root, host);
      for (const name of positionals) {
        const volume = flags.force ? volumeNamed(root, name) : needVolume(root, name);
        const by = used.get(name);
        if (by !== undefined)
          throw new MbuildError('CONTAINER_CONFLICT', `volume ${name} is used by container ${by}`, {
            hint: `remove the container first: mbuild rm -f ${by}`,
          });
        if (volume !== undefined) removeVolume(root, volume);
        host.out.write(`${visible(name)}\n`);
      }
      return 0;
    }),
});

export const prune = defineCommand({
  name: 'volume prune',
  summary: 'Delete the volumes that no container uses',
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 0 },
  flags: {
    all: { kind: 'boolean', short: 'a', help: 'Also those that have a name' },
    force: { kind: 'boolean', short: 'f', help: 'Ask nothing' },
  },
  notes: ['Without --all only volumes that were made without a name go, as docker has it.'],
  run: ({ flags }, host) =>
    withServices(host, flags, async ({ root }) => {
      if (!(await agreed(warning(flags.all), flags, host))) return 1;
      const { text, bytes } = await pruneVolumes(root, flags.all, host);
      host.out.write(`${text}Total reclaimed space: ${humanSize(bytes)}\n`);
      return 0;
    }),
});

/** What a prune of volumes took away. */
export interface PrunedVolumes {
  /** A section of docker's answer; empty where nothing went. */
  readonly text: string;
  readonly bytes: number;
}

/** Deletes the volumes that no container uses: those without a name, or all. */
export async function pruneVolumes(root: string, all: boolean, host: Host): Promise<PrunedVolumes> {
  const used = await usedVolumes(root, host);
  const gone = listVolumes(root).filter(
    (volume) => !used.has(volume.name) && (all || isAnonymous(volume)),
  );
  const bytes = gone.reduce((sum, { mountpoint }) => sum + treeSize(mountpoint).bytes, 0);
  for (const volume of gone) removeVolume(root, volume);
  const names = gone.map(({ name }) => `${name}\n`).join('');
  return { text: gone.length === 0 ? '' : `Deleted Volumes:\n${names}\n`, bytes };
}

/** In docker's words. */
function warning(all: boolean): string {
  const which = all ? 'all local volumes' : 'anonymous local volumes';
  return `WARNING! This will remove ${which} not used by at least one container.`;
}

/** The container that uses each volume. */
async function usedVolumes(root: string, host: Host): Promise<ReadonlyMap<string, string>> {
  const containers = await containersOf(root, host);
  return new Map(
    containers.flatMap(({ record }) =>
      record.volumes.flatMap(({ volume }) =>
        volume === undefined ? [] : [[volume, record.name] as const],
      ),
    ),
  );
}

function needVolume(root: string, name: string): Volume {
  const found = volumeNamed(root, name);
  if (found !== undefined) return found;
  throw new MbuildError('CONTAINER_NOT_FOUND', `no such volume: ${name}`, {
    hint: didYouMean(
      name,
      listVolumes(root).map((volume) => volume.name),
    ),
  });
}

function matches(filter: string, volume: Volume, used: ReadonlyMap<string, string>): boolean {
  const [key = '', value = ''] = filter.split('=');
  switch (key) {
    case 'dangling':
      return used.has(volume.name) !== /^(1|t|true)$/i.test(value);
    case 'name':
      return volume.name.includes(value);
    case 'driver':
      return value === 'local';
    default:
      throw usage(`volumes have no filter "${key}"`, 'there are dangling, name and driver');
  }
}

function rowOf({ name, mountpoint }: Volume, used: ReadonlyMap<string, string>): ListRow {
  return {
    Driver: 'local',
    Name: name,
    Scope: 'local',
    Mountpoint: mountpoint,
    Labels: '',
    Links: used.has(name) ? '1' : '0',
    Size: 'N/A',
  };
}

/** As docker writes it. */
function described({ name, mountpoint, created }: Volume): Record<string, unknown> {
  return {
    CreatedAt: created.toISOString().replace(/\.\d+Z$/, 'Z'),
    Driver: 'local',
    Labels: null,
    Mountpoint: mountpoint,
    Name: name,
    Options: null,
    Scope: 'local',
  };
}
