import type { InstructionTotals, ReplayReport, ReplayRun } from '../bench/report';
import { duration, percent } from '../bench/words';
import { humanSize } from '../progress/units';
import { averaged, chart, summedUp, type Curve } from './chart';
import { html, page, type Html } from './page';
import { SORT_SCRIPT, sortableTable, type Cell } from './table';

/** Builds that a point of the curve of hit ratios is the average of. */
const AVERAGED = 10;
/** Pictures of longer histories show several builds in one place. */
const MAX_COLUMNS = 400;

/** What a character of a strip stands for: see `InstructionTotals.strip`. The worst of several is shown. */
const MARKS = [
  { mark: 'o', color: 'var(--bad)', text: 'built: its own inputs changed' },
  { mark: 'x', color: 'var(--pull)', text: 'built: what is below it changed' },
  { mark: 'e', color: 'var(--export)', text: 'built: not kept' },
  { mark: '?', color: 'var(--run)', text: 'built, or found if a step left what was there' },
  { mark: '.', color: 'var(--hit)', text: 'found' },
] as const;

/** A replay as a page of HTML: curves over the builds, what each instruction cost, policies side by side, advice. */
export function replayPage(report: ReplayReport): string {
  const { runs, commits, range, notes, patch } = report;
  const title = `Layer cache over ${commits.length} builds of ${range}`;
  const curves = (values: (run: ReplayRun) => readonly number[]): Curve[] =>
    runs.map((run) => ({ name: nameOf(run), values: values(run) }));
  const body = html`<h1>${title}</h1>
    ${headline(runs)} ${totalsTable(runs)} ${advicePart(runs, patch)}
    <h2>Seconds rebuilt, summed up over the builds</h2>
    ${chart(
      curves((run) => summedUp(replayed(run).map((commit) => commit.secondsRebuilt))),
      duration,
    )}
    <h2>Hit ratio, the average of ${AVERAGED} builds</h2>
    ${chart(
      curves((run) =>
        averaged(
          replayed(run).map((commit) => commit.hitRatio ?? 0),
          AVERAGED,
        ),
      ),
      percent,
    )}
    ${runs.map(runSection)}
    <h2>What the figures rest on</h2>
    <ul>
      ${[...basis(report), ...notes].map((note) => html`<li class="soft">${note}</li>`)}
    </ul>`;
  return page(title, body, SORT_SCRIPT);
}

function nameOf({ variant, policy }: ReplayRun): string {
  return `${variant}, ${policy}`;
}

function replayed({ commits }: ReplayRun): ReplayRun['commits'] {
  return commits.filter(({ problem }) => problem === undefined);
}

function headline([first]: readonly ReplayRun[]): Html {
  if (first === undefined) return html``;
  const {
    hitRatio,
    secondsRebuilt,
    secondsSaved,
    replayed: builds,
    refused,
    unreadable,
  } = first.totals;
  const numbers = [
    [hitRatio === undefined ? '-' : percent(hitRatio), 'of the steps are found'],
    [duration(secondsRebuilt), 'is rebuilt'],
    [duration(secondsSaved), 'is saved'],
    [String(builds), 'builds are replayed'],
    [String(refused + unreadable), 'are not'],
  ] as const;
  return html`<p class="soft">${nameOf(first)}</p>
    <ul class="numbers">
      ${numbers.map(([figure, text]) => html`<li><b>${figure}</b>${text}</li>`)}
    </ul>`;
}

function totalsTable(runs: readonly ReplayRun[]): Html {
  return html`<h2>Dockerfiles and policies</h2>
    ${sortableTable(
      [
        { title: 'Dockerfile' },
        { title: 'Policy' },
        { title: 'Builds', isNumber: true },
        { title: 'Not replayed', isNumber: true },
        { title: 'Hits', isNumber: true },
        { title: 'Misses', isNumber: true },
        { title: 'Hit ratio', isNumber: true },
        { title: 'Rebuilt', isNumber: true },
        { title: 'Saved', isNumber: true },
        { title: 'Bytes', isNumber: true },
        { title: 'How it is known' },
      ],
      runs.map(({ variant, policy, checked, totals }) => [
        variant,
        policy,
        count(totals.replayed),
        count(totals.refused + totals.unreadable),
        count(totals.hits),
        count(totals.misses),
        {
          shown: totals.hitRatio === undefined ? '-' : percent(totals.hitRatio),
          value: totals.hitRatio ?? -1,
        },
        seconds(totals.secondsRebuilt),
        seconds(totals.secondsSaved),
        bytes(totals.bytesRebuilt),
        checked,
      ]),
    )}`;
}

function advicePart(runs: readonly ReplayRun[], patch: string | undefined): Html {
  const all = runs.flatMap(({ variant, advice }) => advice.map((item) => ({ variant, ...item })));
  if (all.length === 0) return html``;
  return html`<h2>Advice</h2>
    <ol class="advice">
      ${all.map(
        ({ variant, kind, instruction, line, what, because, ...saved }) =>
          html`<li>
            <code>${instruction}</code>
            <span class="soft">${kind === 'ignore' ? variant : `${variant}, line ${line}`}</span
            ><br />
            ${what}: <b>${duration(saved.secondsSaved)}</b> and
            ${humanSize(Math.max(0, saved.bytesSaved), 3)} less over ${saved.commits} builds,
            ${saved.proof === 'replayed' ? 'shown by a replay of the changed file' : 'estimated in part by the model'}.
            <br /><span class="soft">${because}</span>
          </li>`,
      )}
    </ol>
    ${
      patch === undefined
        ? html``
        : html`<details>
            <summary>All advice as a patch for git apply; nothing has been applied</summary>
            <pre>${patch}</pre>
          </details>`
    }`;
}

