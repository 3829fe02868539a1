import pLimit from 'p-limit';
import { MbuildError, isMbuildError } from '../diagnostics/error';
import type { StagePlan, Step } from '../graph/graph';
import type { MissNote } from '../history/journal';
import type { BuildScope, VertexId } from '../progress/events';
import type { ActiveSnapshot } from '../snapshot/snapshotter';
import { reportedElsewhere, type Committer, type Made } from './commit';
import { leakWatch } from './leaks';
import { refusedBy } from './options';
import type { Attempt, EarlierCopy, PlannedStep } from './planned';
import type { FoundResult, ResultFinder } from './results';
import type { StepServices } from './services';
import { singleFlight, type Flight, type Queue } from './single-flight';
import type { StepOutcome } from './solution';
import { planStep } from './step';
import type { Tree } from './tree';
import type { Vertices } from './vertices';

/** What steps are run with. */
export interface RunnerParts {
  readonly services: StepServices;
  readonly scope: BuildScope;
  readonly vertices: Vertices;
  readonly results: ResultFinder;
  readonly committer: Committer;
  /** Indexes of the stages whose layers are in an image that leaves as gzip. */
  readonly leavesAsGzip: readonly number[];
}

/** A step that is being solved. */
interface StepWork {
  readonly step: Step;
  readonly stage: StagePlan;
  readonly parent: Tree;
  readonly vertex: VertexId;
  /** Milliseconds since the epoch. */
  readonly started: number;
  /** The flag that keeps it from being taken from the cache. */
  readonly refused: string | undefined;
}

/** The same with its key. */
interface PlannedWork extends StepWork {
  readonly planned: PlannedStep;
}

/** What a step left. */
interface Done {
  readonly active: ActiveSnapshot;
  /** It failed, and a person said that its tree is to be taken as it is, for this build alone. */
  readonly taken: boolean;
}

/**
 * Solves single steps, each once whoever asks for it: in this build, and in other processes on the
 * store.
 */
export class StepRunner {
  readonly outcomes = new Map<number, StepOutcome>();
  /** Steps that were begun, by key. */
  readonly #underway = new Map<string, Promise<{ readonly tree: Tree; readonly stepId: number }>>();
  /** Steps whose results others cannot find yet. */
  readonly #landing = new Set<Promise<unknown>>();
  readonly #limit: ReturnType<typeof pLimit>;

  constructor(private readonly parts: RunnerParts) {
    this.#limit = pLimit(parts.services.options.jobs);
  }

  /** Waits until other processes can find what was done here. */
  async landed(): Promise<void> {
    await Promise.all(this.#landing);
  }

  /** One step on the tree of the one before it: its key, then the earlier result or the work. */
  async run(step: Step, stage: StagePlan, parent: Tree): Promise<Tree> {
    const { services, scope, vertices } = this.parts;
    scope.signal.throwIfAborted();
    const vertex = vertices.ofStep(step);
    const refused = refusedBy(step, stage, services.options);
    const work: StepWork = { step, stage, parent, vertex, started: Date.now(), refused };
    let planned: PlannedStep | undefined;
    try {
      const mustRun = refused !== undefined || this.#isNew(work);
      planned = await planStep({ step, parent, services, scope, vertex, mustRun });
      return await this.#solve({ ...work, planned });
    } catch (error) {
      throw this.#failed(vertex, error);
    } finally {
      // What was committed is gone from there; what was done in vain goes now.
      if (planned?.done !== undefined) services.snapshots.discard(planned.done.active);
    }
  }

  /** True for a copy of which no cache can have a result, for none was ever made onto that tree. */
  #isNew({ step, parent }: StepWork): boolean {
    const { cache, remote } = this.parts.services;
    return (
      step.operation.kind === 'copy' && remote === undefined && !cache.knowsCopyOnto(parent.result)
    );
  }

