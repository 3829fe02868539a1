import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { build, type BuildOptions, type BuildResult, type StepResult } from '../build';
import { tempName } from '../content/files';
import { MbuildError } from '../diagnostics/error';
import { openEngine, type Engine, type EngineOptions } from '../engine';
import { copyImage } from '../images/transfer/copy-image';
import { resolveImage } from '../images/transfer/resolve';
import { removeTree } from '../linux/remove-tree';
import type { BuildScope } from '../progress/events';
import { compareImages, compareRecords, tarOf, type ImageDifference } from './compare-images';
import { differs, type CompareOptions, type TarDifference } from './difference';

/** A step that left something else the second time. */
export interface StepDifference extends TarDifference {
  /** As progress shows it: `[build 2/4] RUN make`. */
  readonly step: string;
  readonly stage: string;
  readonly line: number;
}

/** What building twice came to. */
export interface TwiceReport {
  /** Nothing differs that counts. */
  readonly same: boolean;
  /** Whether times of files and of the image count: they do where SOURCE_DATE_EPOCH sets them. */
  readonly timesCount: boolean;
  /** Times that differ and do not count. */
  readonly ignoredTimes: number;
  /** In the order of the Dockerfile; what follows the first may be its consequence. */
  readonly steps: readonly StepDifference[];
  /** By target and platform. What its layers differ in is told by the steps. */
  readonly images: readonly Pick<ImageDifference, 'sameId' | 'config' | 'history'>[];
}

/** What is done for each of the builds: shows its progress. */
export type ShownBuild = (
  work: (scope: BuildScope) => Promise<BuildResult>,
) => Promise<BuildResult>;

/** The host name that RUN has in the second build, where the user gave none. */
const OTHER_HOST = 'another-host';
/** Times in layers are whole seconds: builds must be further apart to have different ones. */
const APART_MS = 1100;

/**
 * Builds twice, each time in an empty store of its own, at another time and with another host name,
 * and compares what each step left. Base images are those of `engine`'s store, or are pulled into
 * it. Nothing leaves, nothing is named, and the stores are deleted.
 * @throws MbuildError as `build` does; USAGE for a context that can be read only once.
 */
export async function verifyTwice(
  options: BuildOptions,
  engine: Engine,
  stores: Omit<EngineOptions, 'root'>,
  shown: ShownBuild,
): Promise<TwiceReport> {
  if (options.context.kind === 'stream')
    throw new MbuildError('USAGE', 'standard input can be read only once', {
      hint: 'unpack the context, and give its directory',
    });
  const plain: BuildOptions = { ...options, tags: [], outputs: [], cacheFrom: [], cacheTo: [] };
  const hasHost =
    options.hostname !== undefined ||
    options.buildArgs?.['BUILDKIT_SANDBOX_HOSTNAME'] !== undefined;
  const place = tempName(engine.root, 'verify');
  const first = await storeBeside(engine, { ...stores, root: path.join(place, 'first') });
  const second = await storeBeside(engine, { ...stores, root: path.join(place, 'the-second') });
  try {
    const one = await shown((scope) => build(plain, first, scope));
    const other = await shown(async (scope) => {
      await sleep(APART_MS, undefined, { signal: scope.signal });
      return build(hasHost ? plain : { ...plain, hostname: OTHER_HOST }, second, scope);
    });
    return await compareBuilds(
      { result: one, engine: first },
      { result: other, engine: second },
      { ignoreTimes: options.sourceDateEpoch === undefined },
    );
  } finally {
    await Promise.all([first.close(), second.close()]);
    removeTree(place);
  }
}

/** An empty store whose base images come from another one. */
async function storeBeside(engine: Engine, options: EngineOptions): Promise<Engine> {
  const store = await openEngine(options);
  return {
    ...store,
    findBase: async (request, vertex, scope) =>
      copyImage(
        await resolveImage(request, engine.registry, { services: engine, vertex, scope }),
        engine,
        { services: store, vertex, scope },
      ),
  };
}

interface Made {
  readonly result: BuildResult;
  readonly engine: Engine;
}

async function compareBuilds(
  first: Made,
  second: Made,
  options: CompareOptions,
): Promise<TwiceReport> {
  const steps: StepDifference[] = [];
  let ignoredTimes = 0;
  for (const [i, step] of first.result.steps.entries()) {
    const difference = await compareSteps(
      { step, engine: first.engine },
      { step: second.result.steps[i], engine: second.engine },
      options,
    );
    ignoredTimes += difference.timesAlone;
    if (differs(difference))
      steps.push({ step: step.name, stage: step.stage, line: step.line, ...difference });
  }
  const images: TwiceReport['images'][number][] = [];
  for (const [i, { imageId }] of first.result.images.entries()) {
    const [one, other] = [
      first.engine.images.find(imageId),
      second.engine.images.find(second.result.images[i]?.imageId ?? ''),
    ];
    if (one === undefined || other === undefined)
      throw new MbuildError('INTERNAL', 'a build did not keep its image');
    const { sameId, config, history } = await compareImages(
      { image: one, services: first.engine },
      { image: other, services: second.engine },
      options,
    );
    images.push({ sameId, config, history });
  }
  const same =
    steps.length === 0 &&
    images.every(({ config, history }) => config.length + history.length === 0);
  return { same, timesCount: !options.ignoreTimes, ignoredTimes, steps, images };
}

/** What a step left in one of the stores. */
interface Left {
  readonly step: StepResult | undefined;
  readonly engine: Engine;
}

async function compareSteps(
  first: Left,
  second: Left,
  options: CompareOptions,
): Promise<TarDifference> {
  if (first.step?.layer?.diffId === second.step?.layer?.diffId) return { files: [], timesAlone: 0 };
  const open = ({ step, engine }: Left): ReturnType<typeof tarOf> | undefined => {
    // The same changes are the same tar on whatever they lie.
    const record =
      step?.layer === undefined
        ? undefined
        : engine.layers.list().find(({ diffId }) => diffId === step.layer?.diffId);
    return record === undefined ? undefined : tarOf(record, engine);
  };
  return compareRecords(open(first), open(second), options);
}
