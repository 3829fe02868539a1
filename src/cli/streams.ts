import { write } from 'node:fs';
import { errnoOf } from '../diagnostics/error';

/** Milliseconds until a descriptor that would block is tried again. */
const RETRY = 5;
const FDS = { stdout: 1, stderr: 2 } as const;

/**
 * Writes bytes to a standard stream, by the thread pool: a reader that is slow does not stop the
 * program.
 * @throws EPIPE when the reader is gone.
 */
export async function writeBytes(stream: keyof typeof FDS, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const result = await new Promise<number | NodeJS.ErrnoException>((resolve) => {
      write(FDS[stream], bytes, done, bytes.length - done, null, (error, written) =>
        resolve(error ?? written),
      );
    });
    if (typeof result === 'number') done += result;
    else if (errnoOf(result) !== 'EAGAIN') throw result;
    else
      await new Promise((resolve) => {
        setTimeout(resolve, RETRY);
      });
  }
}
