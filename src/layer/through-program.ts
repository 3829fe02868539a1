import { spawn } from 'node:child_process';
import { pipeline, type Readable } from 'node:stream';

/** How a program that was given bytes failed. */
export type ProgramFailure =
  /** It could not be started. */
  | { readonly kind: 'missing'; readonly cause: Error }
  /** It ended with another code than 0. */
  | { readonly kind: 'failed'; readonly complaint: string };

const MOST_COMPLAINT = 2000;

/**
 * What a program makes of a stream of bytes. It is ended when the consumer stops.
 * @param failed the error for a failure of the program; an error of the source is thrown as it is.
 */
export async function* throughProgram(
  source: Readable,
  name: string,
  args: readonly string[],
  failed: (failure: ProgramFailure) => Error,
): AsyncGenerator<Buffer, void> {
  const child = spawn(name, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let complaint = '';
  child.stderr
    .setEncoding('utf8')
    .on('data', (text: string) => (complaint = (complaint + text).slice(-MOST_COMPLAINT)));
  const ended = new Promise<number | Error>((resolve) => {
    child.once('error', resolve);
    child.once('close', (code) => resolve(code ?? 1));
  });
  let sourceError: unknown;
  source.once('error', (error) => (sourceError = error));
  // A program that stops reading has its reason in its exit code.
  pipeline(source, child.stdin, () => {});
  try {
    yield* child.stdout as AsyncIterable<Buffer>;
    const status = await ended;
    if (sourceError !== undefined) throw sourceError;
    if (typeof status !== 'number') throw failed({ kind: 'missing', cause: status });
    if (status !== 0) throw failed({ kind: 'failed', complaint: complaint.trim() });
  } finally {
    source.destroy();
    child.kill('SIGKILL');
  }
}
