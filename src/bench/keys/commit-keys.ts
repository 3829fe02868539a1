import { createHash } from 'node:crypto';
import type { KeyValue } from '../../cache/key';
import { parseIgnoreFile } from '../../context/ignore';
import type { SourceFile } from '../../diagnostics/range';
import { MbuildError, isMbuildError } from '../../diagnostics/error';
import { toRaw } from '../../linux/paths';
import { DirectoryFilter } from '../context/filter';
import { GitContext, type ContextReader } from '../context/git-context';
import { selectFiles, type SelectedFiles } from '../context/select';
import { Summaries } from '../context/summary';
import type { GitCommit } from '../git/repository';
import type { GitObjects } from '../git/objects';
import { argsOf } from './arguments';
import type { BuildPlan, BuildSettings, PlannedRow, Planner } from './plan';
import type { Hole } from './inputs';

/** What is built of each commit. Paths are from the repository's top, without slashes around them. */
export interface ReplayTarget {
  /** For reports. */
  readonly name: string;
  /** Places of the Dockerfile, and the context that goes with each: the first that a commit has is taken. */
  readonly places: readonly TargetPlace[];
  /** Changes what a build reads: how advice is tried. */
  readonly rewrite?:
    | {
        readonly dockerfile: (file: SourceFile) => string;
        readonly ignore: (text: string | undefined) => string | undefined;
      }
    | undefined;
}

export interface TargetPlace {
  /** A file of each commit, or one text for all of them. */
  readonly dockerfile: string | SourceFile;
  readonly context: string;
}

/** What one commit's build would do, by the keys of its steps. */
export interface CommitKeys {
  readonly commit: GitCommit;
  /** Where the Dockerfile is in this commit. */
  readonly place?: TargetPlace | undefined;
  readonly plan?: BuildPlan | undefined;
  /** Up to the one that cannot be built. */
  readonly steps: readonly KeyedStep[];
  readonly problem?: CommitProblem | undefined;
}

/** Why a commit is not replayed to its end. */
export interface CommitProblem {
  /** `refused`: a build of it would be refused. `unreadable`: a part of it is not in this repository. */
  readonly kind: 'refused' | 'unreadable';
  readonly message: string;
}

/** A step of one commit. */
export interface KeyedStep {
  readonly row: PlannedRow;
  /** Equal where a build's key would be equal, if every step leaves something new. */
  readonly key: string;
  /** Of what the step does itself: its inputs without the trees of other steps. */
  readonly own: string;
  /** Of the context, one for each hole that asks for some. */
  readonly files: readonly SelectedFiles[];
  /** Of those files; absent where it has none. */
  readonly bytes: number | undefined;
}

/** Computes keys from git's objects. */
export class CommitReader {
  /** Paths of submodules that showed in a context. */
  readonly submodules = new Set<string>();
  /** Patterns of files that git LFS keeps elsewhere. */
  readonly pointers = new Set<string>();
  readonly #readers: Readonly<Record<'plain' | 'pointers', ContextReader>>;
  readonly #filters = new Map<string, DirectoryFilter>();

