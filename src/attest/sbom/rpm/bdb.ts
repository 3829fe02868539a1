/** A hash table of Berkeley DB, which RHEL 8 and older have (db, dbinc/db_page.h, hash.h). */

const MAGIC = 0x061561;
const PAGE_HEADER = 26;
const UNSORTED_PAGE = 2;
const HASH_PAGE = 13;
const OVERFLOW_PAGE = 7;
const INLINE = 1;
const OFF_PAGE = 3;

/** True where the bytes are those of such a file, written by a little-endian machine. */
export function isBdb(bytes: Buffer): boolean {
  return bytes.length >= 512 && bytes.readUInt32LE(12) === MAGIC;
}

/** The values of all entries but the counter that rpm keeps. @throws Error for a damaged file. */
export function* bdbValues(bytes: Buffer): Generator<Buffer> {
  const pageSize = bytes.readUInt32LE(20);
  if (pageSize < 512 || pageSize > 65_536) throw new Error('its database is damaged');
  for (let start = pageSize; start + pageSize <= bytes.length; start += pageSize) {
    const page = bytes.subarray(start, start + pageSize);
    const type = page[25];
    if (type === HASH_PAGE || type === UNSORTED_PAGE) yield* pageValues(bytes, page, pageSize);
  }
}

function* pageValues(bytes: Buffer, page: Buffer, pageSize: number): Generator<Buffer> {
  const entries = page.readUInt16LE(20);
  if (PAGE_HEADER + 2 * entries > pageSize)
    throw new Error('its database is damaged: too many entries');
  const at = (i: number): number => page.readUInt16LE(PAGE_HEADER + 2 * i);
  for (let i = 1; i < entries; i += 2) {
    const start = at(i);
    const end = at(i - 1);
    const kind = page[start];
    if (kind === INLINE && end - start > 5) yield page.subarray(start + 1, end);
    if (kind === OFF_PAGE) {
      const first = page.readUInt32LE(start + 4);
      yield longValue({ bytes, pageSize, first, length: page.readUInt32LE(start + 8) });
    }
  }
}

interface LongValue {
  readonly bytes: Buffer;
  readonly pageSize: number;
  readonly first: number;
  readonly length: number;
}

/** Each page says how much of it is used, and which one is next. */
function longValue({ bytes, pageSize, first, length }: LongValue): Buffer {
  const parts: Buffer[] = [];
  let missing = length;
  let next = first;
  while (missing > 0) {
    const page = bytes.subarray(next * pageSize, (next + 1) * pageSize);
    const used = page.length < pageSize ? 0 : page.readUInt16LE(22);
    if (page[25] !== OVERFLOW_PAGE || used === 0) throw new Error('its database is cut off');
    parts.push(page.subarray(PAGE_HEADER, PAGE_HEADER + Math.min(used, missing)));
    missing -= used;
    next = page.readUInt32LE(16);
  }
  return Buffer.concat(parts);
}
