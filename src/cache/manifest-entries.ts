import type { EntryRecord } from '../context/digest';

/**
 * Entries of a selection, packed to be kept and compared. An entry is a line of `lines`, ended by a
 * NUL, which no path holds; and the beginning of its content's hash in `hashes`, at its index.
 */
export interface PackedEntries {
  readonly count: number;
  /** Of all files. */
  readonly bytes: number;
  readonly lines: Buffer;
  readonly hashes: Buffer;
}

/**
 * Bytes kept of a content's hash: as many as are out of reach for whoever would make two contents
 * that agree in them.
 */
export const HASH_KEPT = 16;

const TYPES: Readonly<Record<EntryRecord['type'], string>> = {
  file: 'f',
  directory: 'd',
  symlink: 's',
  link: 'l',
  fifo: 'p',
  char: 'c',
  block: 'b',
};
/**
 * Characters that are put together as text: of a large selection only the bytes are there as a
 * whole.
 */
const PART = 64 * 1024;
const NO_HASH = '00'.repeat(HASH_KEPT);
/**
 * source, type, mode, uid, gid, size, kept attributes, device, length of the target; then the
 * target and the path, which may hold anything.
 */
const LINE = /^(\d+)\|([a-z])\|(\d+)\|(\d+)\|(\d+)\|(\d*)\|([^|]*)\|([^|]*)\|(\d*)\|([^]*)$/;

export function packEntries(entries: Iterable<EntryRecord>): PackedEntries {
  const lines: Buffer[] = [];
  const hashes: Buffer[] = [];
  const part = { lines: '', hashes: '' };
  let count = 0;
  let bytes = 0;
  const endPart = (): void => {
    lines.push(Buffer.from(part.lines, 'latin1'));
    hashes.push(Buffer.from(part.hashes, 'hex'));
    part.lines = part.hashes = '';
  };
  for (const entry of entries) {
    count++;
    bytes += entry.size ?? 0;
    part.lines += lineOf(entry);
    part.hashes +=
      entry.content === undefined
        ? NO_HASH
        : entry.content.slice(0, 2 * HASH_KEPT).padEnd(2 * HASH_KEPT, '0');
    if (part.lines.length >= PART) endPart();
  }
  endPart();
  return { count, bytes, lines: Buffer.concat(lines), hashes: Buffer.concat(hashes) };
}

/**
 * All entries, with the hashes of their contents as far as they are kept. What has another form is
 * left out.
 */
export function unpackEntries(packed: PackedEntries): EntryRecord[] {
  return linesOf(packed).flatMap((line, index) => parse(line, hashAt(packed, index)) ?? []);
}

/** The entries of each that the other has not, or not in this way. */
export function differingEntries(
  before: PackedEntries,
  after: PackedEntries,
): { readonly before: EntryRecord[]; readonly after: EntryRecord[] } {
  const [old, now] = [linesOf(before), linesOf(after)];
  const most = Math.min(old.length, now.length);
  // Nearly everything is the same from both ends, where one file was changed or came.
  const sameHashes = commonStart(before.hashes, after.hashes) / HASH_KEPT;
  let start = 0;
  while (start < most && start + 1 <= sameHashes && old[start] === now[start]) start++;
  const sameEndHashes = commonEnd(before.hashes, after.hashes) / HASH_KEPT;
  let tail = 0;
  while (
    tail < most - start &&
    tail + 1 <= sameEndHashes &&
    old[old.length - 1 - tail] === now[now.length - 1 - tail]
  )
    tail++;
  const between = (
    packed: PackedEntries,
    lines: readonly string[],
  ): Map<string, () => EntryRecord | undefined> =>
    new Map(
      lines.slice(start, lines.length - tail).map((line, i) => {
        const hash = hashAt(packed, start + i);
        return [`${hash}|${line}`, () => parse(line, hash)];
      }),
    );
  const [left, right] = [between(before, old), between(after, now)];
  const missingIn = (
    other: ReadonlyMap<string, unknown>,
    entries: ReadonlyMap<string, () => EntryRecord | undefined>,
  ): EntryRecord[] =>
    [...entries].flatMap(([text, entry]) => (other.has(text) ? [] : (entry() ?? [])));
  return { before: missingIn(right, left), after: missingIn(left, right) };
}

function lineOf({
  source,
  path,
  type,
  mode,
  uid,
  gid,
  size,
  xattrs,
  device,
  target,
}: EntryRecord): string {
  const facts = `${source}|${TYPES[type]}|${mode}|${uid}|${gid}|${size ?? ''}|${xattrs ?? ''}|${device ?? ''}`;
  return target === undefined
    ? `${facts}||${path}\0`
    : `${facts}|${target.length}|${target}${path}\0`;
}

function linesOf({ lines }: PackedEntries): string[] {
  return lines.toString('latin1').split('\0').slice(0, -1);
}

function parse(line: string, hash: string): EntryRecord | undefined {
  const [, source, letter, mode, uid, gid, size, xattrs, device, targetLength, rest] =
    LINE.exec(line) ?? [];
  const type = (Object.keys(TYPES) as EntryRecord['type'][]).find((name) => TYPES[name] === letter);
  if (type === undefined || rest === undefined) return undefined;
  const cut = Number(targetLength);
  return {
    source: Number(source),
    type,
    mode: Number(mode),
    uid: Number(uid),
    gid: Number(gid),
    size: size === '' ? undefined : Number(size),
    content: hash === NO_HASH ? undefined : hash,
    xattrs: xattrs === '' ? undefined : xattrs,
    device: device === '' ? undefined : device,
    target: targetLength === '' ? undefined : rest.slice(0, cut),
    path: rest.slice(cut),
  };
}

function hashAt({ hashes }: PackedEntries, index: number): string {
  return hashes.toString('hex', index * HASH_KEPT, (index + 1) * HASH_KEPT);
}

/** How many bytes are the same from the beginning. */
function commonStart(a: Buffer, b: Buffer): number {
  return longest(
    Math.min(a.length, b.length),
    (from, to) => a.compare(b, from, to, from, to) === 0,
  );
}

/** How many bytes are the same from the end. */
function commonEnd(a: Buffer, b: Buffer): number {
  return longest(
    Math.min(a.length, b.length),
    (from, to) =>
      a.compare(b, b.length - to, b.length - from, a.length - to, a.length - from) === 0,
  );
}

/** The longest piece that is the same, found by halves. */
function longest(most: number, isSame: (from: number, to: number) => boolean): number {
  let [low, high] = [0, most];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (isSame(low, middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}