  constructor(
    private readonly objects: GitObjects,
    private readonly planner: Planner,
    private readonly settings: BuildSettings,
  ) {
    this.#readers = {
      plain: { objects, summaries: new Summaries(objects, false) },
      pointers: { objects, summaries: new Summaries(objects, true) },
    };
  }

  /** What contexts are compared with. */
  get contexts(): ContextReader {
    return this.#readers.pointers;
  }

  /** The steps of a commit's build. What keeps it from being built is its `problem`, not an error. */
  async read(commit: GitCommit, target: ReplayTarget): Promise<CommitKeys> {
    let found: FoundBuild | undefined;
    let plan: BuildPlan | undefined;
    try {
      const sources = await this.objects.complete(() => this.#find(commit, target));
      found = sources;
      plan = await this.planner.plan(sources.dockerfile, argsOf(commit, this.settings.buildArgs));
      const { queries } = plan;
      const selected = await this.objects.complete(() =>
        queries.map((query) => attempt(() => selectFiles(sources.context, query))),
      );
      const { steps, problem } = keysOf(plan, selected);
      return { commit, place: found.place, plan, steps, problem };
    } catch (error) {
      return { commit, place: found?.place, plan, steps: [], problem: problemOf(error) };
    }
  }

  /** What a commit's build reads; `undefined` where it has a problem. */
  async sources(
    commit: GitCommit,
    target: ReplayTarget,
  ): Promise<(FoundBuild & { readonly plan: BuildPlan }) | undefined> {
    try {
      const found = await this.objects.complete(() => this.#find(commit, target));
      const { buildArgs } = this.settings;
      return {
        ...found,
        plan: await this.planner.plan(found.dockerfile, argsOf(commit, buildArgs)),
      };
    } catch (error) {
      problemOf(error);
      return undefined;
    }
  }

  #find(commit: GitCommit, { places, rewrite }: ReplayTarget): FoundBuild {
    const { objects } = this;
    const whole = this.#context('plain', commit.tree, this.#filter(false, undefined));
    const fileAt = (path: string): string | undefined => {
      const entry = whole.stat(toRaw(`/${path}`));
      const at = entry === undefined ? undefined : whole.placeOf(entry);
      return at?.kind === 'file' ? objects.text(at.entry.id) : undefined;
    };
    for (const place of places) {
      const text =
        typeof place.dockerfile === 'string' ? fileAt(place.dockerfile) : place.dockerfile.text;
      if (text === undefined) continue;
      const name = typeof place.dockerfile === 'string' ? place.dockerfile : place.dockerfile.name;
      const root = whole.stat(toRaw(`/${place.context}`));
      const at = root === undefined ? undefined : whole.placeOf(root);
      if (at?.kind !== 'directory')
        throw new MbuildError(
          'CONTEXT_NOT_FOUND',
          `there is not a directory ${place.context} in this commit`,
        );
      const ownName = `${name}.dockerignore`;
      const own = typeof place.dockerfile === 'string' ? fileAt(ownName) : undefined;
      const sharedName = within(place.context, '.dockerignore');
      const ignoreFile = {
        path: own === undefined ? sharedName : ownName,
        text: own ?? fileAt(sharedName),
      };
      const ignore = rewrite === undefined ? ignoreFile.text : rewrite.ignore(ignoreFile.text);
      const usesLfs = this.#notePointers(fileAt('.gitattributes') ?? '');
      const filter = this.#filter(usesLfs, ignore);
      const context = this.#context(usesLfs ? 'pointers' : 'plain', at.directory.tree, filter);
      this.#noteSubmodules(fileAt('.gitmodules') ?? '', place.context, context);
      const dockerfile = { name, text: rewrite?.dockerfile({ name, text }) ?? text };
      return { place, dockerfile, context, ignoreFile };
    }
    throw new MbuildError('DOCKERFILE_NOT_FOUND', `there is no ${namesOf(places)} in this commit`);
  }

  /** gitattributes(5): patterns with `filter=lfs`. */
  #notePointers(attributes: string): boolean {
    const lines = attributes.split('\n').filter((line) => /\sfilter=lfs\b/.test(line));
    for (const line of lines) this.pointers.add(line.trim().split(/\s/)[0] ?? '');
    return lines.length > 0;
  }

  /** gitmodules(5): a line `path = …` each. */
  #noteSubmodules(modules: string, folder: string, context: GitContext): void {
    for (const [, path = ''] of modules.matchAll(/^\s*path\s*=\s*(\S.*?)\s*$/gm)) {
      const isWithin = folder === '' || path.startsWith(`${folder}/`);
      const below = folder === '' ? path : path.slice(folder.length + 1);
      if (isWithin && context.lstat(toRaw(`/${below}`)) !== undefined) this.submodules.add(path);
    }
  }

  #context(kind: 'plain' | 'pointers', tree: string, filter: DirectoryFilter): GitContext {
    return new GitContext(this.#readers[kind], { path: '/', tree, filter });
  }

  /** Filters are kept by the text of their rules, with all that is known of trees under them. */
  #filter(usesLfs: boolean, text: string | undefined): DirectoryFilter {
    const name = `${usesLfs} ${text ?? ''}`;
    const known = this.#filters.get(name);
    if (known !== undefined) return known;
    const rules = text === undefined ? undefined : parseIgnoreFile({ name: '.dockerignore', text });
    const filter = DirectoryFilter.ofContext(rules);
    this.#filters.set(name, filter);
    return filter;
  }
}

