import type { BuildResult } from '../../build';
import { summaryLine } from '../../history/build-record';
import { cleanLine } from '../../progress/sanitize';
import { seconds } from '../../progress/units';
import { slowest } from '../../report/job-summary';
import { shortName } from '../services';

/** Lines of the summary, at most. */
const LINES = 10;
const MISSES = 3;
const SLOW = 3;
const WIDTH = 160;

/** What came of a build in at most ten lines, for the end of a CI job's log. Ends with a line feed. */
export function ciSummary(result: BuildResult, durationMs: number): string {
  const { steps, warnings, imageId, descriptor, names } = result;
  const missed = steps.filter(({ missed: causes }) => causes !== undefined);
  const rest = missed.length - MISSES;
  const more =
    warnings.length === 0 ? '' : `, ${warnings.length} warning${warnings.length === 1 ? '' : 's'}`;
  return [
    `${summaryLine(result.buildId, result.cache)}, ${seconds(durationMs)} in all${more}`,
    ...(imageId === undefined ? [] : [`image: ${imageId}`, `digest: ${descriptor.digest}`]),
    ...(names.length === 0 ? [] : [`names: ${names.map(shortName).join(', ')}`]),
    ...missed
      .slice(0, MISSES)
      .map(
        ({ name, missed: causes = [] }, i) =>
          `not cached: ${name}: ${causes.join(', ')}${i === MISSES - 1 && rest > 0 ? `, and ${rest} more steps` : ''}`,
      ),
    ...slowest(steps)
      .slice(0, SLOW)
      .map(({ name, durationMs: took }) => `slow: ${seconds(took)} ${name}`),
  ]
    .slice(0, LINES)
    .map((line) => `${cut(cleanLine(line))}\n`)
    .join('');
}

function cut(line: string): string {
  return line.length > WIDTH ? `${line.slice(0, WIDTH - 1)}…` : line;
}
