import type { BuildRun } from './build-run';
import type { Diagnostic } from '../diagnostics/error';
import type { BuildScope } from '../progress/events';

/**
 * Does a build whose journal hears of everything, also of how it failed.
 * @param work gets the warnings that there were so far; it ends the journal where it ends well.
 */
export async function journaled<T>(
  { scope, journal, ...rest }: BuildRun,
  work: (run: BuildRun, warnings: readonly Diagnostic[]) => Promise<T>,
): Promise<T> {
  const warnings: Diagnostic[] = [];
  const watched: BuildScope = {
    ...scope,
    events: (event) => {
      if (event.kind === 'warning') warnings.push(event.diagnostic);
      journal.events(event);
      scope.events(event);
    },
  };
  try {
    return await work({ ...rest, journal, scope: watched }, warnings);
  } catch (error) {
    await journal.finish({ error });
    throw error;
  }
}
