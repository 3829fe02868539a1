import type { Explanation } from '../../api/results';
import type { BuildRecord, StepRecord } from '../../history/build-record';
import { comparedWith, summaryLine, usageText } from '../../history/build-record';
import { causesLine, causeText, type Cause } from '../../history/cause';
import { MbuildError } from '../../diagnostics/error';
import { seconds } from '../../progress/units';
import type { ListRow, ListShape } from './list';
import { humanSince } from './time';

/** `mbuild builds`. */
export const buildsShape: ListShape = {
  fields: {
    ID: 'BUILD',
    Name: 'DOCKERFILE',
    CreatedSince: 'STARTED',
    Duration: 'DURATION',
    Status: 'STATUS',
    Cached: 'CACHED',
    Saved: 'SAVED',
    Image: 'IMAGE',
    Context: 'CONTEXT',
    Version: 'VERSION',
  },
  columns: [
    'ID',
    'Name',
    'CreatedSince',
    'Duration',
    'Status',
    'Cached',
    'Saved',
    'Image',
    'Context',
  ],
};

export function buildRow(record: BuildRecord, now: number): ListRow {
  const { cache, result } = record;
  return {
    ID: record.id,
    Name:
      record.target === undefined ? record.dockerfile : `${record.dockerfile} (${record.target})`,
    CreatedSince: humanSince(record.started, now),
    CreatedAt: record.started,
    Duration: seconds(record.durationMs),
    Status: record.error === undefined ? record.outcome : `${record.outcome}: ${record.error.code}`,
    Cached: `${cache.hits}/${cache.hits + cache.misses}`,
    Saved: `${cache.secondsSaved.toFixed(1)}s`,
    Image: result?.names[0] ?? result?.imageId?.slice(7, 19) ?? '',
    Context: record.context,
    Version: '1',
  };
}

/**
 * The steps of a build that a word means: a number (`4`, `build 4`), a line of the Dockerfile
 * (`:7`), or part of the instruction.
 * @throws MbuildError USAGE when it means none.
 */
export function stepsOf(record: BuildRecord, word: string | undefined): readonly StepRecord[] {
  if (word === undefined) return record.steps;
  const given = word;
  const line = /^:(\d+)$/.exec(word)?.[1];
  const numbered = record.steps.filter(({ name }) => {
    const [, stage, number] = /^\[(?:(\S+) )?\s*(\d+)\//.exec(name) ?? [];
    return number === word || `${stage ?? ''} ${number ?? ''}` === word;
  });
  const found = foundSteps();
  if (found.length > 0) return found;
  throw new MbuildError('USAGE', `build ${record.id} has no step ${word}`, {
    hint: `its steps are ${record.steps.map((step) => step.name).join(', ')}`,
  });

  function foundSteps(): readonly StepRecord[] {
    if (line !== undefined) return record.steps.filter((step) => step.line === Number(line));
    if (numbered.length > 0) return numbered;
    return record.steps.filter((step) => step.text.includes(given) || step.name.includes(given));
  }
}

/** The whole story of a build's misses. */
export function explainBuild(
  record: BuildRecord,
  steps: readonly StepRecord[],
  now: number,
): string {
  const failed =
    record.error === undefined
      ? ''
      : `\nit failed with ${record.error.code}: ${record.error.message}`;
  const head = `${summaryLine(record.id, record.cache)}\n${record.dockerfile} in ${record.context}, ${humanSince(record.started, now)}${failed}\n${steps === record.steps ? beginnings(steps) : ''}`;
  return [head, ...steps.map(explainStep)].join('\n');
}

/** The misses that brought the others about, where some did. */
function beginnings(steps: readonly StepRecord[]): string {
  const stages = new Set(steps.map(({ stage }) => stage));
  const isFollowing = ({ text, causes = [] }: StepRecord): boolean =>
    causes.every(({ kind }) => kind === 'parent') ||
    stages.has(/--from=(\S+)/.exec(text)?.[1] ?? '');
  const missed = steps.filter(({ cached }) => !cached);
  const first = missed.filter((step) => !isFollowing(step));
  if (first.length === 0 || first.length === missed.length) return '';
  return `\nit began with\n${first.map(({ name, line, causes = [] }) => `  ${name} (line ${line}): ${causesLine(causes)}\n`).join('')}`;
}

function explainStep(step: StepRecord): string {
  const head = `${step.name}  (line ${step.line})\n`;
  if (step.cached)
    return `${head}  from the cache${step.from === undefined ? '' : ` of ${step.from}`}; it ran ${seconds(step.durationMs)}${step.madeBy === undefined ? '' : ` in build ${step.madeBy}`}\n`;
  const ran =
    step.failed === true
      ? 'did not succeed'
      : `ran ${seconds(step.durationMs)}${step.usage === undefined ? '' : ` (${usageText(step.usage)})`}${step.kept === true ? ', same result as before, kept' : ''}`;
  const compared = step.earlier === undefined ? '' : `; ${comparedWith(step.earlier)}`;
  const causes = (step.causes ?? [])
    .map((cause) => `    ${causeText(cause)}${details(cause)}\n`)
    .join('');
  return `${head}  not cached, ${ran}${compared}\n${causes}`;
}

/** What the line leaves out: the values of ENV, and the instruction as it is now. */
function details(cause: Cause): string {
  if (
    cause.kind === 'variable' &&
    cause.instruction === 'ENV' &&
    cause.before !== undefined &&
    cause.after !== undefined
  )
    return `: ${cause.before} → ${cause.after}`;
  if (cause.kind === 'variable' && (cause.unused === true || cause.unnamed === true))
    return '; every RUN below an ARG depends on it, so declare it just before the step that needs it';
  return cause.kind === 'instruction' ? `, now: ${cause.after}` : '';
}

/** The same for programs. */
export function explainJson(record: BuildRecord, steps: readonly StepRecord[]): Explanation {
  return {
    version: 1,
    build: record.id,
    started: record.started,
    dockerfile: record.dockerfile,
    context: record.context,
    outcome: record.outcome,
    cache: record.cache,
    steps: steps.map(
      ({
        name,
        stage,
        index,
        line,
        text,
        key,
        cached,
        kept,
        failed,
        durationMs,
        usage,
        madeBy,
        from,
        earlier,
        causes,
      }) => ({
        name,
        stage,
        index,
        line,
        text,
        key,
        cached,
        kept: kept ?? false,
        failed: failed ?? false,
        durationMs,
        usage,
        madeBy,
        from,
        earlier,
        causes: (causes ?? []).map((cause) => ({ ...cause, text: causeText(cause) })),
      }),
    ),
  };
}