function runSection(run: ReplayRun): Html {
  return html`<h2>${nameOf(run)}</h2>
    ${rulesPart(run)}
    <p class="legend">
      ${MARKS.map(({ color, text }) => html`<span><i style="background:${color}"></i>${text}</span>`)}
    </p>
    ${instructionsTable(run)} ${commitsPart(run)} ${problemsPart(run)}`;
}

function rulesPart({ rules }: ReplayRun): Html {
  if (rules.length === 0) return html``;
  return html`<p>It differs from mbuild's own cache:</p>
    ${sortableTable(
      [
        { title: 'Rule' },
        { title: 'More built', isNumber: true },
        { title: 'More found', isNumber: true },
        { title: 'Seconds', isNumber: true },
      ],
      rules.map(({ text, misses, hits, seconds: more }) => [
        text,
        count(misses),
        count(hits),
        { shown: `${more < 0 ? '−' : '+'}${duration(Math.abs(more))}`, value: more },
      ]),
    )}`;
}

function instructionsTable({ instructions }: ReplayRun): Html {
  return sortableTable(
    [
      { title: 'Line', isNumber: true },
      { title: 'Instruction' },
      { title: 'Builds' },
      { title: 'Misses', isNumber: true },
      { title: 'Own', isNumber: true },
      { title: 'Rebuilt', isNumber: true },
      { title: 'Each', isNumber: true },
      { title: 'Mostly' },
    ],
    instructions.map((row) => [
      count(row.line),
      html`<code>${row.text}</code
        >${row.unknown.map((text) => html`<br /><span class="soft">${text}</span>`)}`,
      { shown: stripOf(row), value: row.misses / Math.max(1, row.builds) },
      { shown: `${row.misses} of ${row.builds}`, value: row.misses },
      count(row.ownMisses),
      seconds(row.secondsRebuilt),
      {
        shown: html`${duration(row.seconds)}<br /><span class="soft">${row.timed}</span>`,
        value: row.seconds,
      },
      row.topCauses.map(({ cause, count: times }) => `${cause} (${times}×)`).join('; '),
    ]),
  );
}

/** The builds from left to right; neighbours of one kind are one piece. */
function stripOf({ strip, misses, builds, text }: InstructionTotals): Html {
  const columns = columnsOf(strip);
  const pieces: { mark: string; from: number; length: number }[] = [];
  for (const [at, mark] of [...columns].entries()) {
    const last = pieces.at(-1);
    if (last?.mark === mark) last.length++;
    else pieces.push({ mark, from: at, length: 1 });
  }
  const rects = pieces.flatMap(({ mark, from, length }) => {
    const color = MARKS.find((known) => known.mark === mark)?.color;
    return color === undefined
      ? []
      : [html`<rect x="${from}" y="0" width="${length}" height="10" fill="${color}" />`];
  });
  return html`<svg
    class="strip"
    viewBox="0 0 ${Math.max(1, columns.length)} 10"
    preserveAspectRatio="none"
    role="img"
  >
    <title>${text}: built in ${misses} of ${builds}</title>
    ${rects}
  </svg>`;
}

function columnsOf(strip: string): string {
  if (strip.length <= MAX_COLUMNS) return strip;
  const each = strip.length / MAX_COLUMNS;
  return Array.from({ length: MAX_COLUMNS }, (_, column) => {
    const some = strip.slice(Math.floor(column * each), Math.floor((column + 1) * each));
    return MARKS.find(({ mark }) => some.includes(mark))?.mark ?? ' ';
  }).join('');
}

function commitsPart(run: ReplayRun): Html {
  return html`<details>
    <summary>The commits one by one</summary>
    ${sortableTable(
      [
        { title: 'Commit' },
        { title: 'Hits', isNumber: true },
        { title: 'Misses', isNumber: true },
        { title: 'Rebuilt', isNumber: true },
        { title: 'First miss' },
        { title: 'Subject' },
      ],
      replayed(run).map((commit) => [
        html`<span class="mono">${commit.id.slice(0, 10)}</span>`,
        count(commit.hits),
        count(commit.misses),
        seconds(commit.secondsRebuilt),
        commit.steps.find((step) => step.outcome !== 'hit')?.why ?? '',
        commit.subject,
      ]),
    )}
  </details>`;
}

function problemsPart({ commits }: ReplayRun): Html {
  const problems = commits.filter(({ problem }) => problem !== undefined);
  if (problems.length === 0) return html``;
  return html`<details>
    <summary>${problems.length} commits that were not replayed and are not part of any sum</summary>
    ${sortableTable(
      [{ title: 'Commit' }, { title: 'What' }, { title: 'Why' }, { title: 'Subject' }],
      problems.map(({ id, subject, problem }) => [
        html`<span class="mono">${id.slice(0, 10)}</span>`,
        problem?.kind === 'refused' ? 'a build is refused' : 'not in this repository',
        problem?.message ?? '',
        subject,
      ]),
    )}
  </details>`;
}

function basis({ runs, model }: ReplayReport): string[] {
  const parts = Object.entries(runs[0]?.totals.rebuiltBy ?? {}).map(
    ([name, value]) => `${duration(value)} ${name}`,
  );
  const error =
    model.medianFactor === undefined
      ? 'no step has a record to compare the model with'
      : `of ${model.steps} steps with a record, half are off the model by no more than a factor of ${model.medianFactor.toFixed(1)}`;
  return parts.length === 0 ? [] : [`Rebuilt: ${parts.join(', ')}; ${error}`];
}

function count(value: number): Cell {
  return { shown: String(value), value };
}

function seconds(value: number): Cell {
  return { shown: duration(value), value };
}

function bytes(value: number): Cell {
  return { shown: humanSize(value, 3), value };
}
