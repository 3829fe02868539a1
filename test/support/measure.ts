// Prints what the form of the source is held to: `npm run measure`.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { circlesIn, edges, readImports } from './import-graph';

/** A line of oxlint's JSON output, as far as it is read here. */
interface Finding {
  readonly message: string;
  /** `eslint(max-lines)` */
  readonly code: string;
  readonly filename: string;
  readonly labels: readonly { readonly span: { readonly line: number } }[];
}

/** One row of what is printed. */
interface Measure {
  readonly name: string;
  readonly value: string;
  /** What it is held to, if to something. */
  readonly goal?: string;
  /** Where the worst is. */
  readonly at?: string;
}

const ROOT = process.cwd();
const WIDTH = 100;

/** Every size and every ternary is a finding, so that the linter counts as it will judge. */
const COUNT_ALL = join(ROOT, 'test/support/measure.oxlintrc.json');

const { files } = readImports(join(ROOT, 'src'));
const texts = files.map((file) => readFileSync(join(ROOT, 'src', file), 'utf8'));
const lines = texts.flatMap((text) => text.split('\n'));
const findings = lint();

const measures: readonly Measure[] = [
  { name: `lines over ${WIDTH}`, ...longLines(), goal: 'prose alone' },
  { name: 'longest function', ...largest('max-lines-per-function'), goal: '60' },
  { name: 'files over 400 lines', ...filesOver(400), goal: '0' },
  { name: 'most parameters', ...largest('max-params'), goal: '4' },
  { name: 'circles, with types', ...circles(), goal: '0' },
  { name: 'ternaries per 1,000 lines', value: perThousand(of('no-ternary').length) },
  { name: 'nested ternaries', ...first(of('no-nested-ternary')), goal: '0' },
  { name: 'test:code', value: testToCode() },
  { name: 'README lines', value: String(linesOf('README.md')), goal: '150' },
];

for (const { name, value, goal, at } of measures)
  console.log(
    [
      name.padEnd(27),
      value.padStart(6),
      `  ${goal === undefined ? '' : `goal ${goal}`}`.padEnd(20),
      at ?? '',
    ]
      .join('')
      .trimEnd(),
  );

function lint(): readonly Finding[] {
  const args = ['-c', COUNT_ALL, '--format', 'json', 'src'];
  const { stdout } = spawnSync(join(ROOT, 'node_modules/.bin/oxlint'), args, {
    cwd: ROOT,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  return (JSON.parse(stdout) as { diagnostics: readonly Finding[] }).diagnostics;
}

function of(rule: string): readonly Finding[] {
  return findings.filter(({ code }) => code === `eslint(${rule})`);
}

/** The number in parentheses in a message, such as `has too many lines (31)`. */
function sizeOf({ message }: Finding): number {
  return Number(/\((\d+)\)/.exec(message)?.[1] ?? 0);
}

function placeOf({ filename, labels }: Finding): string {
  return `${filename}:${labels[0]?.span.line ?? 1}`;
}

function largest(rule: string): Pick<Measure, 'value' | 'at'> {
  const [worst] = of(rule).toSorted((a, b) => sizeOf(b) - sizeOf(a));
  return worst === undefined
    ? { value: '0' }
    : { value: String(sizeOf(worst)), at: placeOf(worst) };
}

function first(found: readonly Finding[]): Pick<Measure, 'value' | 'at'> {
  const [one] = found;
  return { value: String(found.length), ...(one === undefined ? {} : { at: placeOf(one) }) };
}

function filesOver(limit: number): Pick<Measure, 'value' | 'at'> {
  const over = of('max-lines').filter((finding) => sizeOf(finding) > limit);
  return { value: String(over.length), at: over.map(({ filename }) => filename).join(' ') };
}

/** Comments and long texts: code is broken by the formatter. */
function longLines(): Pick<Measure, 'value' | 'at'> {
  const counts = texts.map((text) => text.split('\n').filter((line) => line.length > WIDTH).length);
  const code = lines.filter((line) => line.length > WIDTH && !/^\s*(\*|\/\/|\/\*)/.test(line));
  const sum = counts.reduce((total, count) => total + count, 0);
  return { value: String(sum), at: `${sum - code.length} in comments` };
}

function circles(): Pick<Measure, 'value' | 'at'> {
  const found = circlesIn(edges(readImports(join(ROOT, 'src'))));
  return { value: String(found.length), at: found.map((one) => one.join(' ↔ ')).join('; ') };
}

function perThousand(count: number): string {
  return ((1000 * count) / lines.length).toFixed(1);
}

function testToCode(): string {
  const tests = readImports(join(ROOT, 'test')).files.map((file) => linesOf(join('test', file)));
  return (tests.reduce((sum, count) => sum + count, 0) / lines.length).toFixed(2);
}

function linesOf(file: string): number {
  return readFileSync(join(ROOT, file), 'utf8').trimEnd().split('\n').length;
}
