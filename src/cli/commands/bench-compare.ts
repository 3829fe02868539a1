import { BUILDERS } from '../../bench/compare/builders';
import { MbuildError } from '../../diagnostics/error';
import { jsonText, visibleData } from '../../diagnostics/visible';
import { didYouMean } from '../../diagnostics/suggest';
import { defineCommand } from '../command';
import { storeRoot } from '../services';
import { BENCH_FLAGS, buildArgsOf, usage, writeReport } from './bench-flags';

export const command = defineCommand({
  name: 'bench compare',
  summary: 'Build a project by every builder that is installed, and compare the times',
  usage: ['[OPTIONS] [PATH]'],
  positionals: { min: 0, max: 1 },
  flags: {
    builder: {
      kind: 'list',
      value: 'NAME',
      help: `Which ones: ${BUILDERS.join(', ')} (default: all that are installed)`,
    },
    times: { kind: 'number', short: 'n', value: 'N', help: 'Builds of each kind (default: 5)' },
    edit: {
      kind: 'string',
      value: 'FILE',
      help: 'A file of the context that gets a line more for the builds after an edit; a copy is used',
    },
    dockerfile: { kind: 'string', short: 'f', value: 'FILE', help: 'The Dockerfile' },
    'build-arg': { kind: 'list', value: 'KEY=VALUE', help: 'Set a build argument' },
    target: BENCH_FLAGS.target,
    output: BENCH_FLAGS.output,
    format: {
      kind: 'string',
      value: 'FORMAT',
      choices: ['text', 'json', 'markdown', 'html'],
      fallback: 'text',
      help: 'text, json, markdown or html',
    },
  },
  notes: [
    'Each builder has a store of its own in a temporary directory, docker its daemon: nothing of other builds is pruned.',
    'Builders take turns, and begin in turn. RELATIVE is how many times as long as the fastest one takes, with its spread.',
  ],
  run: async ({ flags, positionals: [context = '.'] }, host) => {
    const unknown = flags.builder.find((name) => !BUILDERS.includes(name));
    if (unknown !== undefined)
      throw usage(
        `${unknown} is not a builder that can be compared`,
        didYouMean(unknown, BUILDERS) ?? `builders are ${BUILDERS.join(', ')}`,
      );
    const { compareBuilders } = await import('../../bench/compare/compare');
    const report = await compareBuilders(
      {
        build: {
          context,
          dockerfile: flags.dockerfile,
          target: flags.target,
          buildArgs: buildArgsOf(flags['build-arg']),
        },
        builders: flags.builder.length === 0 ? BUILDERS : flags.builder,
        times: flags.times ?? 5,
        edit: flags.edit,
        mbuild: ownCommand(),
        store: storeRoot(flags.root, host),
      },
      host.signal,
    );
    const { showCompare, compareMarkdown } = await import('../format/compare');
    const forms: Readonly<Record<string, () => string | Promise<string>>> = {
      json: () => `${jsonText(report, 2)}\n`,
      markdown: () => compareMarkdown(visibleData(report)),
      html: async () => (await import('../../report/bench-report')).benchReport(report),
    };
    const text = (await forms[flags.format]?.()) ?? showCompare(visibleData(report));
    writeReport(text, flags.output, host);
    return report.builders.some(({ problem }) => problem === undefined) ? 0 : 1;
  },
});

/** How this program was started. */
function ownCommand(): readonly string[] {
  const [, script] = process.argv;
  if (script === undefined) throw new MbuildError('INTERNAL', 'a program without a file');
  return [process.execPath, script];
}
