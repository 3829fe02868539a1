import { BuildHistory } from '../../history/file-history';
import type { KeyedStep } from '../keys/commit-keys';
import type { Basis, StepCost } from './cost';
import { estimate, type ProjectFacts } from './model';

/** How far the model is from steps that were really run. */
export interface ModelError {
  /** RUNs of this history with a record, or a given figure, that the model was tried on. */
  readonly steps: number;
  /** Half of them are off by no more than this factor. */
  readonly medianFactor?: number | undefined;
}

/** What is known of a step from a build of this store. */
export interface RecordedStep {
  readonly seconds: number;
  readonly bytes: number;
}

/** What costs are taken from, the first that knows a step. */
export interface CostSources {
  /** Seconds by instruction, as written or as progress shows it. */
  readonly given: ReadonlyMap<string, number>;
  readonly recorded: ReadonlyMap<string, RecordedStep>;
  /** Of a RUN; the model where it is absent. */
  readonly assumedSeconds?: number | undefined;
}

/** Bytes of files that are copied in a second, where nothing is on record. */
const COPY_SPEED = 200e6;

/** What is known of the costs of steps. */
export class CostBook {
  /** By the text of RUNs that were measured: measured and modelled seconds. */
  readonly #tried = new Map<string, readonly [measured: number, modelled: number]>();
  readonly #modelled = new Map<string, StepCost>();

  constructor(
    private readonly sources: CostSources,
    private readonly facts: ProjectFacts,
  ) {}

  of({ row, bytes: copied }: KeyedStep): StepCost {
    const recorded = this.sources.recorded.get(row.text);
    const modelled = row.kind === 'run' ? this.#model(row.text) : undefined;
    const size = sizeOf(row.kind === 'copy' ? copied : undefined, recorded, modelled);
    const given = this.sources.given.get(row.text) ?? this.sources.given.get(shown(row.name));
    const measured = given ?? recorded?.seconds;
    if (measured !== undefined && modelled !== undefined)
      this.#tried.set(row.text, [measured, modelled.seconds]);
    const timed: Basis = given === undefined ? 'recorded' : 'given';
    if (measured !== undefined) return { seconds: measured, timed, ...size };
    if (modelled === undefined)
      return { seconds: size.bytes / COPY_SPEED, timed: 'computed', ...size };
    const { assumedSeconds } = this.sources;
    return assumedSeconds === undefined
      ? { seconds: modelled.seconds, timed: 'modelled', ...size }
      : { seconds: assumedSeconds, timed: 'assumed', ...size };
  }

  /** How well the model did on what was measured. */
  get error(): ModelError {
    const factors = [...this.#tried.values()]
      .filter(([measured, modelled]) => measured > 0 && modelled > 0)
      .map(([measured, modelled]) => Math.max(measured / modelled, modelled / measured))
      .sort((a, b) => a - b);
    return { steps: factors.length, medianFactor: factors[Math.floor(factors.length / 2)] };
  }

  #model(text: string): StepCost {
    const known = this.#modelled.get(text);
    if (known !== undefined) return known;
    const { seconds, bytes } = estimate(text, this.facts);
    const cost: StepCost = { seconds, timed: 'modelled', bytes, sized: 'modelled' };
    this.#modelled.set(text, cost);
    return cost;
  }
}

function sizeOf(
  copied: number | undefined,
  recorded: RecordedStep | undefined,
  modelled: StepCost | undefined,
): Pick<StepCost, 'bytes' | 'sized'> {
  if (copied !== undefined) return { bytes: copied, sized: 'computed' };
  if (recorded !== undefined) return { bytes: recorded.bytes, sized: 'recorded' };
  return { bytes: modelled?.bytes ?? 0, sized: modelled === undefined ? 'assumed' : 'modelled' };
}

/** The instruction of a row of progress. */
function shown(name: string): string {
  return name.replace(/^\[.*?\] /, '');
}

/** How long instructions took when they last ran, and what they left, by their text. */
export function recordedSteps(root: string): ReadonlyMap<string, RecordedStep> {
  const found = new Map<string, RecordedStep>();
  for (const build of new BuildHistory(root).all()) {
    for (const step of build.steps) {
      if (step.failed !== true && !found.has(step.text))
        found.set(step.text, { seconds: step.durationMs / 1000, bytes: step.layer?.size ?? 0 });
    }
  }
  return found;
}
