import type { BenchReport } from '../../bench/run';
import type { ReplayReport, ReplayRun } from '../../bench/replay';
import { humanSize } from '../../progress/units';
import { layOutTable } from './table';

/** Commits that are listed one by one. */
const LISTED = 30;

/** A replay for people. */
export function showReplay({ runs, notes, commits, range }: ReplayReport, all: boolean): string {
  const totals = layOutTable([
    [
      'DOCKERFILE',
      'POLICY',
      'STEPS',
      'HITS',
      'MISSES',
      'MAY HIT',
      'HIT RATIO',
      'REBUILT',
      'SAVED',
      'BYTES',
    ],
    ...runs.map(({ variant, policy, totals: sum }) => [
      variant,
      policy,
      String(sum.hits + sum.misses),
      String(sum.hits),
      String(sum.misses),
      String(sum.uncertain),
      percent(sum.hitRatio),
      time(sum.secondsRebuilt),
      time(sum.secondsSaved),
      humanSize(sum.bytesRebuilt),
    ]),
  ]);
  const said = notes.map((note) => `note: ${note}\n`).join('');
  return `${commits.length} commits of ${range}\n\n${totals}\n${runs.map((run) => showRun(run, runs.length > 1, all)).join('\n')}${said === '' ? '' : `\n${said}`}`;
}

function showRun(run: ReplayRun, named: boolean, all: boolean): string {
  const title = named ? `${run.variant}, ${run.policy}\n` : '';
  const instructions = layOutTable([
    ['INSTRUCTION', 'MISSES', 'OWN', 'REBUILT', 'EACH', 'MOSTLY'],
    ...run.instructions.map((row) => [
      cut(row.text, 60),
      `${row.misses}/${row.builds}`,
      String(row.ownMisses),
      time(row.secondsRebuilt),
      `${time(row.seconds)} ${row.timed}`,
      row.topCauses
        .slice(0, 1)
        .map(({ cause, count }) => `${cut(cause, 60)} (${count}×)`)
        .join(''),
    ]),
  ]);
  const listed = all ? run.commits : run.commits.slice(-LISTED);
  const left = run.commits.length - listed.length;
  const commits = layOutTable([
    ['COMMIT', 'HITS', 'MISSES', 'REBUILT', 'FIRST MISS', 'SUBJECT'],
    ...listed.map((commit) => [
      commit.id.slice(0, 10),
      String(commit.hits),
      String(commit.misses),
      time(commit.secondsRebuilt),
      commit.problem === undefined
        ? cut(commit.steps.find((step) => step.outcome !== 'hit')?.why ?? '', 60)
        : `cannot be built: ${cut(commit.problem, 60)}`,
      cut(commit.subject, 40),
    ]),
  ]);
  const advice = run.advice.map((item) => `advice: ${item.text}\n`).join('');
  return `${title}${instructions}\n${left > 0 ? `${left} earlier commits are not shown\n` : ''}${commits}${advice === '' ? '' : `\n${advice}`}`;
}

/** A line for each step of each commit. */
export function replayCsv({ runs }: ReplayReport): string {
  const rows = runs.flatMap(({ variant, policy, commits }) =>
    commits.flatMap((commit) =>
      commit.steps.map((step) => [
        variant,
        policy,
        commit.id,
        step.line,
        step.text,
        step.outcome,
        step.certain,
        step.seconds,
        step.bytes,
        step.why ?? '',
      ]),
    ),
  );
  return csv([
    [
      'dockerfile',
      'policy',
      'commit',
      'line',
      'instruction',
      'outcome',
      'certain',
      'seconds',
      'bytes',
      'cause',
    ],
    ...rows,
  ]);
}

/** Real builds for people. */
export function showBench({ title, samples }: BenchReport): string {
  return `${title}\n${layOutTable([
    ['BUILD', 'WALL', 'CPU', 'MEMORY', 'HITS', 'MISSES', 'HIT RATIO', ''],
    ...samples.map((sample) => [
      sample.name.slice(0, 12),
      `${sample.wallSeconds.toFixed(3)}s`,
      `${sample.cpuSeconds.toFixed(2)}s`,
      humanSize(sample.peakBytes),
      String(sample.hits),
      String(sample.misses),
      percent(sample.hitRatio),
      sample.problem ?? '',
    ]),
  ])}`;
}

export function benchCsv({ samples }: BenchReport): string {
  return csv([
    [
      'build',
      'wall_seconds',
      'cpu_seconds',
      'peak_bytes',
      'hits',
      'misses',
      'hit_ratio',
      'problem',
    ],
    ...samples.map((sample) => [
      sample.name,
      sample.wallSeconds,
      sample.cpuSeconds,
      sample.peakBytes,
      sample.hits,
      sample.misses,
      sample.hitRatio,
      sample.problem ?? '',
    ]),
  ]);
}

/** RFC 4180. */
function csv(rows: readonly (readonly (string | number | boolean)[])[]): string {
  return rows
    .map(
      (row) =>
        `${row.map((cell) => (/[",\r\n]/.test(String(cell)) ? `"${String(cell).replace(/"/g, '""')}"` : String(cell))).join(',')}\r\n`,
    )
    .join('');
}

function percent(ratio: number): string {
  return `${(ratio * 100).toFixed(1)}%`;
}

function time(seconds: number): string {
  if (seconds >= 3600) return `${(seconds / 3600).toFixed(1)}h`;
  return seconds >= 60 ? `${(seconds / 60).toFixed(1)}min` : `${seconds.toFixed(1)}s`;
}

function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}
