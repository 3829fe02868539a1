import { KINDS, type CompareKind, type CompareReport } from '../bench/compare/compare';
import { ratioOf, type Statistics } from '../bench/compare/statistics';
import { html, page, type Html } from './page';
import { SORT_SCRIPT, sortableTable } from './table';

const TITLES: Readonly<Record<CompareKind, string>> = {
  cold: 'Nothing cached',
  cached: 'All cached',
  edited: 'One file edited',
};

/** A comparison of builders as a page of HTML. */
export function comparePage(report: CompareReport): string {
  const title = 'One project, several builders';
  const body = html`<h1>${title}</h1>
    ${KINDS.map((kind) => kindPart(report, kind))}
    <h2>What was compared</h2>
    <ul>
      ${report.builders.map(({ name, version, problem }) => html`<li>${name}: ${version}${problem === undefined ? '' : `, left out: ${problem}`}</li>`)}
      ${report.notes.map((note) => html`<li class="soft">${note}</li>`)}
    </ul>`;
  return page(title, body, SORT_SCRIPT);
}

function kindPart({ builders }: CompareReport, kind: CompareKind): Html {
  const measured = builders.flatMap(({ name, problem, results }) => {
    const result = results[kind];
    return result === undefined || problem !== undefined ? [] : [{ name, result }];
  });
  if (measured.length === 0) return html``;
  const fastest = measured.reduce(
    (best, { result }) => (result.mean < best.mean ? result : best),
    measured[0]?.result ?? EMPTY,
  );
  const slowest = Math.max(...measured.map(({ result }) => result.mean));
  return html`<h2>${TITLES[kind]}</h2>
    ${sortableTable(
      [
        { title: 'Builder' },
        { title: 'Mean', isNumber: true },
        { title: '' },
        { title: 'Min … max', isNumber: true },
        { title: 'Median', isNumber: true },
        { title: 'Relative', isNumber: true },
      ],
      measured.map(({ name, result }) => {
        const ratio = ratioOf(result, fastest);
        return [
          name,
          {
            shown: `${result.mean.toFixed(3)} ± ${result.deviation.toFixed(3)} s`,
            value: result.mean,
          },
          { shown: bar(result.mean / slowest), value: result.mean },
          { shown: `${result.min.toFixed(3)} … ${result.max.toFixed(3)} s`, value: result.min },
          { shown: `${result.median.toFixed(3)} s`, value: result.median },
          {
            shown:
              result === fastest
                ? '1.00'
                : `${ratio.mean.toFixed(2)} ± ${ratio.deviation.toFixed(2)}`,
            value: ratio.mean,
          },
        ];
      }),
    )}`;
}

const EMPTY: Statistics = { runs: [], mean: Infinity, deviation: 0, median: 0, min: 0, max: 0 };

function bar(part: number): Html {
  return html`<svg class="strip" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
    <rect x="0" y="0" width="${(part * 100).toFixed(1)}" height="10" fill="var(--run)" />
  </svg>`;
}
