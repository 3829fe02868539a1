#!/usr/bin/env node
// Draws the growth series of a benchmark's JSON: node test/bench/plot.mjs FILE.json > growth.svg
// Cost per item over the number of items, both logarithmic: a flat line is a cost that does not grow. Readable on light and dark ground.
import { readFileSync } from 'node:fs';

const PANEL = { width: 250, height: 170, left: 62, top: 34, gap: 30 };
const SERIES = [
  { key: 'cold', label: 'cold' },
  { key: 'cached', label: 'cached' },
];

const report = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const series = report.workloads.find(({ name }) => name === 'growth')?.result.series;
if (series === undefined)
  throw new Error(
    `${process.argv[2]} has no growth in it: npm run bench -- --workloads=growth --out=FILE.json`,
  );
process.stdout.write(draw(series));

function draw(panels) {
  const width = panels.length * (PANEL.left + PANEL.width + PANEL.gap);
  const height = PANEL.top + PANEL.height + 58;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12">
<title>Cost per file, per step and per layer</title>
<style>
text { fill: #57606a } .name { fill: #1f2328; font-size: 14px; font-weight: 600 }
.axis, .grid { stroke: #8c959f; fill: none } .grid { stroke-opacity: .3 }
.cold { stroke: #0969da } .cached { stroke: #bc4c00 } .line { fill: none; stroke-width: 2 }
circle.cold { fill: #0969da } circle.cached { fill: #bc4c00 }
@media (prefers-color-scheme: dark) {
text { fill: #9198a1 } .name { fill: #f0f6fc }
.cold { stroke: #4493f8 } .cached { stroke: #f0883e } circle.cold { fill: #4493f8 } circle.cached { fill: #f0883e }
}
</style>
${panels.map((panel, i) => drawPanel(panel, i * (PANEL.left + PANEL.width + PANEL.gap) + PANEL.left)).join('\n')}
</svg>
`;
}

function drawPanel({ what, counts, ...costs }, left) {
  const values = SERIES.flatMap(({ key }) => costs[key]).filter((value) => value > 0);
  const decades = {
    from: Math.floor(Math.log10(Math.min(...values))),
    to: Math.ceil(Math.log10(Math.max(...values))),
  };
  const bottom = PANEL.top + PANEL.height;
  const xOf = (count) =>
    left + PANEL.width * place(count, Math.log10(counts[0]), Math.log10(counts.at(-1)));
  const yOf = (value) => bottom - PANEL.height * place(value, decades.from, decades.to);
  const grid = Array.from(
    { length: decades.to - decades.from + 1 },
    (_, i) => 10 ** (decades.from + i),
  ).map(
    (value) =>
      `<path class="grid" d="M${left} ${yOf(value).toFixed(1)}h${PANEL.width}"/><text x="${left - 6}" y="${(yOf(value) + 4).toFixed(1)}" text-anchor="end">${duration(value)}</text>`,
  );
  const ticks = counts.map(
    (count) =>
      `<text x="${xOf(count).toFixed(1)}" y="${bottom + 18}" text-anchor="middle">${count.toLocaleString('en')}</text>`,
  );
  const lines = SERIES.map(({ key, label }, i) =>
    drawLine(key, label, counts, costs[key], xOf, yOf, left + 4 + i * 70, bottom + 44),
  );
  return [
    `<text class="name" x="${left}" y="18">time per ${what.slice(0, -1)}, of so many ${what}</text>`,
    ...grid,
    `<path class="axis" d="M${left} ${PANEL.top}V${bottom}h${PANEL.width}"/>`,
    ...ticks,
    ...lines,
  ].join('\n');
}

function drawLine(key, label, counts, values, xOf, yOf, legendX, legendY) {
  const points = counts.flatMap((count, i) =>
    values[i] > 0 ? [[xOf(count), yOf(values[i])]] : [],
  );
  const shown = points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`);
  return [
    `<path class="line ${key}" d="M${shown.join('L')}"/>`,
    ...points.map(
      ([x, y]) => `<circle class="${key}" cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="3"/>`,
    ),
    `<path class="line ${key}" d="M${legendX} ${legendY - 4}h16"/><text x="${legendX + 21}" y="${legendY}">${label}</text>`,
  ].join('');
}

/** 0 to 1 on a logarithmic axis. */
function place(value, from, to) {
  return (Math.log10(value) - from) / (to - from);
}

function duration(seconds) {
  return seconds >= 1
    ? `${seconds} s`
    : seconds >= 1e-3
      ? `${Math.round(seconds * 1e3)} ms`
      : seconds >= 1e-6
        ? `${Math.round(seconds * 1e6)} µs`
        : `${Math.round(seconds * 1e9)} ns`;
}
