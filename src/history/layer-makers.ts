import type { Image } from '../images/store/image-store';
import type { BuildRecord } from './build-record';
import { BuildHistory } from './file-history';

/** What made a layer: an instruction with its line, or the base image. */
export interface LayerMaker {
  readonly title: string;
  /** In the Dockerfile. */
  readonly line?: number | undefined;
}

/**
 * What made each layer of an image: an instruction with its line where the store has the record of
 * its build, else its history.
 * @param root the store's directory.
 */
export function makersOf(
  image: Image,
  root: string,
): (diffId: string, index: number) => LayerMaker {
  const record = buildOf(image, new BuildHistory(root));
  const makerIn = historyMakers(image.config);
  return (diffId, index) =>
    (record === undefined ? undefined : stepOf(record, diffId)) ?? makerIn(index);
}

/** What made each layer, as the image's own history has it. */
export function historyMakers({ history = [] }: Image['config']): (index: number) => LayerMaker {
  const made = history.filter((entry) => entry.empty_layer !== true);
  return (index) => ({ title: made[index]?.created_by ?? 'unknown instruction' });
}

/** The instruction of a build that made a layer. */
export function stepOf(record: BuildRecord, diffId: string): LayerMaker | undefined {
  const step = record.steps.findLast((candidate) => candidate.layer?.diffId === diffId);
  return step === undefined ? undefined : { title: step.text, line: step.line };
}

function buildOf({ id }: Image, history: BuildHistory): BuildRecord | undefined {
  for (const record of history.all()) if (record.result?.imageId === id) return record;
  return undefined;
}
