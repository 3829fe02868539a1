import type { BuildRun } from './build-run';
import { errnoOf, isMbuildError } from '../diagnostics/error';
import { humanSize } from '../progress/units';
import type { FailedRun, FailedRunHandler } from '../solver/failed-run';

/** What becomes of a RUN that failed: a person decides, where one is asked; else it is kept. */
export function failedRunHandler(run: BuildRun): FailedRunHandler | undefined {
  const { keepFailed = 0, onFailedRun } = run.options;
  if (keepFailed === 0 && onFailedRun === undefined) return undefined;
  return async (failed) => {
    const decided = await onFailedRun?.(failed);
    if (decided === undefined && keepFailed > 0) await keep(failed, run, keepFailed);
    return decided;
  };
}

/** Keeps the tree, and says under which name. A full disk does not hide why the step failed. */
async function keep(
  failed: FailedRun,
  { engine, lease, journal, scope }: BuildRun,
  size: number,
): Promise<void> {
  const { keepFailedRun } = await import('../debug/keep');
  const tell = (text: string): void => scope.events({ kind: 'note', id: failed.vertex, text });
  try {
    const { root, snapshots } = engine;
    const now = Date.now();
    const kept = keepFailedRun(failed, { root, snapshots, lease, build: journal.id, size, now });
    if ('tooLarge' in kept)
      tell(
        `not kept: its files have ${humanSize(kept.tooLarge)}, which is more than --keep-failed ${humanSize(size)}`,
      );
    else tell(`kept for a day: mbuild debug ${journal.id} opens a shell in it`);
  } catch (error) {
    if (!isMbuildError(error) && errnoOf(error) === undefined) throw error;
    tell(`not kept: ${(error as Error).message}`);
  }
}
