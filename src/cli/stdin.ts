import { PassThrough } from 'node:stream';
import { decodeText } from '../diagnostics/text';

/** What came on standard input. */
export type StdinContent =
  | { readonly kind: 'archive'; readonly stream: NodeJS.ReadableStream }
  | { readonly kind: 'text'; readonly text: string };

/** A tar header: one block. */
const BLOCK = 512;
/** No Dockerfile is longer; what is must have been meant as something else. */
const MAX_TEXT = 16 << 20;

/**
 * All of standard input as text.
 * @throws RangeError when there is more of it than a Dockerfile can have; MbuildError
 * DOCKERFILE_SYNTAX when it is not UTF-8.
 */
export async function readText(stream: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    size += bytes.length;
    if (size > MAX_TEXT) throw new RangeError('the Dockerfile on standard input is too large');
    chunks.push(bytes);
  }
  return decodeText(Buffer.concat(chunks), 'standard input');
}

/**
 * Docker's rule for `build -`: an archive (a tar, perhaps compressed) is the context, anything else
 * is the Dockerfile.
 */
export async function sniffStdin(stream: NodeJS.ReadableStream): Promise<StdinContent> {
  const iterator = stream[Symbol.asyncIterator]();
  const chunks: Buffer[] = [];
  let size = 0;
  let ended = false;
  while (size < BLOCK && !ended) {
    const { value, done } = await iterator.next();
    ended = done === true;
    if (!ended) chunks.push(typeof value === 'string' ? Buffer.from(value) : value);
    size = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }
  const head = Buffer.concat(chunks);
  const whole = new PassThrough();
  const feed = async (): Promise<void> => {
    whole.write(head);
    for (;;) {
      const { value, done } = ended ? { value: '', done: true } : await iterator.next();
      if (done === true) break;
      if (!whole.write(value))
        await new Promise((resolve) => {
          whole.once('drain', resolve);
        });
    }
    whole.end();
  };
  feed().catch((error: Error) => whole.destroy(error));
  return isArchive(head)
    ? { kind: 'archive', stream: whole }
    : { kind: 'text', text: await readText(whole) };
}

/** True for the beginning of a tar, or of a gzip, bzip2, xz or zstd stream. */
export function isArchive(head: Uint8Array): boolean {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
  const magics = [
    [0x1f, 0x8b, 0x08],
    [0x42, 0x5a, 0x68],
    [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00],
    [0x28, 0xb5, 0x2f, 0xfd],
  ];
  if (magics.some((magic) => magic.every((byte, i) => bytes[i] === byte))) return true;
  if (bytes.length < BLOCK) return false;
  // POSIX ustar: the checksum is the sum of the header's bytes, its own field counted as spaces.
  const sum = bytes
    .subarray(0, BLOCK)
    .reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 0x20 : byte), 0);
  const field = /^ *([0-7]+)/.exec(bytes.toString('latin1', 148, 156));
  return (
    bytes.subarray(0, BLOCK).every((byte) => byte === 0) ||
    (field !== null && parseInt(field[1] ?? '', 8) === sum)
  );
}
