/**
 * A path whose characters are bytes (0–255), for names on Linux need not be UTF-8. ASCII paths look
 * the same either way. Inside trees (layers, contexts, snapshots) every path is one; sorting it by
 * code unit sorts by byte.
 */
export type RawPath = string;

const ASCII = /^[\x00-\x7f]*$/;

/**
 * What `node:fs` takes for a raw path. Read directories with `{ encoding: 'latin1' }` to get raw
 * names.
 */
export function fsPath(path: RawPath): string | Buffer {
  return ASCII.test(path) ? path : Buffer.from(path, 'latin1');
}

/** The raw path of a text (UTF-8), e.g. of a name in a Dockerfile. */
export function toRaw(text: string): RawPath {
  return ASCII.test(text) ? text : Buffer.from(text, 'utf8').toString('latin1');
}

/** A raw path as text, for messages; bytes that are not UTF-8 show as U+FFFD. */
export function toText(path: RawPath): string {
  return ASCII.test(path) ? path : Buffer.from(path, 'latin1').toString('utf8');
}
