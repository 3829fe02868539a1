import { MbuildError } from '../diagnostics/error';

/** Bytes of one value of ENV, ARG or LABEL. The kernel hands 128 KiB to a program. */
const MAX_VALUE = 1024 * 1024;
/** Bytes of all variables, or of all labels. The kernel hands about 2 MiB to a program. */
const MAX_TOTAL = 4 * 1024 * 1024;
/** Bytes of a stage's history: what docker and containerd take as a config is not much more. */
const MAX_HISTORY = 16 * 1024 * 1024;

const HINT = 'put it into a file, and COPY the file';

/** @throws MbuildError LIMIT_EXCEEDED. */
export function checkValue(what: 'ENV' | 'ARG' | 'LABEL', name: string, value: string): void {
  const size = Buffer.byteLength(value);
  if (size > MAX_VALUE)
    throw new MbuildError(
      'LIMIT_EXCEEDED',
      `the value of ${what} ${name.slice(0, 100)} has ${size} bytes, but at most ${MAX_VALUE} are allowed`,
      { hint: HINT },
    );
}

/** @throws MbuildError LIMIT_EXCEEDED. */
export function checkTotal(what: 'environment' | 'labels', bytes: number): void {
  if (bytes > MAX_TOTAL)
    throw new MbuildError(
      'LIMIT_EXCEEDED',
      `the ${what} of this stage would have ${bytes} bytes, but at most ${MAX_TOTAL} are allowed`,
      { hint: HINT },
    );
}

/** @throws MbuildError LIMIT_EXCEEDED. */
export function checkHistory(bytes: number): void {
  if (bytes > MAX_HISTORY)
    throw new MbuildError(
      'LIMIT_EXCEEDED',
      `the history of this stage would have ${bytes} bytes, but at most ${MAX_HISTORY} are allowed`,
      { hint: 'use fewer and shorter values in instructions' },
    );
}
