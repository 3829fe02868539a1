import { html, type Html } from './page';

const WIDTH = 720;
const HEIGHT = 172;
const LEFT = 72;
/** Room for a label above the highest line, and for those below the lowest. */
const TOP = 18;
const BELOW = 28;
/** Curves that lie on each other are told apart by their dashes. */
const DASHES = ['none', '7 5', '2 5', '12 4 2 4', '1 3'];
const COLORS = ['var(--run)', 'var(--hit)', 'var(--export)', 'var(--pull)', 'var(--bad)'];

export interface Curve {
  readonly name: string;
  readonly values: readonly number[];
}

/** Curves over one axis; each is named beside its colour and, for those who do not see it, in the picture's title. */
export function chart(curves: readonly Curve[], show: (value: number) => string): Html {
  const most = curves.reduce(
    (largest, { values }) => values.reduce((a, b) => Math.max(a, b), largest),
    1e-9,
  );
  const count = Math.max(0, ...curves.map((curve) => curve.values.length));
  const x = (i: number): number => LEFT + (count <= 1 ? 0 : (i / (count - 1)) * (WIDTH - LEFT - 4));
  const y = (value: number): number => TOP + (1 - value / most) * (HEIGHT - TOP - BELOW);
  const label = curves
    .map(
      ({ name, values }) => `${name}: from ${show(values[0] ?? 0)} to ${show(values.at(-1) ?? 0)}`,
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
      ${curves.map(({ values }, i) => curveOf(values, i, (value, at) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`))}
    </svg>
    <p class="legend">
      ${curves.map(({ name }, i) => html`<span><i style="background:${colorOf(i)}"></i>${name}</span>`)}
    </p>`;
}

function curveOf(
  values: readonly number[],
  i: number,
  point: (value: number, at: number) => string,
): Html {
  return html`<polyline
    class="curve"
    stroke="${colorOf(i)}"
    stroke-dasharray="${DASHES[i % DASHES.length] ?? ''}"
    points="${values.map(point).join(' ')}"
  />`;
}

function colorOf(i: number): string {
  return COLORS[i % COLORS.length] ?? '';
}

/** Sums from the first value on. */
export function summedUp(values: readonly number[]): number[] {
  let sum = 0;
  return values.map((value) => (sum += value));
}

/** Each value with those before it, so many: what goes up and down from one to the next shows its course. */
export function averaged(values: readonly number[], over: number): number[] {
  return values.map((_, at) => {
    const some = values.slice(Math.max(0, at + 1 - over), at + 1);
    return some.reduce((sum, value) => sum + value, 0) / some.length;
  });
}
