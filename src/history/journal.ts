import { KEY_VERSION, type CacheKey } from '../cache/key';
import { storeManifest, type SelectionManifest } from '../cache/manifest';
import type { CacheStore } from '../cache/record';
import type { Dockerfile } from '../dockerfile/instruction';
import { asForeseen, errnoOf, isMbuildError } from '../diagnostics/error';
import type { Graph, StagePlan, Step } from '../graph/graph';
import { formatPlatform, hostPlatform } from '../oci/platform';
import type { BuildEvent } from '../progress/events';
import { summaryOf, type BaseRecord, type BuildRecord, type StepRecord } from './build-record';
import { causesLine, type Cause } from './cause';
import type { Explainer, Explanation, MissedStep, PastElsewhere } from './explain';
import { BuildHistory, newBuildId, projectOf } from './file-history';
import { instructionText } from './instruction-text';
import { limitProject } from './retention';
import { RowJournal } from './row-journal';

/** What a build was asked to do, as far as it is remembered. */
export interface BuildAbout {
  /** The context's absolute path or address. */
  readonly context: string;
  /** The Dockerfile as it was named. */
  readonly dockerfile: string;
  readonly target?: string | undefined;
  /** Bytes of a step's output that are kept; 0 for all. */
  readonly logLimit?: number | undefined;
  readonly platform?: string | undefined;
}

/** What a step depends on, as the solver found it. */
export interface PlannedFacts {
  readonly key: CacheKey;
  readonly input: NonNullable<StepRecord['input']>;
  /** What its selections hold, by digest; described when it is asked for. */
  readonly manifests: ReadonlyMap<string, () => Promise<SelectionManifest>>;
}

/** A step that came to its end. */
export interface SolvedFacts extends PlannedFacts {
  readonly cached: boolean;
  readonly kept: boolean;
  /** It failed, and its tree was taken as it was, by hand. */
  readonly taken?: boolean | undefined;
  readonly durationMs: number;
  readonly madeBy?: string | undefined;
  /** The cache elsewhere that it was taken from. */
  readonly from?: string | undefined;
  readonly layer: Promise<{ readonly diffId: string; readonly contentSize: number } | undefined>;
}

/** What the journal says about a step that is not in the cache. */
export interface MissNote {
  /** The causes in one line. */
  readonly text: string;
  /** The earlier step's key: it may turn out that this one leaves the same. */
  readonly earlierKey?: CacheKey | undefined;
  /** How long that step ran. */
  readonly earlierMs?: number | undefined;
}

/** What came of a build, or the error that ended it. */
export type BuildEnd =
  { readonly result: NonNullable<BuildRecord['result']> } | { readonly error: unknown };

/**
 * Takes down what happens in one build: every row of progress, the output of steps, what each step
 * depended on and why it was not in the cache. Nothing is read or compressed before something was
 * missed or printed.
 */
export class BuildJournal {
  readonly id: string;
  /** RFC 3339. */
  readonly started: string;
  readonly #started: number;
  readonly #project: string;
  readonly #history: BuildHistory;
  readonly #rows: RowJournal;
  readonly #steps = new Map<
    number,
    { readonly planned: SolvedFacts | PlannedFacts; readonly solved: boolean }
  >();
  readonly #explained = new Map<number, Explanation>();
  readonly #manifests = new Map<string, () => Promise<SelectionManifest>>();
  #graph: Graph | undefined;
  #past: PastElsewhere | undefined;
  #dockerfile: Dockerfile | undefined;
  #explainer: Promise<Explainer> | undefined;
  #places = new Map<
    number,
    { readonly stage: StagePlan; readonly index: number; readonly above: Step | undefined }
  >();

