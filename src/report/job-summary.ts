import type { BuildResult, StepResult } from '../build';
import type { ErrorJson } from '../diagnostics/render';
import { visible } from '../diagnostics/visible';
import { humanSize, seconds } from '../progress/units';

/** Rows of a table; of more the rest is counted. */
const MOST_MISSES = 40;
const MOST_SLOW = 10;
/** Characters of a text in a table, and of the output of a step that failed. */
const MOST_TEXT = 300;
const MOST_OUTPUT = 20_000;

/** A build, and what is known of it besides. */
export interface SummarizedBuild {
  /** The target of a bake file. */
  readonly title?: string | undefined;
  readonly result: BuildResult;
  /** Bytes of the image's layers as the store has them. */
  readonly size?: number | undefined;
}

/** What came of builds as Markdown, for the summary page of a CI job. A build takes less than 64 KiB. */
export function jobSummary(builds: readonly SummarizedBuild[], durationMs: number): string {
  return `${builds.map((build) => buildSection(build, durationMs)).join('\n')}\n`;
}

/** A failure as Markdown. */
export function failureSummary(error: ErrorJson): string {
  const place = error.file === undefined ? '' : ` at ${code(`${error.file}:${error.line ?? 1}`)}`;
  const output = (error.output ?? '').trimEnd().slice(-MOST_OUTPUT);
  return [
    `### mbuild: the build failed${place}`,
    '',
    `${text(error.message)} ${code(error.code)}`,
    ...(error.hint === undefined ? [] : ['', `Hint: ${text(error.hint)}`]),
    ...(output === '' ? [] : ['', `<pre>${output.split('\n').map(entities).join('\n')}</pre>`]),
    '',
    '',
  ].join('\n');
}

function buildSection({ title, result, size }: SummarizedBuild, durationMs: number): string {
  const { cache, steps, images, warnings, buildId } = result;
  const total = cache.hits + cache.misses;
  const name = title ?? result.names[0];
  return [
    `### mbuild: ${name === undefined ? 'build' : text(name)}`,
    '',
    ...table(
      ['steps from the cache', 'time saved', 'not made again', 'time', 'size', 'warnings'],
      [
        [
          `${cache.hits} of ${total}`,
          seconds(cache.secondsSaved * 1000),
          humanSize(cache.bytesSaved, 3),
          seconds(durationMs),
          size === undefined ? '' : humanSize(size, 3),
          String(warnings.length),
        ],
      ],
    ),
    ...imageTable(images),
    ...missTable(steps),
    ...slowTable(steps),
    `Build ${code(buildId)}`,
    '',
  ].join('\n');
}

function imageTable(images: BuildResult['images']): string[] {
  return table(
    ['image', 'platform', 'digest'],
    images.map(({ names, platform, descriptor }) => [
      names.map(text).join('<br>'),
      text(platform),
      code(descriptor.digest),
    ]),
  );
}

function missTable(steps: readonly StepResult[]): string[] {
  const missed = steps.filter(({ missed: causes }) => causes !== undefined);
  return table(
    ['not from the cache', 'why', 'time', 'layer'],
    missed
      .slice(0, MOST_MISSES)
      .map((step) => [
        code(step.name),
        text((step.missed ?? []).join(', ')),
        seconds(step.durationMs),
        step.layer === undefined ? '' : humanSize(step.layer.size, 3),
      ]),
    missed.length,
  );
}

function slowTable(steps: readonly StepResult[]): string[] {
  const ran = slowest(steps);
  return table(
    ['slowest steps', 'time', 'layer'],
    ran
      .slice(0, MOST_SLOW)
      .map((step) => [
        code(step.name),
        seconds(step.durationMs),
        step.layer === undefined ? '' : humanSize(step.layer.size, 3),
      ]),
    Math.min(ran.length, MOST_SLOW),
  );
}

/** The steps that ran now, the slowest first. */
export function slowest(steps: readonly StepResult[]): StepResult[] {
  return steps.filter(({ cached }) => !cached).sort((a, b) => b.durationMs - a.durationMs);
}

function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  total = rows.length,
): string[] {
  if (rows.length === 0) return [];
  const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [
    row(head),
    row(head.map(() => '---')),
    ...rows.map(row),
    ...(total > rows.length ? ['', `and ${total - rows.length} more`] : []),
    '',
  ];
}

function code(given: string): string {
  return `<code>${text(given)}</code>`;
}

/** A foreign text in which neither Markdown nor HTML means anything, and no table ends. */
function text(given: string): string {
  const shown = visible(given);
  return entities(shown.length > MOST_TEXT ? `${shown.slice(0, MOST_TEXT)}…` : shown);
}

function entities(given: string): string {
  return visible(given).replace(/[&<>|`*_[\]()#~!\\@]/g, (letter) => `&#${letter.charCodeAt(0)};`);
}
