import type { Container, PortMapping } from '../../containers/container';
import { MbuildError } from '../../diagnostics/error';
import { didYouMean } from '../../diagnostics/suggest';
import { humanSize } from '../../progress/units';
import type { ListRow, ListShape } from './list';
import { goTime, humanDuration, humanSince, parseTime } from './time';

/** What a listing of containers shows of each. */
export interface ContainersOptions {
  readonly noTrunc: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Bytes of the writable layer and of the image, where sizes are shown. */
  readonly sizeOf?:
    ((container: Container) => { readonly own: number; readonly total: number }) | undefined;
}

const FIELDS = {
  ID: 'CONTAINER ID',
  Image: 'IMAGE',
  Command: 'COMMAND',
  CreatedAt: 'CREATED AT',
  RunningFor: 'CREATED',
  State: 'STATE',
  Status: 'STATUS',
  Ports: 'PORTS',
  Names: 'NAMES',
  Labels: 'LABELS',
  Mounts: 'MOUNTS',
  LocalVolumes: 'LOCAL VOLUMES',
  Networks: 'NETWORKS',
  Size: 'SIZE',
} as const;
const FILTERS = [
  'id',
  'name',
  'label',
  'status',
  'exited',
  'ancestor',
  'before',
  'since',
  'volume',
  'network',
] as const;
const COMMAND_WIDTH = 20;

/** `mbuild ps`: with `--size` a column more. */
export function containersShape(size: boolean): ListShape {
  return {
    fields: FIELDS,
    columns: [
      'ID',
      'Image',
      'Command',
      'RunningFor',
      'Status',
      'Ports',
      'Names',
      ...(size ? ['Size'] : []),
    ],
  };
}

/** A row per container, in the given order. */
export function containerRows(
  containers: readonly Container[],
  options: ContainersOptions,
): ListRow[] {
  return containers.map((container): ListRow => {
    const { record, state } = container;
    const size = options.sizeOf?.(container);
    return {
      ID: shownContainerId(record.id, options.noTrunc),
      Image: record.image.name,
      Command: JSON.stringify(shownCommand(record.args, options.noTrunc)),
      CreatedAt: goTime(record.created),
      RunningFor: humanSince(record.created, options.now),
      State: state.status,
      Status: shownStatus(container, options.now),
      Ports: state.status === 'running' ? record.ports.map(shownPort).join(', ') : '',
      Names: record.name,
      Labels: Object.entries(record.labels)
        .map(([key, value]) => `${key}=${value}`)
        .sort()
        .join(','),
      Mounts: record.volumes.map(({ volume, source }) => volume ?? source).join(','),
      LocalVolumes: String(record.volumes.filter(({ volume }) => volume !== undefined).length),
      Networks: record.network,
      Size:
        size === undefined
          ? '0B'
          : `${humanSize(size.own, 3)} (virtual ${humanSize(size.total, 3)})`,
    };
  });
}

/** Twelve characters, or all. */
export function shownContainerId(id: string, noTrunc: boolean): string {
  return noTrunc ? id : id.slice(0, 12);
}

/**
 * The containers that pass all filters; of several of one name one suffices. `find` looks up what
 * `before` and `since` name.
 * @throws MbuildError USAGE for a filter that docker does not know, CONTAINER_NOT_FOUND.
 */
export function filterContainers(
  containers: readonly Container[],
  filters: readonly string[],
  find: (name: string) => Container,
): Container[] {
  const byKey = new Map<string, ((container: Container) => boolean)[]>();
  for (const text of filters) {
    const at = text.indexOf('=');
    const key = (at < 0 ? text : text.slice(0, at)).trim().toLowerCase();
    if (at < 0)
      throw new MbuildError('USAGE', `invalid filter ${JSON.stringify(text)}: expected name=value`);
    const test = filterTest(key, text.slice(at + 1).trim(), find);
    // Several labels must all be there, as with docker.
    byKey.set(key === 'label' ? text : key, [...(byKey.get(key) ?? []), test]);
  }
  return containers.filter((container) =>
    [...byKey.values()].every((tests) => tests.some((test) => test(container))),
  );
}

function filterTest(
  key: string,
  value: string,
  find: (name: string) => Container,
): (container: Container) => boolean {
  switch (key) {
    case 'id':
      return ({ record }) => record.id.startsWith(value);
    case 'name':
      return nameTest(value);
    case 'status':
      return ({ state }) => state.status === value;
    case 'exited':
      return ({ state }) => state.status === 'exited' && String(state.exitCode) === value;
    case 'ancestor':
      return ({ record: { image } }) =>
        [image.name, `${image.name}:latest`].includes(value) ||
        image.name === `${value}:latest` ||
        isIdPrefix(value, image.id);
    case 'volume':
      return ({ record }) =>
        record.volumes.some(({ volume, source, target }) =>
          [volume, source, target].includes(value),
        );
    case 'network':
      return ({ record }) => record.network === value;
    case 'label': {
      const at = value.indexOf('=');
      const name = at < 0 ? value : value.slice(0, at);
      return ({ record }) =>
        Object.hasOwn(record.labels, name) &&
        (at < 0 || record.labels[name] === value.slice(at + 1));
    }
    case 'before':
    case 'since': {
      const limit = find(value).record.created;
      return key === 'before'
        ? ({ record }) => record.created < limit
        : ({ record }) => record.created > limit;
    }
    default:
      throw new MbuildError('USAGE', `invalid filter '${key}'`, {
        hint: didYouMean(key, FILTERS) ?? `filters are ${FILTERS.join(', ')}`,
      });
  }
}

/** Docker takes a pattern; `^name$` and `/name` are what people write. */
function nameTest(value: string): (container: Container) => boolean {
  const text = value.replace(/^\^?\/?|\$$/g, '');
  const [isStart, isEnd] = [value.startsWith('^'), value.endsWith('$')];
  return ({ record: { name } }) => {
    if (isStart && isEnd) return name === text;
    if (isStart) return name.startsWith(text);
    return isEnd ? name.endsWith(text) : name.includes(text);
  };
}

function isIdPrefix(text: string, id: string): boolean {
  const hex = text.replace('sha256:', '');
  return /^[0-9a-f]{4,64}$/.test(hex) && id.replace('sha256:', '').startsWith(hex);
}

function shownCommand(args: readonly string[], noTrunc: boolean): string {
  const text = args.map((word) => (word.includes(' ') ? `'${word}'` : word)).join(' ');
  return noTrunc || text.length <= COMMAND_WIDTH ? text : `${text.slice(0, COMMAND_WIDTH - 1)}…`;
}

function shownStatus({ state }: Container, now: number): string {
  switch (state.status) {
    case 'created':
      return 'Created';
    case 'running':
      return `Up ${humanDuration(now - (parseTime(state.started) ?? now))}`;
    case 'exited':
      return `Exited (${state.exitCode ?? 0}) ${humanSince(state.finished ?? state.started, now)}`;
  }
}

/** `0.0.0.0:8080->80/tcp`. */
export function shownPort({
  hostIp = '0.0.0.0',
  hostPort,
  containerPort,
  protocol,
}: PortMapping): string {
  return `${hostIp}:${hostPort}->${containerPort}/${protocol}`;
}
