import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { jsonText, visibleData } from '../../diagnostics/visible';
import type { Durations } from '../../bench/costs/logs';
import type { WantedTarget } from '../../bench/targets';
import type { ReplayReport } from '../../bench/report';
import { defineCommand } from '../command';
import { note, type Host } from '../host';
import { readPlatformFlag, withServices } from '../services';
import {
  BENCH_FLAGS,
  buildArgsOf,
  commitChoice,
  fixedDockerfile,
  readDurationsFile,
  usage,
  writeReport,
} from './bench-flags';

const FORMATS = ['text', 'json', 'csv', 'html'] as const;

export const command = defineCommand({
  name: 'bench replay',
  summary: 'Tell what each commit of a history would have found in the cache',
  usage: ['[OPTIONS] --git RANGE [PATH]'],
  positionals: { min: 0, max: 1 },
  flags: {
    ...BENCH_FLAGS,
    dockerfile: {
      kind: 'list',
      short: 'f',
      value: 'FILE[,FILE...]',
      help: 'Path from PATH; the first that a commit has is taken, under its former names, too; file:FILE is one text for all commits',
    },
    context: {
      kind: 'string',
      value: 'DIR',
      help: 'The build context, a directory in the repository (default: PATH)',
    },
    build: {
      kind: 'list',
      value: 'FILE@DIR',
      help: 'A Dockerfile and its context, both from PATH; several may be given',
    },
    branches: {
      kind: 'boolean',
      help: 'Build branches in turn, as their merges tell of them',
    },
    policy: {
      kind: 'list',
      value: 'POLICY',
      help: 'Whose cache, and what it keeps: local, size=5GB, age=72h, registry=max, buildkit, gha, docker-classic, buildah, kaniko, … (default: local)',
    },
    pull: {
      kind: 'boolean',
      help: 'Ask registries for the configs and users of base images that are not in the store',
    },
    durations: {
      kind: 'list',
      value: 'FILE',
      help: 'Seconds by instruction, or a log of builds: see bench durations',
    },
    'assume-run': {
      kind: 'string',
      value: 'SECONDS',
      help: 'How long a RUN takes that no record tells of (default: a model)',
    },
    'write-advice': {
      kind: 'string',
      value: 'FILE',
      help: 'Write all advice as a patch for git apply; nothing is applied',
    },
    format: {
      kind: 'string',
      value: 'FORMAT',
      choices: FORMATS,
      fallback: 'text',
      help: FORMATS.join(', '),
    },
    all: { kind: 'boolean', short: 'a', help: 'List all commits, not only the last thirty' },
  },
  notes: [
    'Nothing is checked out and no RUN is executed: keys are computed from git objects. PATH is a directory of the repository.',
    'The exit code is 1 where no commit could be replayed, and 130 where a signal stopped it: what is known by then is printed.',
  ],
  run: ({ flags, positionals: [directory = '.'] }, host) =>
    withServices(host, flags, async (services) => {
      const [{ replay }, { parsePolicy }] = await Promise.all([
        import('../../bench/replay'),
        import('../../bench/policies/table'),
      ]);
      const report = await replay(
        {
          directory,
          commits: {
            ...commitChoice(flags),
            allParents: flags['all-parents'] || flags.branches,
          },
          branches: flags.branches,
          targets: targetsOf(flags),
          policies: (flags.policy.length === 0 ? ['local'] : flags.policy).map(parsePolicy),
          durations: await durationsOf(flags.durations),
          assumedSeconds: secondsOf(flags['assume-run']),
          pull: flags.pull,
          build: {
            target: flags.target,
            platform: readPlatformFlag(flags.platform),
            buildArgs: buildArgsOf(flags['build-arg']),
          },
        },
        services,
        host.signal,
      );
      const patchFile = flags['write-advice'];
      if (patchFile !== undefined) writePatch(report.patch, patchFile, host);
      writeReport(await textOf(report, flags.format, flags.all), flags.output, host);
      if (report.stoppedAfter !== undefined) return 130;
      return report.runs.some((run) => run.totals.replayed > 0) ? 0 : 1;
    }),
});

function writePatch(patch: string | undefined, file: string, host: Host): void {
  if (patch === undefined) note(host, `there is no advice, so ${file} is not written`);
  else writeFileSync(file, patch);
}

/** What is built of each commit. */
function targetsOf({
  dockerfile,
  context = '.',
  build,
}: {
  readonly dockerfile: readonly string[];
  readonly context: string | undefined;
  readonly build: readonly string[];
}): WantedTarget[] {
  const pairs = build.map((text): WantedTarget => {
    const at = text.lastIndexOf('@');
    if (at < 1)
      throw usage(
        `--build ${text} is not FILE@DIR`,
        'write FILE@DIRECTORY, such as images/web/Dockerfile@images/web',
      );
    return { name: text, dockerfile: text.slice(0, at).split(','), context: text.slice(at + 1) };
  });
  const files =
    dockerfile.length === 0 && pairs.length === 0
      ? [path.posix.join(context, 'Dockerfile')]
      : dockerfile;
  const variants = files.map((name): WantedTarget => ({
    name,
    dockerfile: fixedDockerfile(name) ?? name.split(','),
    context,
  }));
  return [...variants, ...pairs];
}

/** Later files win. */
async function durationsOf(files: readonly string[]): Promise<Durations> {
  const all = await Promise.all(files.map(readDurationsFile));
  return new Map(all.flatMap((durations) => [...durations]));
}

function secondsOf(text: string | undefined): number | undefined {
  const seconds = text === undefined ? undefined : Number(text);
  if (seconds !== undefined && !(seconds >= 0))
    throw usage(`--assume-run ${text ?? ''} is not a number of seconds`);
  return seconds;
}

async function textOf(report: ReplayReport, format: string, all: boolean): Promise<string> {
  switch (format) {
    case 'json':
      return `${jsonText(report, 2)}\n`;
    case 'csv':
      return (await import('../format/replay')).replayCsv(report);
    case 'html':
      return (await import('../../report/bench-report')).benchReport(report);
    default:
      return (await import('../format/replay')).showReplay(visibleData(report), all);
  }
}
