import { createReadStream } from 'node:fs';
import { createGunzip } from 'node:zlib';
import type { BuildRecord, StepRecord } from '../history/build-record';
import type { BuildHistory } from '../history/file-history';
import { LineSplitter } from '../progress/lines';
import { cleanLine } from '../progress/sanitize';
import { stepsOf } from './format/builds';
import type { Host } from './host';
import { writeBytes } from './streams';

/**
 * Prints what the steps of a build wrote. The log of a step that was taken from the cache is that
 * of the build that ran it. One step alone comes byte for byte, but on a terminal, which its
 * escapes could take over; several with their names, as progress shows them.
 */
export async function showBuildLogs(
  history: BuildHistory,
  record: BuildRecord,
  word: string | undefined,
  host: Host,
): Promise<void> {
  const steps = stepsOf(record, word);
  const [only] = steps;
  if (word !== undefined && steps.length === 1 && only !== undefined) {
    const log = logOf(history, record, only) ?? [];
    if (host.out.isTTY) await showLines(log, '', host);
    else for await (const chunk of log) await writeBytes('stdout', chunk);
    return;
  }
  for (const [i, step] of steps.entries()) {
    host.out.write(`${i === 0 ? '' : '\n'}#${i + 1} ${cleanLine(step.name)}\n`);
    for (const note of record.rows.find((row) => row.id === step.row)?.notes ?? [])
      host.out.write(`#${i + 1} ${cleanLine(note)}\n`);
    await showLines(logOf(history, record, step) ?? [], `#${i + 1} `, host);
    host.out.write(`#${i + 1} ${endOf(step)}\n`);
  }
}

async function showLines(
  log: AsyncIterable<Buffer> | readonly Buffer[],
  prefix: string,
  host: Host,
): Promise<void> {
  const splitter = new LineSplitter();
  const show = (lines: readonly string[]): void =>
    host.out.write(lines.map((line) => `${prefix}${cleanLine(line)}\n`).join(''));
  for await (const chunk of log) {
    show(splitter.push(chunk));
    await host.out.drain();
  }
  show(splitter.end());
}

function endOf(step: StepRecord): string {
  if (step.cached) return step.madeBy === undefined ? 'CACHED' : `CACHED from build ${step.madeBy}`;
  return step.failed === true ? 'ERROR' : `DONE ${(step.durationMs / 1000).toFixed(1)}s`;
}

function logOf(
  history: BuildHistory,
  record: BuildRecord,
  step: StepRecord,
): AsyncIterable<Buffer> | undefined {
  const maker = step.cached && step.madeBy !== undefined ? history.get(step.madeBy) : record;
  const row = maker?.steps.find((candidate) => candidate.key === step.key)?.row;
  const file = maker === undefined || row === undefined ? undefined : history.logFile(maker, row);
  return file === undefined ? undefined : createReadStream(file).pipe(createGunzip());
}