  async #solve(work: PlannedWork): Promise<Tree> {
    const hit = await this.#lookup(work);
    this.parts.scope.events({ kind: 'started', id: work.vertex, time: work.started });
    if (hit !== undefined) return this.#hit(work, hit);
    // Another stage, perhaps of another platform, may be doing this very step.
    const twin = this.#underway.get(work.planned.key);
    return twin === undefined ? this.#begin(work) : this.#likewise(work, await twin);
  }

  async #lookup({ refused, planned, parent }: PlannedWork): Promise<FoundResult | undefined> {
    return refused === undefined ? this.parts.results.lookup(planned.key, parent) : undefined;
  }

  async #begin(work: PlannedWork): Promise<Tree> {
    const { services } = this.parts;
    const { key } = work.planned;
    const flight = this.#limit(() =>
      singleFlight(`${services.root}/locks`, key, this.#queue(work), () => this.#flight(work)),
    );
    const underway = flight.then(({ value: tree, landed }) => {
      this.#landing.add(reportedElsewhere(landed));
      return { tree, stepId: work.step.id };
    });
    underway.catch(() => undefined); // thrown below
    this.#underway.set(key, underway);
    return (await underway).tree;
  }

  /** Another build may be doing this step. */
  #queue({ vertex }: PlannedWork): Queue {
    const { services, scope } = this.parts;
    const build = services.options.journal?.id;
    return {
      signal: scope.signal,
      name: `${build === undefined ? 'a build' : `build ${build}`} (process ${process.pid})`,
      waits: (holder = 'another build') =>
        scope.events({
          kind: 'note',
          id: vertex,
          text: `waits for ${holder}, which is doing the same step`,
        }),
    };
  }

  async #flight(work: PlannedWork): Promise<Flight<Tree>> {
    // Another process may have done this very step while we waited for it.
    const late = await this.#lookup(work);
    if (late !== undefined) return { value: this.#hit(work, late), landed: Promise.resolve() };
    const made = await this.#make(work);
    return { value: made.tree, landed: made.record };
  }

  async #make(work: PlannedWork): Promise<Made> {
    const { step, stage, parent, planned, vertex, started } = work;
    const { services, scope, committer, leavesAsGzip } = this.parts;
    // Why it was missed is found out while it runs; a copy can then begin with what it was edited
    // from.
    const missed = this.#missed(work);
    missed?.catch(() => undefined); // awaited below, unless the step fails first
    const earlier =
      step.operation.kind === 'copy' ? await this.#earlierCopy(planned, await missed) : undefined;
    const { active, taken } = await this.#execute(work, earlier);
    const durationMs = Date.now() - started;
    const made = await committer.commit(active, parent, {
      key: planned.key,
      input: planned.input,
      earlierKey: (await missed)?.earlierKey,
      build: services.options.journal?.id,
      leaks: leakWatch(step, services.options.secrets, services.warn),
      leavesAsGzip: leavesAsGzip.includes(stage.index),
      hashed: planned.done?.hashed,
      durationMs,
      taken,
    });
    this.#solved(
      {
        step,
        key: planned.key,
        digests: planned.digests,
        cached: false,
        kept: made.kept,
        taken,
        durationMs,
        created: reportedElsewhere(made.record.then((record) => record.created)),
        layer: reportedElsewhere(made.record.then((record) => record.layer)),
      },
      planned,
    );
    if (made.kept) scope.events({ kind: 'note', id: vertex, text: 'same result as before, kept' });
    if (taken) this.#tellTaken(work);
    scope.events({ kind: 'done', id: vertex, time: Date.now(), cached: false });
    return made;
  }

  #tellTaken({ step, vertex }: PlannedWork): void {
    const { services, scope } = this.parts;
    const text = 'failed; its tree was taken as it was left by hand, for this build alone';
    scope.events({ kind: 'note', id: vertex, text });
    services.warn({
      severity: 'warning',
      code: 'StepTaken',
      message:
        'RUN failed, and its tree was taken as it was left by hand: the image is not what the Dockerfile says',
      file: step.file,
      range: step.range,
      hint: 'no later build takes this step, or those after it, from the cache',
    });
  }

  #missed({ step, planned, refused, vertex }: PlannedWork): Promise<MissNote> | undefined {
    const { services, scope } = this.parts;
    return services.options.journal?.missed(step, planned, refused).then((miss) => {
      scope.events({ kind: 'note', id: vertex, text: `not cached: ${miss.text}` });
      return miss;
    });
  }

  async #earlierCopy(
    planned: PlannedStep,
    missed: MissNote | undefined,
  ): Promise<EarlierCopy | undefined> {
    if (planned.done !== undefined || missed?.earlierKey === undefined) return undefined;
    const { findEarlierCopy } = await import('./earlier-copy');
    return findEarlierCopy(missed.earlierKey, planned, this.parts.services);
  }

  /**
   * Does what is planned on a tree of its own; a command that fails is tried again on a fresh one,
   * as often as the build allows.
   */
  async #execute(work: PlannedWork, earlier: EarlierCopy | undefined): Promise<Done> {
    const { planned } = work;
    if (planned.done !== undefined) return { active: planned.done.active, taken: false };
    const { scope, services } = this.parts;
    for (let left = services.options.stepRetries ?? 0; ;) {
      const done = await this.#attempt(work, { earlier, isLast: left === 0 });
      if ('active' in done) return done;
      if (done.error === undefined) continue;
      const often = left === 1 ? 'for the last time' : `at most ${left} times`;
      const text = `${done.error.message}; tried again, ${often}`;
      scope.events({ kind: 'note', id: work.vertex, text });
      left--;
    }
  }

  /** Does a step once. @returns why it is to be done again, where that is so. */
  async #attempt(
    { planned, parent }: PlannedWork,
    attempt: Attempt,
  ): Promise<Done | { readonly error: Error | undefined }> {
    const { services } = this.parts;
    const active = services.snapshots.prepare(await parent.stack());
    try {
      const decided = await planned.execute(active, attempt);
      if (decided !== 'retry') return { active, taken: decided === 'take' };
      services.snapshots.discard(active);
      return { error: undefined };
    } catch (error) {
      services.snapshots.discard(active);
      if (attempt.isLast || !isWorthRetrying(error)) throw error;
      return { error };
    }
  }

  #hit({ step, planned, vertex }: PlannedWork, { record, remote, tree }: FoundResult): Tree {
    const { events } = this.parts.scope;
    if (remote !== undefined)
      events({ kind: 'note', id: vertex, text: `from the cache of ${remote.from}` });
    this.#solved(
      {
        step,
        key: record.key,
        digests: planned.digests,
        cached: true,
        kept: false,
        durationMs: record.durationMs,
        created: Promise.resolve(record.created),
        layer: Promise.resolve(record.layer),
      },
      planned,
      { build: record.build, from: remote?.from },
    );
    events({ kind: 'done', id: vertex, time: Date.now(), cached: true });
    return tree;
  }

  /** A step that was done for another stage of this build. */
  #likewise(
    { step, planned, vertex }: PlannedWork,
    twin: { readonly tree: Tree; readonly stepId: number },
  ): Tree {
    const { services, scope } = this.parts;
    const outcome = this.outcomes.get(twin.stepId);
    if (outcome === undefined) throw new Error('a step without an outcome');
    this.#solved({ ...outcome, step, cached: true, kept: false }, planned, {
      build: services.options.journal?.id,
    });
    scope.events({ kind: 'note', id: vertex, text: `same as ${outcome.step.name}` });
    scope.events({ kind: 'done', id: vertex, time: Date.now(), cached: true });
    return twin.tree;
  }

  /**
   * @param origin of a result that was found: the build that made it, and the cache elsewhere that
   * had it.
   */
  #solved(
    outcome: StepOutcome,
    planned: PlannedStep,
    origin: { readonly build?: string | undefined; readonly from?: string | undefined } = {},
  ): void {
    this.outcomes.set(outcome.step.id, outcome);
    this.parts.services.options.journal?.solved(outcome.step, {
      ...planned,
      cached: outcome.cached,
      kept: outcome.kept,
      taken: outcome.taken,
      durationMs: outcome.durationMs,
      layer: outcome.layer,
      madeBy: origin.build,
      from: origin.from,
    });
  }

  /** Says that a step failed. @returns what to throw. */
  #failed(vertex: VertexId, error: unknown): unknown {
    const { scope } = this.parts;
    const canceled = scope.signal.aborted || isMbuildError(error, 'CACHE_INVALID');
    scope.events({
      kind: 'failed',
      id: vertex,
      time: Date.now(),
      error: error instanceof Error ? error.message : String(error),
      canceled,
    });
    return canceled && !isMbuildError(error)
      ? new MbuildError('CANCELED', 'the build was canceled', { cause: error })
      : error;
  }
}

function isWorthRetrying(error: unknown): error is MbuildError {
  return isMbuildError(error, 'EXEC_FAILED') || isMbuildError(error, 'STEP_TIMEOUT');
}
