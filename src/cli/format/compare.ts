import {
  KINDS,
  type CompareKind,
  type CompareReport,
  type ComparedBuilder,
} from '../../bench/compare/compare';
import { ratioOf } from '../../bench/compare/statistics';
import { layOutTable } from './table';

const TITLES: Readonly<Record<CompareKind, string>> = {
  cold: 'nothing cached',
  cached: 'all cached',
  edited: 'one file edited',
};

/** A comparison for people. */
export function showCompare(report: CompareReport): string {
  const tables = kindsOf(report).map(
    (kind) => `${TITLES[kind]}\n${layOutTable(rowsOf(report, kind))}`,
  );
  return [
    ...tables,
    [...problemsOf(report), ...report.notes.map((note) => `note: ${note}\n`)].join(''),
  ].join('\n');
}

/** The same for a README. */
export function compareMarkdown(report: CompareReport): string {
  const tables = kindsOf(report).map((kind) => {
    const [head = [], ...rows] = rowsOf(report, kind);
    const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`;
    return `**${TITLES[kind]}**\n\n${line(head)}${line(head.map(() => '---'))}${rows.map(line).join('')}`;
  });
  const versions = report.builders.map(({ version }) => version).join('; ');
  return `${tables.join('\n')}\n${versions}.\n`;
}

function kindsOf({ builders }: CompareReport): readonly CompareKind[] {
  return KINDS.filter((kind) => builders.some(({ results }) => results[kind] !== undefined));
}

function rowsOf({ builders }: CompareReport, kind: CompareKind): string[][] {
  const measured = builders
    .flatMap((builder) => {
      const result = builder.results[kind];
      return result === undefined || builder.problem !== undefined ? [] : [{ builder, result }];
    })
    .sort((a, b) => a.result.mean - b.result.mean);
  const fastest = measured[0]?.result;
  return [
    ['BUILDER', 'MEAN', 'MIN … MAX', 'MEDIAN', 'RELATIVE'],
    ...measured.map(({ builder, result }) => {
      const ratio = fastest === undefined ? undefined : ratioOf(result, fastest);
      return [
        builder.name,
        `${result.mean.toFixed(3)} ± ${result.deviation.toFixed(3)} s`,
        `${result.min.toFixed(3)} … ${result.max.toFixed(3)} s`,
        `${result.median.toFixed(3)} s`,
        ratio === undefined || result === fastest
          ? '1.00'
          : `${ratio.mean.toFixed(2)} ± ${ratio.deviation.toFixed(2)}`,
      ];
    }),
  ];
}

function problemsOf({ builders }: CompareReport): string[] {
  return builders.flatMap(({ name, problem }: ComparedBuilder) =>
    problem === undefined ? [] : [`${name} failed and is left out: ${problem}\n`],
  );
}