  constructor(
    private readonly root: string,
    private readonly cache: CacheStore,
    private readonly about: BuildAbout,
  ) {
    this.#started = Date.now();
    this.started = new Date(this.#started).toISOString();
    this.id = newBuildId(this.#started);
    this.#project = projectOf(about.context, about.dockerfile);
    this.#history = new BuildHistory(root);
    this.#rows = new RowJournal(
      this.#started,
      this.#history.logFolder({ project: this.#project, id: this.id }),
      about.logLimit,
    );
  }

  /**
   * Tells what is to be built. @param past builds elsewhere, whose caches were given to this one.
   */
  begin(graph: Graph, dockerfile: Dockerfile, past?: PastElsewhere): void {
    this.#past = past;
    this.#graph = graph;
    this.#dockerfile = dockerfile;
    for (const stage of graph.stages) {
      const below = stage.base.kind === 'stage' ? stage.base.stage.steps.at(-1) : undefined;
      stage.steps.forEach((step, index) =>
        this.#places.set(step.id, { stage, index, above: stage.steps[index - 1] ?? below }),
      );
    }
  }

  /** Takes down an event. */
  readonly events = (event: BuildEvent): void => this.#rows.take(event);

  /** A step is not in the cache, or is not to be taken from it (`asked`): why. */
  async missed(step: Step, facts: PlannedFacts, asked: string | undefined): Promise<MissNote> {
    this.#take(step, facts, false);
    if (asked !== undefined) {
      const causes: readonly Cause[] = [{ kind: 'asked', flag: asked }];
      this.#explained.set(step.id, { causes });
      return { text: causesLine(causes) };
    }
    const explanation = await this.#explain(step, facts);
    this.#explained.set(step.id, explanation);
    const from = explanation.earlier?.from;
    return {
      text: `${causesLine(explanation.causes)}${from === undefined ? '' : ` (compared with the cache of ${from})`}`,
      earlierKey: explanation.earlier?.key as CacheKey | undefined,
      earlierMs: explanation.earlier?.durationMs,
    };
  }

  /** No build fails because its past cannot be read. */
  async #explain(step: Step, facts: PlannedFacts): Promise<Explanation> {
    try {
      return await (
        await (this.#explainer ??= this.#makeExplainer())
      ).explain(this.#missedStep(step, facts));
    } catch (error) {
      if (!isMbuildError(error) && errnoOf(error) === undefined) throw error;
      return { causes: [{ kind: 'unknown', reason: (error as Error).message }] };
    }
  }

  /** A step came to its end. */
  solved(step: Step, facts: SolvedFacts): void {
    this.#take(step, facts, true);
  }

  /**
   * Writes the build down. Nothing depends on it, so a disk that is full or not to be written to
   * does not fail the build.
   */
  async finish(end: BuildEnd): Promise<BuildRecord> {
    const { error, result } =
      'error' in end
        ? { error: asForeseen(end.error), result: undefined }
        : { error: undefined, result: end.result };
    const { logLimit: _limit, ...about } = this.about;
    const steps = await this.#stepRecords();
    await this.#keepDetails();
    const record: BuildRecord = {
      version: 1,
      id: this.id,
      project: this.#project,
      started: this.started,
      durationMs: Date.now() - this.#started,
      outcome: outcomeOf(error),
      ...(error === undefined
        ? {}
        : {
            error: {
              code: isMbuildError(error) ? error.code : 'INTERNAL',
              message: error instanceof Error ? error.message : String(error),
            },
          }),
      ...about,
      keys: KEY_VERSION,
      bases: this.bases(),
      steps,
      rows: this.#rows.records(),
      cache: summaryOf(steps),
      ...(result === undefined ? {} : { result }),
    };
    this.#keep(record);
    return record;
  }

  async #keepDetails(): Promise<void> {
    await forgiving(() => this.#rows.flush());
    await this.keepSelections();
  }

  /** Writes down what the selections of missed steps hold, for whoever is to compare with them. */
  async keepSelections(): Promise<void> {
    await forgiving(() => this.#storeManifests());
  }

  #keep(record: BuildRecord): void {
    try {
      this.#history.put(record);
      limitProject(this.#history, record.project);
    } catch (error) {
      if (!isMbuildError(error)) throw error;
    }
  }

  #take(step: Step, facts: PlannedFacts | SolvedFacts, solved: boolean): void {
    this.#steps.set(step.id, { planned: facts, solved });
    for (const [digest, describe] of facts.manifests) this.#manifests.set(digest, describe);
  }

  async #makeExplainer(): Promise<Explainer> {
    const module = await import('./explain');
    if (this.#dockerfile === undefined || this.#graph === undefined)
      throw new Error('a step was missed before the build began');
    const steps = this.#graph.stages.flatMap((stage) =>
      stage.steps.map((step) => ({ stage: stage.name, text: instructionText(step) })),
    );
    return new module.Explainer(
      { root: this.root, history: this.#history, cache: this.cache },
      {
        project: this.#project,
        dockerfile: this.#dockerfile,
        steps,
        manifests: this.#manifests,
      },
      this.#past,
    );
  }

  #missedStep(step: Step, { key, input }: PlannedFacts): MissedStep {
    const place = this.#places.get(step.id);
    const above = place?.above;
    const parent =
      above === undefined ? undefined : { name: above.name, cached: this.#isCached(above) };
    const platform = this.#platformOf(step);
    return {
      stage: step.stage,
      platform,
      index: place?.index ?? 0,
      line: step.range.start.line,
      text: instructionText(step),
      key,
      input,
      parent,
      base:
        above === undefined
          ? this.bases().find((base) => base.stage === step.stage && base.platform === platform)
          : undefined,
    };
  }

  #platformOf(step: Step): string {
    return formatPlatform(this.#places.get(step.id)?.stage.platform ?? hostPlatform());
  }

  #isCached(step: Step): boolean {
    const facts = this.#steps.get(step.id)?.planned;
    return facts !== undefined && 'cached' in facts && facts.cached;
  }

  /** The images that stages began with. */
  bases(): BaseRecord[] {
    return (this.#graph?.stages ?? []).flatMap((stage) => {
      let at = stage;
      while (at.base.kind === 'stage') at = at.base.stage;
      return at.base.kind === 'image'
        ? [
            {
              stage: stage.name,
              platform: formatPlatform(stage.platform),
              name: at.base.image.name,
              digest: at.base.image.descriptor.digest,
            },
          ]
        : [];
    });
  }

