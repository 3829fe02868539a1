import { closeSync, constants, openSync, readSync } from 'node:fs';
import { Socket } from 'node:net';
import { errnoOf } from '../diagnostics/error';

/**
 * All that comes out of a pipe with a name, such as `<(command)` of a shell makes; nothing where
 * nobody writes to it. While it waits, this thread goes on.
 * @throws RangeError for more bytes than `most`.
 */
export async function readPipe(file: string, most: number): Promise<Buffer> {
  const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  const chunks = [readAtOnce(fd)];
  if (chunks[0] !== undefined && chunks[0].length === 0) {
    closeSync(fd);
    return chunks[0];
  }
  let size = chunks[0]?.length ?? 0;
  for await (const chunk of new Socket({
    fd,
    readable: true,
    writable: false,
  }) as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > most) throw new RangeError(`more than ${most} bytes`);
  }
  return Buffer.concat(chunks.filter((chunk) => chunk !== undefined));
}

/**
 * Empty at the end, and where nobody has the pipe open for writing; `undefined` while somebody has,
 * and has not written yet.
 */
function readAtOnce(fd: number): Buffer | undefined {
  const buffer = Buffer.allocUnsafe(64 * 1024);
  try {
    return buffer.subarray(0, readSync(fd, buffer));
  } catch (error) {
    if (errnoOf(error) === 'EAGAIN') return undefined;
    closeSync(fd);
    throw error;
  }
}
