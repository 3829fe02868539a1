import { readLog, type LogEntry } from '../../containers/log';
import { ContainerStore } from '../../containers/store';
import { BuildHistory } from '../../history/file-history';
import { showBuildLogs } from '../build-logs';
import { defineCommand } from '../command';
import { untilTime } from '../format/images';
import { withServices } from '../services';
import { writeBytes } from '../streams';
import { errnoOf } from '../../diagnostics/error';
import { MbuildError } from '../../diagnostics/error';

export const command = defineCommand({
  name: 'logs',
  summary: 'Show the output of a container, or of a step of a build',
  usage: ['[OPTIONS] CONTAINER', 'BUILD [STEP]'],
  positionals: { min: 1, max: 2 },
  flags: {
    follow: { kind: 'boolean', short: 'f', help: 'Follow the output until the container ends' },
    since: {
      kind: 'string',
      value: 'TIME',
      help: 'Only lines after a time, or of a last period such as 10m',
    },
    tail: {
      kind: 'string',
      short: 'n',
      value: 'NUMBER',
      fallback: 'all',
      help: 'Only the last lines',
    },
    timestamps: { kind: 'boolean', short: 't', help: 'Show when each line was written' },
    until: { kind: 'string', value: 'TIME', help: 'Only lines before a time' },
  },
  notes: [
    'BUILD and STEP are as in mbuild explain. If a container has the same name as a build, its output is shown.',
  ],
  run: ({ flags, positionals: [name = '', step] }, host) =>
    withServices(host, flags, async (services) => {
      const store = new ContainerStore(services.root);
      const history = new BuildHistory(services.root);
      const build =
        step === undefined && store.find(name) !== undefined ? undefined : history.search(name);
      if (build !== undefined) {
        await showBuildLogs(history, build, step, host);
        return 0;
      }
      const { id } = store.get(name).record;
      const tail = readTail(flags.tail);
      const [since, until] = [flags.since, flags.until].map((text) =>
        text === undefined ? undefined : untilTime(text, host.now()),
      );
      const isWanted = ({ time }: LogEntry): boolean =>
        (since === undefined || Date.parse(time) >= since) &&
        (until === undefined || Date.parse(time) < until);
      const show = ({ log, stream, time }: LogEntry): Promise<void> =>
        writeBytes(stream, Buffer.from(flags.timestamps ? `${time} ${log}` : log));
      try {
        if (flags.follow) {
          const isOver = (): boolean => store.state(id)?.status !== 'running';
          const past: LogEntry[] = [];
          for await (const entry of readLog(store.logFile(id), { signal: host.signal }))
            if (isWanted(entry)) past.push(entry);
          let seen = past.length;
          for (const entry of lastOf(past, tail)) await show(entry);
          for await (const entry of readLog(store.logFile(id), {
            follow: isOver,
            signal: host.signal,
          })) {
            if (isWanted(entry) && --seen < 0) await show(entry);
          }
          return 0;
        }
        const entries: LogEntry[] = [];
        for await (const entry of readLog(store.logFile(id), { signal: host.signal })) {
          if (!isWanted(entry)) continue;
          if (tail === undefined) await show(entry);
          else entries.push(entry);
        }
        for (const entry of lastOf(entries, tail)) await show(entry);
        return 0;
      } catch (error) {
        // Whoever reads has seen enough.
        if (errnoOf(error) === 'EPIPE') return 0;
        throw error;
      }
    }),
});

function readTail(text: string): number | undefined {
  if (text === 'all' || text === '-1') return undefined;
  if (!/^\d{1,9}$/.test(text))
    throw new MbuildError('USAGE', `invalid --tail ${JSON.stringify(text)}`, {
      hint: "write a number, or 'all'",
    });
  return Number(text);
}

function lastOf(entries: readonly LogEntry[], tail: number | undefined): readonly LogEntry[] {
  if (tail === 0) return [];
  return tail === undefined ? entries : entries.slice(-tail);
}
