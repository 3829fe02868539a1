import type { CompareReport } from '../bench/compare/compare';
import type { ReplayReport } from '../bench/report';
import type { BenchReport } from '../bench/run';
import { percent } from '../bench/words';
import { humanSize } from '../progress/units';
import { chart } from './chart';
import { comparePage } from './compare-report';
import { html, page } from './page';
import { replayPage } from './replay-report';

<<<<<<< HEAD
/** A replay, a run of builds or a comparison as a page of HTML. */
export function benchReport(report: ReplayReport | BenchReport | CompareReport): string {
  if (report.kind === 'compare') return comparePage(report);
=======
const WIDTH = 720;
const HEIGHT = 160;
const LEFT = 44;
/** Curves that lie on each other are told apart by their dashes. */
const DASHES = ['none', '7 5', '2 5', '12 4 2 4', '1 3'];
const COLORS = ['var(--run)', 'var(--hit)', 'var(--export)', 'var(--pull)', 'var(--bad)'];

interface Curve {
  readonly name: string;
  readonly values: readonly number[];
}

/**
 * A replay or a run of builds as a page of HTML: curves over the builds, sums, and what each
 * instruction cost.
 */
export function benchReport(report: ReplayReport | BenchReport): string {
>>>>>>> e454a62 (Comments are wrapped at 100 columns)
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
<<<<<<< HEAD
=======

/**
 * Curves over one axis; each is named beside its colour and, for those who do not see it, in the
 * picture's title.
 */
function chart(curves: readonly Curve[], show: (value: number) => string): Html {
  const most = Math.max(...curves.flatMap((curve) => curve.values), 1e-9);
  const count = Math.max(...curves.map((curve) => curve.values.length));
  const x = (i: number): number => LEFT + (count <= 1 ? 0 : (i / (count - 1)) * (WIDTH - LEFT - 4));
  const y = (value: number): number => 8 + (1 - value / most) * (HEIGHT - 28);
  const label = curves
    .map(
      (curve) =>
        `${curve.name}: from ${show(curve.values[0] ?? 0)} to ${show(curve.values.at(-1) ?? 0)}`,
    )
    .join('; ');
  return html`<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img">
      <title>${label}</title>
      <line class="axis" x1="${LEFT}" y1="${y(0)}" x2="${WIDTH}" y2="${y(0)}" />
      <line class="axis" x1="${LEFT}" y1="${y(most)}" x2="${WIDTH}" y2="${y(most)}" />
      <text x="0" y="${y(most) + 4}">${show(most)}</text>
      <text x="0" y="${y(0) + 4}">${show(0)}</text>
      <text x="${LEFT}" y="${HEIGHT - 4}">1</text>
      <text x="${WIDTH - 4}" y="${HEIGHT - 4}" text-anchor="end">${count}</text>
      ${curves.map((curve, i) => html`<polyline class="curve" stroke="${COLORS[i % COLORS.length] ?? ''}" stroke-dasharray="${DASHES[i % DASHES.length] ?? ''}" points="${curve.values.map((value, at) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(' ')}" />`)}
    </svg>
    <p class="legend">
      ${curves.map((curve, i) => html`<span><i style="background:${COLORS[i % COLORS.length] ?? ''}"></i>${curve.name}</span>`)}
    </p>`;
}

function summedUp(values: readonly number[]): number[] {
  let sum = 0;
  return values.map((value) => (sum += value));
}

function percent(ratio: number): string {
  return `${(ratio * 100).toFixed(0)}%`;
}

function time(value: number): string {
  if (value >= 3600) return `${(value / 3600).toFixed(1)}h`;
  return value >= 60 ? `${(value / 60).toFixed(1)}min` : `${value.toFixed(1)}s`;
}
>>>>>>> e454a62 (Comments are wrapped at 100 columns)
