import { MbuildError } from './error';

/**
 * The text of a file that must be UTF-8; a byte order mark stays. Anything else would change
 * silently on its way into an image.
 * @throws MbuildError DOCKERFILE_SYNTAX naming the line.
 */
export function decodeText(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    const line = firstBrokenLine(bytes);
    throw new MbuildError('DOCKERFILE_SYNTAX', `${name}:${line} is not UTF-8`, {
      cause,
      hint: 'save the file as UTF-8; to get other bytes, use printf in a RUN',
    });
  }
}

/** The first line, counted from 1, with bytes that are not UTF-8. */
function firstBrokenLine(bytes: Uint8Array): number {
  const lines = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    .toString('latin1')
    .split('\n');
  return (
    lines.findIndex((line) => Buffer.from(line, 'latin1').toString('utf8').includes('\ufffd')) + 1
  );
}
