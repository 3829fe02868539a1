import { closeSync, fstatSync, openSync, statSync } from 'node:fs';
import { storing } from '../../content/files';
import { MbuildError } from '../../diagnostics/error';
import { Growth, LAYER_LIMITS, type Applied, type ApplySource } from '../../layer/layer';
import type { layerTasks } from '../../layer/tasks';
import type { StopFlag } from '../../linux/stop-flag';
import type { Layer } from '../../oci/image';
import { layerCompression } from '../../oci/media-types';
import type { ActiveSnapshot } from '../../snapshot/snapshotter';
import type { ImageServices } from '../store/services';

/** What is to be unpacked, and how. */
export interface Applying extends Omit<ApplySource, 'compression'> {
  readonly mediaType: string;
  /** Directories of the layers below, the top first; absent while they are not known. */
  readonly parents?: readonly string[] | undefined;
  readonly stop?: StopFlag | undefined;
}

/**
 * Unpacks a layer into a directory, in a worker.
 * @throws MbuildError IMAGE_INVALID, and as unpacking does.
 */
export function applyLayer(
  { mediaType, parents, stop, ...source }: Applying,
  { dir }: ActiveSnapshot,
  { threads, xattrs }: ImageServices,
): Promise<Applied> {
  const compression = layerCompression(mediaType);
  if (compression === undefined)
    throw new MbuildError('IMAGE_INVALID', `${mediaType} is not a file system layer`);
  return threads.remote<typeof layerTasks>('layer').applyLayer({ ...source, compression }, dir, {
    xattrs,
    limits: LAYER_LIMITS,
    stop,
    ...(parents === undefined ? {} : { parents }),
  });
}

/** A layer whose blob is in the store. */
export function storedLayer(
  { blob, diffId }: Layer,
  { content }: ImageServices,
): Omit<Applying, 'parents' | 'stop'> {
  return {
    mediaType: blob.mediaType,
    path: content.path(blob.digest),
    digest: blob.digest,
    diffId,
  };
}

/** A layer that is unpacked while its blob comes. */
export interface Coming {
  readonly applied: Promise<Applied>;
  /**
   * Whether all of a blob of known size went through the file, and became the file at `place`: not
   * so when the download began anew.
   */
  isWhole(place: string): boolean;
  /**
   * Says that all is there, or that no more comes; then it resolves when nothing is written any
   * more.
   */
  end(state: typeof Growth.whole | typeof Growth.stopped): Promise<void>;
  /** Lets go of the file once the unpacking has ended. */
  close(): void;
}

/** Begins to unpack a file that grows. @param length of the blob, where it is known. */
export function unpackComing(
  path: string,
  length: number | undefined,
  apply: (source: Pick<ApplySource, 'path' | 'growing' | 'length'>) => Promise<Applied>,
): Coming {
  const growing = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const fd = storing(path, () => openSync(path, 'a', 0o600));
  // By its descriptor, for it may have come, and have been renamed, before a worker opens it.
  const applied = apply({ path: `/proc/self/fd/${fd}`, growing, length });
  // The fetch is awaited first, for its error says more about a blob that is not what it should be.
  applied.catch(() => undefined);
  return {
    applied,
    isWhole: (place) => {
      const [read, kept] = [fstatSync(fd), statSync(place, { throwIfNoEntry: false })];
      return length !== undefined && read.size >= length && read.ino === kept?.ino;
    },
    end: async (state) => {
      Atomics.store(growing, 0, state);
      if (state === Growth.stopped) await applied.catch(() => undefined);
    },
    close: () => void applied.catch(() => undefined).finally(() => closeSync(fd)),
  };
}