/** What a commit's build reads. */
export interface FoundBuild {
  readonly place: TargetPlace;
  readonly dockerfile: SourceFile;
  readonly context: GitContext;
  /** Where there is none it is where one would be. */
  readonly ignoreFile: { readonly path: string; readonly text: string | undefined };
}

type Attempted = { readonly value: SelectedFiles } | { readonly refused: MbuildError };

/** Sources that are not there are known when their step is reached: what stands above it is built. */
function attempt(select: () => SelectedFiles): Attempted {
  try {
    return { value: select() };
  } catch (error) {
    if (isMbuildError(error)) return { refused: error };
    throw error;
  }
}

function keysOf(
  { steps: rows }: BuildPlan,
  selected: readonly Attempted[],
): Pick<CommitKeys, 'steps' | 'problem'> {
  const steps: KeyedStep[] = [];
  for (const row of rows) {
    const files: SelectedFiles[] = [];
    for (const hole of row.form.holes) {
      const found = hole.kind === 'files' ? selected[hole.query] : undefined;
      if (found === undefined) continue;
      if ('refused' in found) return { steps, problem: problemOf(found.refused) };
      files.push(found.value);
    }
    steps.push(keyedStep(row, files, steps));
  }
  return { steps };
}

function keyedStep(
  row: PlannedRow,
  files: readonly SelectedFiles[],
  steps: readonly KeyedStep[],
): KeyedStep {
  const own = hashText(`${row.fixed} ${files.map(({ digest }) => digest).join(' ')}`);
  const parent = row.below === undefined ? row.base : (steps[row.below]?.key ?? '');
  const trees = row.form.holes.flatMap((hole) =>
    hole.kind === 'tree' ? treeValue(hole, steps) : [],
  );
  return {
    row,
    own,
    key: hashText(`${own} ${parent} ${trees.join(' ')}`),
    files,
    bytes: files.length === 0 ? undefined : files.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

function treeValue(
  { step, result }: Extract<Hole, { kind: 'tree' }>,
  steps: readonly KeyedStep[],
): string {
  return step === undefined ? String(result) : (steps[step]?.key ?? '');
}

/** The inputs of a step, for a comparison in their terms. Files of other trees are left out: these are compared by their steps. */
export function inputsOf({ row, files }: KeyedStep): Readonly<Record<string, KeyValue>> {
  let at = 0;
  return row.form.fill(
    row.form.holes.map((hole) => (hole.kind === 'files' ? files[at++]?.digest : 'another tree')),
  );
}

function hashText(text: string): string {
  return createHash('sha1').update(text).digest('base64');
}

/** A name in a directory, from the repository's top. */
function within(directory: string, name: string): string {
  return directory === '' ? name : `${directory}/${name}`;
}

function namesOf(places: readonly TargetPlace[]): string {
  const names = places.map(({ dockerfile }) =>
    typeof dockerfile === 'string' ? dockerfile : dockerfile.name,
  );
  return [...new Set(names)].slice(0, 3).join(' or ');
}

function problemOf(error: unknown): CommitProblem {
  if (!isMbuildError(error) || error.code === 'CANCELED') throw error;
  const isUnreadable = error.code === 'GIT_FAILED' || error.code === 'LIMIT_EXCEEDED';
  return { kind: isUnreadable ? 'unreadable' : 'refused', message: error.message };
}
