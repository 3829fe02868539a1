import { ContainerStore } from '../../containers/store';
import { killContainer, stopAndRemove, stopContainer, waitForEnd } from '../../containers/stop';
import { runAttached, startDetached } from '../attach';
import { defineCommand } from '../command';
import { forEachName } from '../each';
import { readSignal } from '../run-options';
import { withServices } from '../services';
import { orFailure } from './run';

const SEVERAL = {
  usage: ['[OPTIONS] CONTAINER [CONTAINER...]'],
  positionals: { min: 1, max: Infinity },
} as const;

export const stop = defineCommand({
  ...SEVERAL,
  name: 'stop',
  summary: 'Stop one or more running containers',
  flags: {
    signal: {
      kind: 'string',
      short: 's',
      value: 'SIGNAL',
      help: "Send this signal first (default: the image's STOPSIGNAL, or SIGTERM)",
    },
    time: {
      kind: 'number',
      short: 't',
      value: 'SECONDS',
      aliases: ['timeout'],
      help: 'Kill the container after this many seconds (default: 10)',
    },
  },
  run: ({ flags, positionals }, host) =>
    withServices(host, flags, (services) => {
      const store = new ContainerStore(services.root);
      const signal = flags.signal === undefined ? undefined : readSignal(flags.signal);
      return forEachName(positionals, host, (name) =>
        stopContainer(store.get(name), store, flags.time, signal),
      );
    }),
});

export const kill = defineCommand({
  ...SEVERAL,
  name: 'kill',
  summary: 'Send a signal to one or more running containers',
  flags: {
    signal: {
      kind: 'string',
      short: 's',
      value: 'SIGNAL',
      fallback: 'SIGKILL',
      help: 'The signal (default: SIGKILL)',
    },
  },
  run: ({ flags, positionals }, host) =>
    withServices(host, flags, (services) => {
      const store = new ContainerStore(services.root);
      const signal = readSignal(flags.signal);
      return forEachName(positionals, host, (name) =>
        killContainer(store.get(name), signal, store),
      );
    }),
});

export const rm = defineCommand({
  ...SEVERAL,
  name: 'rm',
  summary: 'Remove one or more containers',
  flags: {
    force: {
      kind: 'boolean',
      short: 'f',
      help: 'Also remove running containers, and ignore missing ones',
    },
    volumes: {
      kind: 'boolean',
      short: 'v',
      help: 'Also remove the anonymous volumes of the container',
    },
  },
  run: ({ flags, positionals }, host) =>
    withServices(host, flags, (services) => {
      const store = new ContainerStore(services.root);
      return forEachName(
        positionals.filter((name) => !flags.force || store.find(name) !== undefined),
        host,
        (name) => stopAndRemove(store.get(name), store, services.root, flags),
      );
    }),
});

export const wait = defineCommand({
  ...SEVERAL,
  name: 'wait',
  summary: 'Wait until containers end, and print their exit codes',
  flags: {},
  run: ({ flags, positionals }, host) =>
    withServices(host, flags, async (services) => {
      const store = new ContainerStore(services.root);
      for (const container of positionals.map((name) => store.get(name))) {
        const state = await waitForEnd(container, store, host.signal);
        host.out.write(`${typeof state === 'object' ? (state.exitCode ?? 0) : 0}\n`);
      }
      return 0;
    }),
});

export const start = defineCommand({
  ...SEVERAL,
  name: 'start',
  summary: 'Start one or more stopped containers',
  flags: {
    attach: { kind: 'boolean', short: 'a', help: 'Show its output and return its exit code' },
    interactive: { kind: 'boolean', short: 'i', help: 'Pass on standard input' },
  },
  run: ({ flags, positionals }, host) =>
    orFailure(host, () =>
      withServices(host, flags, async (services) => {
        const store = new ContainerStore(services.root);
        const [only] = positionals;
        if ((flags.attach || flags.interactive) && only !== undefined)
          return runAttached(store.get(only).record, services, { stdin: flags.interactive }, host);
        return forEachName(positionals, host, async (name) => {
          const { record, state } = store.get(name);
          if (state.status !== 'running') await startDetached(record, services.root);
        });
      }),
    ),
});

export const restart = defineCommand({
  ...SEVERAL,
  name: 'restart',
  summary: 'Stop containers and start them again',
  flags: {
    time: {
      kind: 'number',
      short: 't',
      value: 'SECONDS',
      aliases: ['timeout'],
      help: 'Kill the container after this many seconds (default: 10)',
    },
  },
  run: ({ flags, positionals }, host) =>
    withServices(host, flags, (services) => {
      const store = new ContainerStore(services.root);
      return forEachName(positionals, host, async (name) => {
        const container = store.get(name);
        await stopContainer(container, store, flags.time);
        await startDetached(container.record, services.root);
      });
    }),
});
