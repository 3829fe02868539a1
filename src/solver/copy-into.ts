import type { ReadFiles } from '../context/digest';
import type { FileContent } from '../context/hash-files';
import { MbuildError } from '../diagnostics/error';
import { toRaw, toText } from '../linux/paths';
import type { FileStats } from '../linux/stat';
import type { ActiveSnapshot } from '../snapshot/snapshotter';
import type { CopyOptions } from './copy';
import type { CopyOp } from './copy-op';
import type { StepContext } from './step';

/** A copy that was made while its files were read for the key, so that each was read once. */
export interface CopiedAhead {
  readonly active: ActiveSnapshot;
  /** What is in the files that were copied. */
  readonly read: ReadFiles;
}

/** Copies into a snapshot. `--link` leaves what a plain copy leaves: directories that are there keep their attributes, links on the way are followed. */
export async function copyInto(active: ActiveSnapshot, op: CopyOp, { services, parent, scope }: StepContext, options: Pick<CopyOptions, 'onContent' | 'earlier'> = {}): Promise<void> {
  const { runCopy } = await import('./copy');
  const target = { parent: services.snapshots.view(await parent.stack()), dir: toRaw(active.dir), xattrs: services.xattrs };
  await runCopy(op, target, { now: services.options.sourceDateEpoch, threads: services.threads, signal: scope.signal, ...options });
}

/** Copies into a snapshot of its own, which is the caller's to take or to discard. */
export async function copyAhead(op: CopyOp, context: StepContext): Promise<CopiedAhead> {
  const { services, parent } = context;
  const contents = new Map<FileStats, FileContent>();
  const active = services.snapshots.prepare(await parent.stack());
  try {
    await copyInto(active, op, context, { onContent: ({ stats }, content) => contents.set(stats, content) });
  } catch (error) {
    services.snapshots.discard(active);
    throw error;
  }
  return {
    active,
    read: (files) => Promise.resolve(files.map(({ hostPath, stats }) => {
      const content = contents.get(stats);
      if (content === undefined) throw new MbuildError('INTERNAL', `${toText(hostPath)} was to be copied, and was not`);
      return content;
    })),
  };
}
