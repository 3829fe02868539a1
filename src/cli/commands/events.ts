import { setTimeout as pause } from 'node:timers/promises';
import { eventsOf, type ContainerEvent } from '../../containers/events';
import { jsonText, visible } from '../../diagnostics/visible';
import { defineCommand } from '../command';
import { containersOf } from '../containers-of';
import { parseTemplate } from '../format/go-template';
import { withServices } from '../services';
import { usage } from '../usage';

/** Milliseconds between two looks at the containers. */
const LOOK = 500;
const FILTERS = ['container', 'event', 'image', 'label', 'type'];

export const command = defineCommand({
  name: 'events',
  summary: 'Show what happens to containers, in the form of docker events',
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 0 },
  flags: {
    filter: {
      kind: 'list',
      short: 'f',
      value: 'NAME=VALUE',
      help: `Only what has: ${FILTERS.join(', ')}`,
    },
    format: { kind: 'string', value: 'FORMAT', help: "'json', or a Go template" },
    since: {
      kind: 'string',
      value: 'TIME',
      help: 'From this time on, such as 10m or 2026-01-02T15:04:05Z',
    },
    until: {
      kind: 'string',
      value: 'TIME',
      help: 'Until this time; without it events are shown as they come',
    },
  },
  notes: [
    'Events are create, start and die of the containers in the store; there is no daemon that remembers removed ones.',
  ],
  run: ({ flags }, host) =>
    withServices(host, flags, async ({ root }) => {
      const filters = flags.filter.map(readFilter);
      const until = flags.until === undefined ? undefined : readTime(flags.until, host.now());
      let since = flags.since === undefined ? host.now() : readTime(flags.since, host.now());
      const seen = new Set<string>();
      for (;;) {
        const end = Math.min(until ?? Infinity, host.now());
        for (const event of eventsOf(await containersOf(root, host))) {
          const key = `${event.container.record.id} ${event.action} ${event.time}`;
          if (event.time < since || event.time > end || seen.has(key)) continue;
          seen.add(key);
          if (filters.every((passes) => passes(event))) host.out.write(line(event, flags.format));
        }
        if (until !== undefined && host.now() >= until) return 0;
        // What was written a moment ago may be seen a moment later.
        since = Math.max(since, end - 10 * LOOK);
        await pause(LOOK, undefined, { signal: host.signal });
      }
    }),
});

/** `10m`, `1h30m`: so long before now; seconds since the epoch; or a time in RFC 3339. @throws MbuildError USAGE. */
function readTime(text: string, now: number): number {
  if (/^\d+(?:\.\d+)?$/.test(text)) return Number(text) * 1000;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|h|m|s)/g)];
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1e3, m: 6e4, h: 3.6e6 };
  if (parts.length > 0 && parts.map(([part]) => part).join('') === text)
    return now - parts.reduce((sum, [, n, unit = 's']) => sum + Number(n) * (units[unit] ?? 0), 0);
  const time = Date.parse(text);
  if (!Number.isNaN(time)) return time;
  throw usage(
    `invalid time ${JSON.stringify(text)}`,
    'write 10m, or a time such as 2026-01-02T15:04:05Z',
  );
}

function readFilter(text: string): (event: ContainerEvent) => boolean {
  const at = text.indexOf('=');
  const [key, value] = [text.slice(0, at), text.slice(at + 1)];
  switch (at < 0 ? '' : key) {
    case 'type':
      return () => value === 'container';
    case 'event':
      return ({ action }) => action === value;
    case 'container':
      return ({ container: { record } }) => record.name === value || record.id.startsWith(value);
    case 'image':
      return ({ container: { record } }) => record.image.name === value;
    case 'label': {
      const [name = '', wanted] = value.split('=');
      return ({ container: { record } }) =>
        wanted === undefined ? Object.hasOwn(record.labels, name) : record.labels[name] === wanted;
    }
    default:
      throw usage(
        `events have no filter ${JSON.stringify(text)}`,
        `there are ${FILTERS.join(', ')}`,
      );
  }
}

function line(event: ContainerEvent, format: string | undefined): string {
  const json = asDocker(event);
  if (format === 'json') return `${jsonText(json)}\n`;
  if (format !== undefined) return `${parseTemplate(format).execute(json, visible)}\n`;
  const attributes = Object.entries(json.Actor.Attributes).map(([name, value]) =>
    visible(`${name}=${value}`),
  );
  const { id } = event.container.record;
  return `${new Date(event.time).toISOString()} container ${event.action} ${id} (${attributes.join(', ')})\n`;
}

/** As docker's Engine API has an event. */
function asDocker({ action, container: { record, state }, time }: ContainerEvent) {
  const attributes: Record<string, string> = {
    ...record.labels,
    image: record.image.name,
    name: record.name,
    ...(action === 'die' ? { exitCode: String(state.exitCode ?? 0) } : {}),
  };
  return {
    status: action,
    id: record.id,
    from: record.image.name,
    Type: 'container',
    Action: action,
    Actor: { ID: record.id, Attributes: attributes },
    scope: 'local',
    time: Math.floor(time / 1000),
    timeNano: time * 1e6,
  };
}
