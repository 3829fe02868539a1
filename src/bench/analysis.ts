import type { KeyInput, ResultId } from '../cache/key';
import { causesLine, type Cause } from '../history/cause';
import { compareSteps } from '../history/compare';
import type { SelectionManifest } from '../cache/manifest';
import { differenceOf } from './context/difference';
import type { ContextReader } from './context/git-context';
import type { SelectedFiles } from './context/select';
import type { StepCost } from './costs/cost';
import { inputsOf, type CommitKeys, type KeyedStep } from './keys/commit-keys';

/** A step with all that is known of it whatever the cache. */
export interface AnalysedStep {
  readonly keyed: KeyedStep;
  readonly cost: StepCost;
  /** What it does itself differs from the build before, or it is new. */
  readonly changed: boolean;
  /** Its key is another than in the build before. */
  readonly isNew: boolean;
  /** Why; absent where the key is the same. */
  readonly why: string | undefined;
  /** False where a real build may find that a step above leaves what was there before. */
  readonly certain: boolean;
}

/** A commit's steps, compared with those of the build before. */
export interface AnalysedCommit {
  readonly keys: CommitKeys;
  readonly steps: readonly AnalysedStep[];
}

/** What steps cost. */
export type CostOf = (step: KeyedStep) => StepCost;

/** Compares commits, each with the one that was built before it on its branch. */
export class Analyser {
  constructor(
    private readonly contexts: ContextReader,
    private readonly costOf: CostOf,
    /** Without words, where many variants of one file are tried. */
    private readonly tellsWhy: boolean,
  ) {}

  async analyse(keys: CommitKeys, before: AnalysedCommit | undefined): Promise<AnalysedCommit> {
    const steps: AnalysedStep[] = [];
    for (const keyed of keys.steps)
      steps.push(await this.#step(keyed, steps, keys, before?.steps ?? []));
    return { keys, steps };
  }

  async #step(
    keyed: KeyedStep,
    above: readonly AnalysedStep[],
    keys: CommitKeys,
    before: readonly AnalysedStep[],
  ): Promise<AnalysedStep> {
    const earlier = nearest(keyed, before);
    // Most steps are what they were: then what is known of them serves again.
    if (earlier?.keyed.key === keyed.key && earlier.keyed.row === keyed.row)
      return earlier.isNew
        ? { ...earlier, changed: false, isNew: false, why: undefined, certain: true }
        : earlier;
    const changed = earlier?.keyed.own !== keyed.own;
    const isNew = earlier?.keyed.key !== keyed.key;
    const why = isNew && this.tellsWhy ? await this.#why(keyed, earlier, keys, above) : undefined;
    const certain = !isNew || earlier === undefined || isCertain(keyed, earlier, changed, above);
    return { keyed, cost: this.costOf(keyed), changed, isNew, why, certain };
  }

  async #why(
    keyed: KeyedStep,
    earlier: AnalysedStep | undefined,
    { plan }: CommitKeys,
    above: readonly AnalysedStep[],
  ): Promise<string> {
    if (earlier === undefined) return causesLine([{ kind: 'first' }]);
    const { row } = keyed;
    const own =
      earlier.keyed.own === keyed.own || plan === undefined
        ? []
        : await compareSteps(
            comparable(earlier.keyed),
            comparable(keyed),
            await this.#differences(earlier.keyed.files, keyed.files),
            { dockerfile: plan.dockerfile, stage: row.stage, line: row.line },
          );
    return causesLine([...own, ...around(keyed, earlier.keyed, own.length > 0, above)]);
  }

  /** What stands for selections in a comparison of two steps: the entries in which they differ. */
  async #differences(
    before: readonly SelectedFiles[],
    after: readonly SelectedFiles[],
  ): Promise<(digest: string) => Promise<SelectionManifest | undefined>> {
    const found = new Map<string, SelectionManifest>();
    for (const [at, files] of after.entries()) {
      const old = before[at];
      if (old === undefined || old.digest === files.digest) continue;
      const difference = await this.contexts.objects.complete(() =>
        differenceOf(this.contexts, old, files),
      );
      found.set(old.digest, difference.before);
      found.set(files.digest, difference.after);
    }
    return (digest) => Promise.resolve(found.get(digest));
  }
}

/** What a RUN leaves may be what was there before; then all that follows may be, too. */
function isCertain(
  { row }: KeyedStep,
  earlier: AnalysedStep,
  changed: boolean,
  above: readonly AnalysedStep[],
): boolean {
  const below = row.below === undefined ? undefined : above[row.below];
  const isSameBelow =
    row.below === undefined
      ? row.base === earlier.keyed.row.base
      : below !== undefined && !below.isNew;
  return (
    needsOf(row).every((need) => above[need]?.certain !== false) &&
    !row.takesFiles &&
    !(changed && row.kind === 'run' && isSameBelow)
  );
}

/** Indexes of the steps whose trees a step needs. */
function needsOf({ below, from }: KeyedStep['row']): readonly number[] {
  return below === undefined ? from : [below, ...from];
}

/** The step of the build before that stands for the same instruction: by its text, else by its place. */
function nearest({ row }: KeyedStep, before: readonly AnalysedStep[]): AnalysedStep | undefined {
  let byText: AnalysedStep | undefined;
  let byPlace: AnalysedStep | undefined;
  for (const other of before) {
    const { stage, text, index, kind } = other.keyed.row;
    if (stage !== row.stage) continue;
    if (index === row.index && kind === row.kind) byPlace = other;
    if (text !== row.text) continue;
    const isNearer =
      byText === undefined ||
      Math.abs(index - row.index) < Math.abs(byText.keyed.row.index - row.index);
    if (isNearer) byText = other;
  }
  return byText ?? byPlace;
}

function comparable(step: KeyedStep): { readonly text: string; readonly input: KeyInput } {
  const { row } = step;
  return {
    text: row.text,
    input: { kind: row.kind, parent: '' as ResultId, inputs: inputsOf(step) },
  };
}

/** What differs around the step: the tree below it, or files of other trees. */
function around(
  { row }: KeyedStep,
  earlier: KeyedStep,
  hasOwn: boolean,
  above: readonly AnalysedStep[],
): Cause[] {
  const below = row.below === undefined ? undefined : above[row.below];
  if (below?.isNew === true)
    return [{ kind: 'parent', step: numberOf(below.keyed.row.name), rebuilt: true }];
  if (row.below === undefined && row.base !== earlier.row.base)
    return [{ kind: 'setting', name: 'FROM' }];
  if (hasOwn) return [];
  const stages = row.from.flatMap((at) => above[at]?.keyed.row.stage ?? []);
  return [
    { kind: 'files', source: stages.length === 0 ? 'another image' : `stage ${stages.join(', ')}` },
  ];
}

function numberOf(name: string): string {
  return name.replace(/^\[(?:(\S+) )?\s*(\d+)\/.*$/, '$2');
}
