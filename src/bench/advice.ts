import type { AnalysedCommit, AnalysedStep } from './replay';

/** Something that would have made the history's builds shorter. Nothing is changed by it: whether it may be done, a person must judge. */
export interface Advice {
  readonly kind: 'move-copy' | 'split-copy' | 'move-arg';
  /** The instruction, with its line in the last commit. */
  readonly instruction: string;
  readonly line: number;
  /** Behind which instruction it would go. */
  readonly behind: string;
  readonly behindLine: number;
  /** Over all commits. */
  readonly secondsSaved: number;
  readonly builds: number;
  readonly text: string;
}

/** Files that say what a package manager installs: a step that installs needs these and no other. */
const LOCK_FILES =
  /(?:^|\/)(?:package\.json|package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.yaml|pnpm-workspace\.yaml|\.npmrc|bun\.lockb?|requirements[^/]*\.txt|Pipfile(?:\.lock)?|pyproject\.toml|poetry\.lock|uv\.lock|setup\.(?:py|cfg)|go\.(?:mod|sum)|Cargo\.(?:toml|lock)|Gemfile(?:\.lock)?|composer\.(?:json|lock)|pom\.xml|build\.gradle(?:\.kts)?|settings\.gradle(?:\.kts)?|gradle\.properties|mix\.(?:exs|lock))$/;
const INSTALLS =
  /\b(?:npm (?:ci|i|install)|yarn(?: install)?\b|pnpm (?:i|install|fetch)|bun install|pip3? install|poetry install|uv (?:sync|pip)|go mod download|cargo fetch|bundle install|composer install|mvn .*dependency|gradle .*dependencies|mix deps\.get)/;
/** Commands that need nothing of the project: they install or set up a system. */
const SYSTEM =
  /^RUN (?:--\S+ )*(?:set -\S+[;&\s]+)?(?:apt-get|apt|apk|yum|dnf|microdnf|zypper|pacman|useradd|adduser|groupadd|addgroup|locale-gen|update-ca-certificates|corepack|npm (?:i|install) (?:-g|--global)|curl|wget)\b/;
const MIN_SECONDS = 0.001;
const MOST = 5;

/**
 * Where an instruction that changes often stands above steps that were built anew for its sake alone: how much it would have saved
 * to have it below them. A copy is proposed to be moved behind steps that set up a system and do not name what it copies, an ARG
 * behind steps that do not name it; more cannot be known from texts.
 */
export function advise(commits: readonly AnalysedCommit[]): Advice[] {
  const last = commits.findLast((commit) => commit.steps.length > 0);
  if (last === undefined) return [];
  const found = last.steps.flatMap((step, index) =>
    [moveCopy(step, index, last, commits), splitCopy(step, index, last, commits)].filter(
      (advice) => advice !== undefined,
    ),
  );
  found.push(...moveArgs(last, commits));
  return found.sort((a, b) => b.secondsSaved - a.secondsSaved).slice(0, MOST);
}

function moveCopy(
  step: AnalysedStep,
  index: number,
  last: AnalysedCommit,
  commits: readonly AnalysedCommit[],
): Advice | undefined {
  if (step.kind !== 'copy') return undefined;
  const below = stepsBelow(index, last).filter((at) => at > index);
  const words = namesOf(step.text);
  const end = below.findIndex((at) => {
    const text = last.steps[at]?.text ?? '';
    return (
      words.some((word) => text.includes(word)) ||
      (last.steps[at]?.kind === 'run' && !SYSTEM.test(text))
    );
  });
  return adviceOf(
    'move-copy',
    step,
    end < 0 ? below : below.slice(0, end),
    last,
    commits,
    (root) => root.text === step.text,
    (behind, seconds, builds) =>
      `${step.text} (line ${step.line}) changed in ${builds} build${builds === 1 ? '' : 's'}; below ${behind.text} (line ${behind.line}) it would have saved ${seconds}`,
  );
}

