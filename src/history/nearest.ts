import type { BaseRecord, StepRecord } from './build-record';

/** A step of an earlier build, as far as it is compared. */
export type PastStep = Pick<
  StepRecord,
  'stage' | 'platform' | 'index' | 'text' | 'key' | 'durationMs' | 'input'
>;

/** A build of this store, by its id, or one elsewhere, by the cache that tells of it. */
export interface PastBuild {
  readonly id?: string | undefined;
  readonly from?: string | undefined;
  readonly keys?: string | undefined;
  readonly bases: readonly BaseRecord[];
  readonly steps: readonly PastStep[];
}

/** An earlier step that can be compared with. */
export interface Found {
  readonly build: PastBuild;
  readonly step: PastStep;
}

/** Where a step stands, and what it is. */
export type Place = Pick<PastStep, 'stage' | 'platform' | 'index' | 'text'>;

/**
 * The earlier step that is most like one: in the latest build that has it, of its stage, which may
 * have had another name, the nearest of the same text, else that of the same place and keyword. A
 * build for another platform is only taken where none was for this one.
 * @param current all steps of the build that is under way.
 */
export function nearestStep(
  wanted: Place,
  builds: Iterable<PastBuild>,
  current: readonly Pick<Place, 'stage' | 'text'>[],
): Found | undefined {
  let forAnother: Found | undefined;
  for (const build of builds) {
    const stage = stageIn(build, wanted.stage, current);
    const step = mostAlike(
      wanted,
      build.steps.filter((candidate) => candidate.stage === stage),
    );
    if (step === undefined) continue;
    if (!isForAnother(step, wanted)) return { build, step };
    forAnother ??= { build, step };
  }
  return forAnother;
}

/** Whether two steps are known to be for different platforms. */
export function isForAnother(a: Pick<Place, 'platform'>, b: Pick<Place, 'platform'>): boolean {
  return a.platform !== undefined && b.platform !== undefined && a.platform !== b.platform;
}

function mostAlike(wanted: Place, steps: readonly PastStep[]): PastStep | undefined {
  const rank = (step: PastStep): number =>
    (isForAnother(step, wanted) ? 1e6 : 0) +
    (step.text === wanted.text ? 0 : 1e3) +
    Math.abs(step.index - wanted.index);
  const like = steps.filter(
    (step) =>
      step.text === wanted.text ||
      (step.index === wanted.index && keyword(step.text) === keyword(wanted.text)),
  );
  return like.sort((a, b) => rank(a) - rank(b))[0];
}

/**
 * What a stage was called in an earlier build: as now, or as one that is no more there and did much
 * the same.
 */
function stageIn(
  build: PastBuild,
  stage: string,
  current: readonly Pick<Place, 'stage' | 'text'>[],
): string {
  if (build.steps.some((step) => step.stage === stage)) return stage;
  const names = new Set(current.map((step) => step.stage));
  const own = new Set(current.filter((step) => step.stage === stage).map(({ text }) => text));
  const gone = [...new Set(build.steps.map((step) => step.stage))]
    .filter((name) => !names.has(name))
    .map((name) => {
      const texts = new Set(
        build.steps.filter((step) => step.stage === name).map(({ text }) => text),
      );
      const shared = [...texts].filter((text) => own.has(text)).length;
      return { name, shared, isMuchTheSame: shared * 2 >= Math.min(texts.size, own.size) };
    });
  return (
    gone
      .filter(({ shared, isMuchTheSame }) => shared > 0 && isMuchTheSame)
      .sort((a, b) => b.shared - a.shared)[0]?.name ?? stage
  );
}

function keyword(text: string): string {
  return (text.split(/\s/, 1)[0] ?? '').toUpperCase();
}