  async #stepRecords(): Promise<StepRecord[]> {
    const steps = (this.#graph?.stages ?? []).flatMap((stage) => stage.steps);
    const records = await Promise.all(
      steps.map(async (step): Promise<StepRecord[]> => {
        const taken = this.#steps.get(step.id);
        const row = this.#rows.find(step.name);
        if (taken === undefined) return [];
        const { planned, solved } = taken;
        const facts = 'cached' in planned ? planned : undefined;
        // A layer that could not be hashed ended the build, which tells of it.
        const layer = await facts?.layer.catch(() => undefined);
        const cached = facts?.cached === true;
        const explained = cached ? undefined : this.#explained.get(step.id);
        return [
          {
            name: step.name,
            stage: step.stage,
            platform: this.#platformOf(step),
            index: this.#places.get(step.id)?.index ?? 0,
            line: step.range.start.line,
            text: instructionText(step),
            key: planned.key,
            cached,
            ...(solved ? {} : { failed: true }),
            ...(facts?.kept === true ? { kept: true } : {}),
            ...(facts?.taken === true ? { taken: true } : {}),
            ...(cached ? {} : { input: planned.input }),
            ...explained,
            durationMs: facts?.durationMs ?? 0,
            ...(row?.usage === undefined ? {} : { usage: row.usage }),
            ...(layer === undefined
              ? {}
              : { layer: { diffId: layer.diffId, size: layer.contentSize } }),
            row: row?.id ?? 0,
            ...(facts?.madeBy === undefined ? {} : { madeBy: facts.madeBy }),
            ...(facts?.from === undefined ? {} : { from: facts.from }),
          },
        ];
      }),
    );
    return records.flat();
  }

  async #storeManifests(): Promise<void> {
    const missed = [...this.#steps.values()].filter(
      ({ planned }) => !('cached' in planned && planned.cached),
    );
    for (const describe of new Map(
      missed.flatMap(({ planned }) => [...planned.manifests]),
    ).values())
      await storeManifest(this.root, await describe());
  }
}

/** Does without what the disk refuses, and without what a failed build can no longer say. */
async function forgiving(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isMbuildError(error) && errnoOf(error) === undefined) throw error;
  }
}

function outcomeOf(error: unknown): BuildRecord['outcome'] {
  if (error === undefined) return 'done';
  return isMbuildError(error, 'CANCELED') ? 'canceled' : 'failed';
}