/** `COPY . .` above an installing step: the files that the step needs could come first. */
function splitCopy(
  step: AnalysedStep,
  index: number,
  last: AnalysedCommit,
  commits: readonly AnalysedCommit[],
): Advice | undefined {
  if (step.kind !== 'copy' || step.fromStage) return undefined;
  const below = stepsBelow(index, last);
  const end = below.findLastIndex((at) => INSTALLS.test(last.steps[at]?.text ?? ''));
  if (end < 0) return undefined;
  const harmless = (root: AnalysedStep): boolean =>
    root.text === step.text &&
    root.causes.length > 0 &&
    root.causes.every(
      (cause) => cause.kind === 'parent' || (cause.kind === 'file' && !LOCK_FILES.test(cause.path)),
    );
  return adviceOf(
    'split-copy',
    step,
    below.slice(0, end + 1),
    last,
    commits,
    harmless,
    (behind, seconds, builds) =>
      `${step.text} (line ${step.line}) brings files that ${behind.text} (line ${behind.line}) does not install from, and they alone changed in ${builds} build${builds === 1 ? '' : 's'}; ` +
      `copied first what it installs from, and the rest behind it, would have saved ${seconds}`,
  );
}

/** ARGs that change from commit to commit above steps that do not name them. */
function moveArgs(last: AnalysedCommit, commits: readonly AnalysedCommit[]): Advice[] {
  const lines = new Map<string, number>();
  for (const cause of commits.flatMap((commit) => commit.steps.flatMap((step) => step.causes))) {
    if (cause.kind === 'variable' && cause.instruction === 'ARG' && cause.line !== undefined)
      lines.set(cause.name, cause.line);
  }
  return [...lines].flatMap(([name, line]): Advice[] => {
    const stage = last.steps.find((step) => step.line > line)?.stage;
    const below = last.steps.flatMap((step, at) =>
      step.stage === stage && step.line > line ? [at] : [],
    );
    const end = below.findIndex((at) => last.steps[at]?.text.includes(name));
    const first = last.steps[below[0] ?? -1];
    if (first === undefined) return [];
    const only = (root: AnalysedStep): boolean =>
      root.causes.every(
        (cause) => cause.kind === 'parent' || (cause.kind === 'variable' && cause.name === name),
      );
    const advice = adviceOf(
      'move-arg',
      first,
      end < 0 ? below : below.slice(0, end),
      last,
      commits,
      only,
      (behind, seconds, builds) =>
        `ARG ${name} (line ${line}) changed in ${builds} build${builds === 1 ? '' : 's'}; declared below ${behind.text} (line ${behind.line}) it would have saved ${seconds}`,
    );
    return advice === undefined ? [] : [{ ...advice, instruction: `ARG ${name}`, line }];
  });
}

/** Steps of the same stage below one, as far as they stand on it. */
function stepsBelow(index: number, { steps }: AnalysedCommit): number[] {
  const stage = steps[index]?.stage;
  return steps.flatMap((step, at) => (at > index && step.stage === stage ? [at] : []));
}

/** What the steps in between cost in builds in which nothing but the moved one made them miss. */
function adviceOf(
  kind: Advice['kind'],
  step: AnalysedStep,
  between: readonly number[],
  last: AnalysedCommit,
  commits: readonly AnalysedCommit[],
  isMoved: (root: AnalysedStep) => boolean,
  describe: (behind: AnalysedStep, seconds: string, builds: number) => string,
): Advice | undefined {
  const texts = new Set(between.flatMap((at) => last.steps[at]?.text ?? []));
  const behind = last.steps[between.at(-1) ?? -1];
  if (behind === undefined) return undefined;
  let [seconds, builds] = [0, 0];
  for (const commit of commits.slice(1)) {
    const saved = commit.steps.filter(
      (other) =>
        other.stage === step.stage &&
        texts.has(other.text) &&
        other.roots.size > 0 &&
        [...other.roots].every((root) => isMoved(commit.steps[root] ?? other)),
    );
    if (saved.length > 0) builds++;
    seconds += saved.reduce((sum, other) => sum + other.seconds, 0);
  }
  if (seconds < MIN_SECONDS) return undefined;
  const secondsSaved = Math.round(seconds * 1000) / 1000;
  return {
    kind,
    instruction: step.text,
    line: step.line,
    behind: behind.text,
    behindLine: behind.line,
    secondsSaved,
    builds,
    text: describe(behind, `${secondsSaved.toFixed(1)}s`, builds),
  };
}

/** What the steps below would call the files of a copy by: their names, and where they go. */
function namesOf(text: string): string[] {
  const words = text
    .split(/\s+/)
    .slice(1)
    .filter((word) => !word.startsWith('--'))
    .map((word) => word.replace(/["'[\],]/g, ''));
  return words
    .flatMap((word) => word.split('/'))
    .filter((part) => part !== '' && part !== '.' && part !== '..' && part !== '*');
}
