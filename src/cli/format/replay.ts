import type { Basis } from '../../bench/costs/cost';
import type { ReplayReport, ReplayRun, ReplayedCommit } from '../../bench/report';
import { humanSize } from '../../progress/units';
import { duration, percent } from '../../bench/words';
import { csvText, cut } from './bench-words';
import { layOutTable } from './table';

/** Commits that are listed one by one. */
const LISTED = 30;

/** A replay for people. */
export function showReplay(report: ReplayReport, all: boolean): string {
  const { runs, notes, commits, range, stoppedAfter } = report;
  const title =
    stoppedAfter === undefined
      ? `${commits.length} commits of ${range}`
      : `${commits.length} commits of ${range}, then the replay was stopped`;
  const parts = [
    `${title}\n`,
    totalsTable(runs),
    ...runs.map((run) => showRun(run, { isNamed: runs.length > 1, all })),
    [...basisNotes(report), ...notes].map((note) => `note: ${note}\n`).join(''),
  ];
  return parts.filter((part) => part !== '').join('\n');
}

function totalsTable(runs: readonly ReplayRun[]): string {
  return layOutTable([
    [
      'DOCKERFILE',
      'POLICY',
      'COMMITS',
      'NOT REPLAYED',
      'HITS',
      'MISSES',
      'MAY HIT',
      'HIT RATIO',
      'REBUILT',
      'SAVED',
      'BYTES',
    ],
    ...runs.map(({ variant, policy, totals }) => [
      variant,
      policy,
      String(totals.replayed),
      String(totals.refused + totals.unreadable),
      String(totals.hits),
      String(totals.misses),
      String(totals.uncertain),
      totals.hitRatio === undefined ? '-' : percent(totals.hitRatio),
      duration(totals.secondsRebuilt),
      duration(totals.secondsSaved),
      humanSize(totals.bytesRebuilt),
    ]),
  ]);
}

function showRun(
  run: ReplayRun,
  { isNamed, all }: { readonly isNamed: boolean; readonly all: boolean },
): string {
  const title = isNamed ? `${run.variant}, ${run.policy} (${run.checked})\n` : '';
  const parts = [
    title + instructionTable(run),
    rulesOf(run),
    commitTable(run, all),
    problemsOf(run),
    run.advice.map((item) => `advice: ${item.text}\n`).join(''),
  ];
  return parts.filter((part) => part !== '').join('\n');
}

function instructionTable({ instructions }: ReplayRun): string {
  return layOutTable([
    ['LINE', 'INSTRUCTION', 'MISSES', 'OWN', 'REBUILT', 'EACH', 'MOSTLY'],
    ...instructions.map((row) => [
      String(row.line),
      cut(row.text, 60),
      `${row.misses}/${row.builds}`,
      String(row.ownMisses),
      duration(row.secondsRebuilt),
      `${duration(row.seconds)} ${row.timed}`,
      row.topCauses
        .slice(0, 1)
        .map(({ cause, count }) => `${cut(cause, 60)} (${count}×)`)
        .join(''),
    ]),
  ]);
}

/** Where the policy differs from mbuild's own cache, and by which rule. */
function rulesOf({ rules, policy }: ReplayRun): string {
  return rules
    .map(({ text, misses, hits, seconds }) => {
      const counts = [
        ...(misses === 0 ? [] : [`${misses} more built`]),
        ...(hits === 0 ? [] : [`${hits} more found`]),
      ];
      return `${policy}: ${counts.join(', ')}, ${duration(Math.abs(seconds))} ${seconds < 0 ? 'less' : 'more'}: ${text}\n`;
    })
    .join('');
}

function commitTable({ commits }: ReplayRun, all: boolean): string {
  const replayed = commits.filter(({ problem }) => problem === undefined);
  const listed = all ? replayed : replayed.slice(-LISTED);
  const left = replayed.length - listed.length;
  const table = layOutTable([
    ['COMMIT', 'HITS', 'MISSES', 'REBUILT', 'FIRST MISS', 'SUBJECT'],
    ...listed.map((commit) => [
      commit.id.slice(0, 10),
      String(commit.hits),
      String(commit.misses),
      duration(commit.secondsRebuilt),
      cut(commit.steps.find((step) => step.outcome !== 'hit')?.why ?? '', 60),
      cut(commit.subject, 40),
    ]),
  ]);
  return `${left > 0 ? `${left} earlier commits are not shown\n` : ''}${table}`;
}

/** Commits that count in no sum, by what is in their way. */
function problemsOf({ commits }: ReplayRun): string {
  const found = new Map<string, ReplayedCommit[]>();
  for (const commit of commits) {
    if (commit.problem === undefined) continue;
    const { kind, message } = commit.problem;
    const text = `${kind === 'refused' ? 'a build is refused' : 'not in this repository'}: ${message}`;
    found.set(text, [...(found.get(text) ?? []), commit]);
  }
  return [...found]
    .map(([text, some]) => {
      const ids = some.slice(0, 3).map(({ id }) => id.slice(0, 10));
      const more = some.length > ids.length ? ` and ${some.length - ids.length} more` : '';
      return `not replayed: ${some.length} commit${some.length === 1 ? '' : 's'} (${ids.join(', ')}${more}): ${text}\n`;
    })
    .join('');
}

const BASES: Readonly<Record<Basis, string>> = {
  given: 'given with --durations',
  recorded: 'recorded by builds of this store',
  modelled: 'by the model',
  assumed: 'assumed',
  computed: 'by the bytes copied',
};

/** What the seconds rest on. */
function basisNotes({ runs, model }: ReplayReport): string[] {
  const [first] = runs;
  if (first === undefined) return [];
  const parts = Object.entries(first.totals.rebuiltBy)
    .filter(([, seconds]) => seconds > 0)
    .map(([basis, seconds]) => `${duration(seconds)} ${BASES[basis as Basis]}`);
  const error =
    model.medianFactor === undefined
      ? `no step has a record to compare the model with`
      : `half of the ${model.steps} steps with a record are off by no more than a factor of ${model.medianFactor.toFixed(1)}`;
  return parts.length === 0
    ? []
    : [
        `of what is rebuilt ${parts.join(', ')}${'modelled' in first.totals.rebuiltBy ? `; ${error}` : ''}`,
      ];
}

/** A line for each step of each commit; a commit that was not replayed has a line that says why. */
export function replayCsv({ runs }: ReplayReport): string {
  const rows = runs.flatMap(({ variant, policy, commits }) =>
    commits.flatMap(({ id, problem, steps }) => {
      if (problem !== undefined)
        return [[variant, policy, id, '', '', problem.kind, '', '', '', problem.message]];
      return steps.map((step) => [
        variant,
        policy,
        id,
        step.line,
        step.text,
        step.outcome,
        step.certain,
        step.seconds,
        step.bytes,
        step.why ?? '',
      ]);
    }),
  );
  const head = [
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
  ];
  return csvText([head, ...rows]);
}
