import { jsonText, visibleData } from '../../diagnostics/visible';
import { readFileSync, writeFileSync } from 'node:fs';
import type { BenchPlan } from '../../bench/run';
import type { Variant } from '../../bench/commit-keys';
import { MbuildError, errnoOf } from '../../diagnostics/error';
import { parsePlatform } from '../../oci/platform';
import { BUILD_FLAGS } from '../build-flags';
import { defineCommand } from '../command';
import { benchCsv, replayCsv, showBench, showReplay } from '../format/bench';
import type { Host } from '../host';
import { withServices } from '../services';

const SHARED = {
  git: { kind: 'string', value: 'RANGE', help: 'Commits as git takes them: HEAD~50.., v1.0..main' },
  'all-parents': {
    kind: 'boolean',
    help: 'Also what merges brought in, not only the line of first parents',
  },
  dockerfile: {
    kind: 'list',
    short: 'f',
    value: 'FILE',
    help: 'Path in the context; file:PATH is one that is the same for all commits',
  },
  'build-arg': {
    kind: 'list',
    value: 'KEY=VALUE',
    help: 'Set a build argument; %H in it stands for the commit, %ct for its time',
  },
  target: { kind: 'string', value: 'STAGE', help: 'The stage to build' },
  platform: { kind: 'string', value: 'OS/ARCH', help: 'Target platform' },
  format: {
    kind: 'string',
    value: 'FORMAT',
    choices: ['text', 'json', 'csv'],
    fallback: 'text',
    help: 'text, json or csv',
  },
  output: { kind: 'string', short: 'o', value: 'FILE', help: 'Write the report to a file' },
} as const;

export const replay = defineCommand({
  name: 'bench replay',
  summary: 'Tell what each commit of a history would have found in the cache',
  usage: ['[OPTIONS] --git RANGE [PATH]'],
  positionals: { min: 0, max: 1 },
  flags: {
    ...SHARED,
    policy: {
      kind: 'list',
      value: 'POLICY',
      help: 'What the cache keeps: local, size=5GB, size=5GB,evict=lru, age=72h, registry=min, registry=max (default: local)',
    },
    durations: {
      kind: 'string',
      value: 'FILE',
      help: 'JSON: seconds by instruction as it is written',
    },
    'assume-run': {
      kind: 'string',
      value: 'SECONDS',
      fallback: '1',
      help: 'How long a RUN takes that never ran here',
    },
    all: { kind: 'boolean', short: 'a', help: 'List all commits, not only the last thirty' },
  },
  notes: [
    'Nothing is checked out and no RUN is executed: keys are computed from git objects. PATH is the context in the repository.',
  ],
  run: ({ flags, positionals: [directory = '.'] }, host) =>
    withServices(host, flags, async (services) => {
      const [{ replay: replayHistory }, { parsePolicy }] = await Promise.all([
        import('../../bench/replay'),
        import('../../bench/policy'),
      ]);
      const assumedSeconds = Number(flags['assume-run']);
      if (!(assumedSeconds >= 0))
        throw usage(`--assume-run ${flags['assume-run']} is no number of seconds`);
      const report = await replayHistory(
        {
          directory,
          range: rangeOf(flags.git),
          allParents: flags['all-parents'],
          variants: variantsOf(flags.dockerfile),
          policies: (flags.policy.length === 0 ? ['local'] : flags.policy).map(parsePolicy),
          durations: flags.durations === undefined ? {} : readDurations(flags.durations),
          assumedSeconds,
          build: {
            target: flags.target,
            platform: flags.platform === undefined ? undefined : parsePlatform(flags.platform),
            buildArgs: argsOf(flags['build-arg']),
          },
        },
        services,
        host.signal,
      );
      write(
        {
          json: () => `${jsonText(report, 2)}\n`,
          csv: () => replayCsv(report),
          text: () => showReplay(visibleData(report), flags.all),
        }[flags.format as Form](),
        flags.output,
        host,
      );
      return 0;
    }),
});

