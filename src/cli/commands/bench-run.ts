import { jsonText, visibleData } from '../../diagnostics/visible';
import type { BenchPlan } from '../../bench/run';
import { BUILD_FLAGS } from '../build-flags';
import { defineCommand } from '../command';
import { benchCsv, showBench } from '../format/bench';
import { readPlatformFlag, withServices } from '../services';
import {
  BENCH_FLAGS,
  buildArgsOf,
  commitChoice,
  fixedDockerfile,
  writeReport,
} from './bench-flags';

export const command = defineCommand({
  name: 'bench run',
  summary: 'Build a history, or one context several times, and measure',
  usage: ['[OPTIONS] --git RANGE [PATH]', '[OPTIONS] --mode cold|warm|edited [PATH]'],
  positionals: { min: 0, max: 1 },
  flags: {
    ...BENCH_FLAGS,
    dockerfile: {
      kind: 'string',
      short: 'f',
      value: 'FILE',
      help: 'Path in the context; file:FILE is one that is the same for all builds',
    },
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
    format: {
      kind: 'string',
      value: 'FORMAT',
      choices: ['text', 'json', 'csv'],
      fallback: 'text',
      help: 'text, json or csv',
    },
  },
  run: ({ flags, positionals: [directory = '.'] }, host) =>
    withServices(host, flags, async (services) => {
      const { benchRun } = await import('../../bench/run');
      const plan: BenchPlan =
        flags.git !== undefined
          ? {
              kind: 'git',
              commits: commitChoice(flags),
              buildArgs: buildArgsOf(flags['build-arg']),
            }
          : {
              kind: 'repeat',
              mode: flags.mode as 'cold' | 'warm' | 'edited',
              times: flags.times ?? 3,
              file: flags.edit,
            };
      const platform = readPlatformFlag(flags.platform);
      const named = flags.dockerfile;
      const fixed = named === undefined ? undefined : fixedDockerfile(named);
      const report = await benchRun(directory, plan, {
        engine: services,
        signal: host.signal,
        options: {
          dockerfile: fixed ?? (named === undefined ? undefined : { path: named }),
          target: flags.target,
          platforms: platform === undefined ? undefined : [platform],
          buildArgs: buildArgsOf(flags['build-arg']),
          contextModes: flags['context-modes'] as 'own' | 'git',
        },
      });
      const forms: Readonly<Record<string, () => string>> = {
        json: () => `${jsonText(report, 2)}\n`,
        csv: () => benchCsv(report),
      };
      const text = forms[flags.format]?.() ?? showBench(visibleData(report));
      writeReport(text, flags.output, host);
      return 0;
    }),
});
