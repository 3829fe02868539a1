import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { CompareReport } from '../../bench/compare/compare';
import type { ReplayReport } from '../../bench/report';
import type { BenchReport } from '../../bench/run';
import { MbuildError } from '../../diagnostics/error';
import type { Engine } from '../../engine';
import { BuildHistory } from '../../history/file-history';
import { defineCommand } from '../command';
import { withServices } from '../services';

export const command = defineCommand({
  name: 'report',
  summary: 'Write a build or a benchmark as one page of HTML',
  usage: ['[OPTIONS] [BUILD|BENCH.json]'],
  positionals: { min: 0, max: 1 },
  flags: {
    output: {
      kind: 'string',
      short: 'o',
      value: 'FILE',
      help: 'Write to this file instead of standard output',
    },
  },
  notes: [
    'BUILD is as in mbuild explain. BENCH.json is the output of mbuild bench with --format json. The page needs no network and no script.',
  ],
  run: ({ flags, positionals: [what] }, host) =>
    withServices(host, flags, async (services) => {
      const text =
        what !== undefined && existsSync(what)
          ? await benchPage(what)
          : await buildPage(what, services);
      if (flags.output === undefined) host.out.write(text);
      else writeFileSync(flags.output, text);
      return 0;
    }),
});

/** The page of a build. @throws MbuildError BUILD_NOT_FOUND. */
export async function buildPage(id: string | undefined, services: Engine): Promise<string> {
  const record = new BuildHistory(services.root).find(id);
  const [{ buildReport }, { reportLayers }] = await Promise.all([
    import('../../report/build-report'),
    import('../../report/layers'),
  ]);
  return buildReport(record, reportLayers(record, services));
}

async function benchPage(file: string): Promise<string> {
  const { benchReport } = await import('../../report/bench-report');
  return benchReport(readBench(file));
}

type BenchDocument = ReplayReport | BenchReport | CompareReport;

function readBench(file: string): BenchDocument {
  const wrong = new MbuildError('USAGE', `${file} is not a report of mbuild bench`, {
    hint: 'write one with: mbuild bench replay --format json -o FILE',
  });
  let value: Partial<BenchDocument>;
  try {
    value = JSON.parse(readFileSync(file, 'utf8')) as Partial<BenchDocument>;
  } catch {
    throw wrong;
  }
  const isKnown =
    (value.kind === 'replay' && value.version === 2) ||
    ((value.kind === 'run' || value.kind === 'compare') && value.version === 1);
  if (!isKnown) throw wrong;
  return value as BenchDocument;
}