type Form = 'text' | 'json' | 'csv';

export const run = defineCommand({
  name: 'bench run',
  summary: 'Build a history, or one context several times, and measure',
  usage: ['[OPTIONS] --git RANGE [PATH]', '[OPTIONS] --mode cold|warm|edited [PATH]'],
  positionals: { min: 0, max: 1 },
  flags: {
    ...SHARED,
    'context-modes': BUILD_FLAGS['context-modes'],
    mode: {
      kind: 'string',
      value: 'MODE',
      choices: ['cold', 'warm', 'edited'],
      fallback: 'warm',
      help: 'Without --git: nothing from the cache; all as it is; or a line more in a file (--edit) for each build',
    },
    times: { kind: 'number', short: 'n', value: 'N', help: 'Builds without --git (default: 3)' },
    edit: {
      kind: 'string',
      value: 'FILE',
      help: 'The file of the context that gets a line more; a copy of the context is used',
    },
  },
  run: ({ flags, positionals: [directory = '.'] }, host) =>
    withServices(host, flags, async (services) => {
      const { benchRun } = await import('../../bench/run');
      const plan: BenchPlan =
        flags.git !== undefined
          ? { kind: 'git', range: flags.git, allParents: flags['all-parents'] }
          : {
              kind: 'repeat',
              mode: flags.mode as 'cold' | 'warm' | 'edited',
              times: flags.times ?? 3,
              file: flags.edit,
            };
      const [variant] = variantsOf(flags.dockerfile);
      const dockerfile =
        variant === undefined || flags.dockerfile.length === 0 ? undefined : sourceOf(variant);
      const report = await benchRun(
        directory,
        plan,
        {
          dockerfile,
          target: flags.target,
          buildArgs: argsOf(flags['build-arg']),
          contextModes: flags['context-modes'] as 'own' | 'git',
        },
        services,
        host.signal,
      );
      write(
        {
          json: () => `${jsonText(report, 2)}\n`,
          csv: () => benchCsv(report),
          text: () => showBench(visibleData(report)),
        }[flags.format as Form](),
        flags.output,
        host,
      );
      return 0;
    }),
});

function rangeOf(text: string | undefined): string {
  if (text === undefined)
    throw usage(
      'nothing says which commits are to be replayed',
      'give a range as git takes it: --git HEAD~50..',
    );
  return text;
}

function variantsOf(files: readonly string[]): Variant[] {
  return (files.length === 0 ? ['Dockerfile'] : files).map((file) =>
    file.startsWith('file:')
      ? { name: file, source: { text: readText(file.slice('file:'.length)) } }
      : { name: file, source: { path: file } },
  );
}

function argsOf(texts: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf('=');
      if (at < 1) throw usage(`--build-arg ${JSON.stringify(text)} is not KEY=VALUE`);
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}

function readDurations(file: string): Readonly<Record<string, number>> {
  try {
    const value = JSON.parse(readText(file)) as unknown;
    const pairs =
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? Object.entries(value)
        : undefined;
    if (
      pairs !== undefined &&
      pairs.every((pair): pair is [string, number] => typeof pair[1] === 'number')
    )
      return Object.fromEntries(pairs);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw usage(`${file} does not give seconds by instruction`, 'it looks like {"RUN npm ci": 12.5}');
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new MbuildError('USAGE', `cannot read ${file} (${errnoOf(error) ?? 'error'})`, {
      cause: error,
    });
  }
}

function write(text: string, file: string | undefined, host: Host): void {
  if (file === undefined) host.out.write(text);
  else writeFileSync(file, text);
}

function usage(message: string, hint?: string): MbuildError {
  return new MbuildError('USAGE', message, { hint });
}

function sourceOf({ name, source }: Variant): { name: string; text: string } | { path: string } {
  return 'text' in source ? { name, text: source.text } : { path: source.path };
}
