import { closeSync, constants, openSync } from 'node:fs';
import { readFiles, type ReadFiles } from '../context/digest';
import type { FileContent } from '../context/hash-files';
import type { SelectedEntry } from '../context/selected';
import { MbuildError } from '../diagnostics/error';
import type { TarSummary } from '../layer/layer';
import type { layerTasks } from '../layer/tasks';
import { toRaw, toText } from '../linux/paths';
import type { FileStats } from '../linux/stat';
import { withStopFlag } from '../linux/stop-flag';
import type { ActiveSnapshot } from '../snapshot/snapshotter';
import type { CopyOptions } from './copy';
import { changedMeanwhile, type CopyOp } from './copy-op';
import type { DoneAhead, StepContext } from './planned';
import { presentTime } from './options';

/** A copy that was made while its files were read for the key. */
export interface CopiedAhead extends DoneAhead {
  /** What is in the files that were copied. */
  readonly read: ReadFiles;
}

// From here on hashing files takes longer than all else: those of key and layer are hashed at the
// same time.
const LARGE_COPY = 64 << 20;
const LARGE_FILE = 4 << 20;

/**
 * Copies into a snapshot. `--link` leaves what a plain copy leaves: directories that are there keep
 * their attributes, links on the way are followed.
 */
export async function copyInto(
  active: ActiveSnapshot,
  op: CopyOp,
  { services, parent, scope }: StepContext,
  options: Pick<CopyOptions, 'onContent' | 'earlier'> = {},
): Promise<void> {
  const { runCopy } = await import('./copy');
  const target = {
    parent: services.snapshots.view(await parent.stack()),
    dir: toRaw(active.dir),
    xattrs: services.xattrs,
  };
  await runCopy(op, target, {
    now: presentTime(services.options),
    threads: services.threads,
    signal: scope.signal,
    ...options,
  });
}

/**
 * Copies files into a snapshot of its own, which is the caller's to take or to discard. Small files
 * are hashed on the way, so that each is read once.
 */
export async function copyAhead(
  op: CopyOp,
  files: readonly SelectedEntry[],
  context: StepContext,
): Promise<CopiedAhead> {
  const { services, parent } = context;
  const bytes = files.reduce((sum, { stats }) => sum + stats.size, 0);
  const { compressTargets, secrets } = services.options;
  // A layer that is compressed, or searched for secrets, is hashed on that way.
  const areLarge =
    bytes >= LARGE_COPY &&
    bytes >= files.length * LARGE_FILE &&
    compressTargets !== true &&
    secrets.size === 0;
  const contents = new Map<FileStats, FileContent>();
  const active = services.snapshots.prepare(await parent.stack());
  try {
    await copyInto(
      active,
      op,
      context,
      areLarge ? {} : { onContent: ({ stats }, content) => contents.set(stats, content) },
    );
    if (areLarge)
      return {
        active,
        hashed: hashAhead(active, context),
        read: (wanted) => readCopied(wanted, context),
      };
  } catch (error) {
    services.snapshots.discard(active);
    throw error;
  }
  return {
    active,
    read: (wanted) =>
      Promise.resolve(
        wanted.map(({ hostPath, stats }) => {
          const content = contents.get(stats);
          if (content === undefined)
            throw new MbuildError('INTERNAL', `${toText(hostPath)} was to be copied, and was not`);
          return content;
        }),
      ),
  };
}

/**
 * Finds out what a finished tree comes to, wherever it is moved meanwhile, until the build is
 * stopped. Who discards the tree need not look at what becomes of that.
 */
function hashAhead(
  { dir }: ActiveSnapshot,
  { services: { threads, xattrs, options }, scope }: StepContext,
): Promise<TarSummary> {
  const fd = openSync(dir, constants.O_RDONLY | constants.O_DIRECTORY);
  const { hashTree } = threads.remote<typeof layerTasks>('layer');
  const hashed = withStopFlag(scope.signal, (stop) =>
    hashTree(`/proc/self/fd/${fd}`, { xattrs, clampMtime: options.sourceDateEpoch }, stop),
  ).finally(() => closeSync(fd));
  hashed.catch(() => undefined);
  return hashed;
}

/** Reads files that were copied, and must still be what was. */
async function readCopied(
  files: readonly SelectedEntry[],
  { services: { threads }, scope }: StepContext,
): ReturnType<ReadFiles> {
  const read = await readFiles(files, threads, scope.signal);
  const changed = files.find((_, i) => read[i]?.changed === true);
  if (changed !== undefined) throw changedMeanwhile(changed.hostPath);
  return read;
}
