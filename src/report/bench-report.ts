import type { CompareReport } from '../bench/compare/compare';
import type { ReplayReport } from '../bench/report';
import type { BenchReport } from '../bench/run';
import { percent } from '../bench/words';
import { humanSize } from '../progress/units';
import { chart } from './chart';
import { comparePage } from './compare-report';
import { html, page } from './page';
import { replayPage } from './replay-report';

/** A replay, a run of builds or a comparison as a page of HTML. */
export function benchReport(report: ReplayReport | BenchReport | CompareReport): string {
  if (report.kind === 'compare') return comparePage(report);
  return report.kind === 'replay' ? replayPage(report) : runPage(report);
}

function runPage({ title: what, samples }: BenchReport): string {
  const title = `Builds: ${what}`;
  return page(
    title,
    html`<h1>${title}</h1>
      <h2>Wall and CPU time of each build</h2>
      ${chart(
        [
          { name: 'wall', values: samples.map((sample) => sample.wallSeconds) },
          { name: 'CPU', values: samples.map((sample) => sample.cpuSeconds) },
        ],
        (value) => `${value.toFixed(2)}s`,
      )}
      <h2>Hit ratio</h2>
      ${chart([{ name: 'hit ratio', values: samples.map((sample) => sample.hitRatio) }], percent)}
      <h2>Builds</h2>
      <div class="wide">
        <table>
          <thead>
            <tr>
              <th>Build</th>
              <th class="number">Wall</th>
              <th class="number">CPU</th>
              <th class="number">Memory</th>
              <th class="number">Hits</th>
              <th class="number">Misses</th>
              <th></th>
            </tr>
          </thead>
          <tbody>
            ${samples.map(
              (sample) =>
                html`<tr>
                  <td class="mono">${sample.name.slice(0, 12)}</td>
                  <td class="number">${sample.wallSeconds.toFixed(3)}s</td>
                  <td class="number">${sample.cpuSeconds.toFixed(2)}s</td>
                  <td class="number">${humanSize(sample.peakBytes, 3)}</td>
                  <td class="number">${sample.hits}</td>
                  <td class="number">${sample.misses}</td>
                  <td>${sample.problem ?? ''}</td>
                </tr>`,
            )}
          </tbody>
        </table>
      </div>`,
  );
}
