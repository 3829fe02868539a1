/**
 * Reads one column of one table out of an SQLite file: all that rpm's database needs
 * (SQLite, "Database File Format"). Nothing is written, and no SQL is understood.
 */

const MAGIC = 'SQLite format 3\0';
const INTERIOR = 0x05;
const LEAF = 0x0d;
const MAX_DEPTH = 20;

interface Database {
  readonly bytes: Buffer;
  readonly pageSize: number;
  /** Bytes of a page that data can have. */
  readonly usable: number;
}

/** True where the bytes are those of an SQLite file. */
export function isSqlite(bytes: Buffer): boolean {
  return bytes.toString('latin1', 0, MAGIC.length) === MAGIC;
}

/** The values of a column (from 0) of a table, which are texts or blobs. @throws Error for a damaged file, or a table that is not there. */
export function* sqliteColumn(bytes: Buffer, table: string, column: number): Generator<Buffer> {
  const written = bytes.readUInt16BE(16);
  const pageSize = written === 1 ? 65_536 : written;
  const database = { bytes, pageSize, usable: pageSize - (bytes[20] ?? 0) };
  const root = findTable(database, table);
  for (const record of records(database, root, 0)) {
    const value = valueAt(record, column);
    if (value !== undefined) yield value;
  }
}

/** The table of tables has the columns type, name, tbl_name, rootpage, sql. */
function findTable(database: Database, table: string): number {
  for (const record of records(database, 1, 0)) {
    const isTable = valueAt(record, 0)?.toString() === 'table';
    const root = valueAt(record, 3);
    if (isTable && valueAt(record, 1)?.toString() === table && root !== undefined)
      return root.readUIntBE(0, Math.min(6, root.length));
  }
  throw new Error(`its database has no table ${table}`);
}

function* records(database: Database, page: number, depth: number): Generator<Buffer> {
  if (depth > MAX_DEPTH) throw new Error('its database is damaged: pages lead to each other');
  const { pageSize } = database;
  const bytes = pageAt(database, page);
  // The first page begins with the file's header.
  const header = page === 1 ? 100 : 0;
  const type = bytes[header];
  if (type !== LEAF && type !== INTERIOR) throw new Error('its database is damaged: no table page');
  const cells = bytes.readUInt16BE(header + 3);
  const pointers = header + (type === LEAF ? 8 : 12);
  if (pointers + 2 * cells > pageSize) throw new Error('its database is damaged: too many cells');
  for (let i = 0; i < cells; i += 1) {
    const at = bytes.readUInt16BE(pointers + 2 * i);
    if (type === INTERIOR) yield* records(database, bytes.readUInt32BE(at), depth + 1);
    else yield payload(database, bytes, at);
  }
  if (type === INTERIOR) yield* records(database, bytes.readUInt32BE(header + 8), depth + 1);
}

function pageAt({ bytes, pageSize }: Database, page: number): Buffer {
  const start = (page - 1) * pageSize;
  if (page < 1 || start + pageSize > bytes.length) throw new Error('its database is cut off');
  return bytes.subarray(start, start + pageSize);
}

/** The bytes of a row: on its page, and on further ones where it is long ("B-tree Pages", overflow). */
function payload(database: Database, page: Buffer, cell: number): Buffer {
  const size = varint(page, cell);
  const key = varint(page, size.end);
  const { usable } = database;
  const most = usable - 35;
  const local = size.value <= most ? size.value : localSize(size.value, usable);
  const parts = [page.subarray(key.end, key.end + local)];
  let missing = size.value - local;
  let next = missing > 0 ? page.readUInt32BE(key.end + local) : 0;
  while (missing > 0) {
    const overflow = pageAt(database, next);
    const part = overflow.subarray(4, 4 + Math.min(missing, usable - 4));
    parts.push(part);
    missing -= part.length;
    next = overflow.readUInt32BE(0);
  }
  return Buffer.concat(parts);
}

function localSize(size: number, usable: number): number {
  const least = Math.floor(((usable - 12) * 32) / 255) - 23;
  const wanted = least + ((size - least) % (usable - 4));
  return wanted <= usable - 35 ? wanted : least;
}

/** Bytes of the serial types of a record ("Record Format"). */
const SIZES = [0, 1, 2, 3, 4, 6, 8, 8, 0, 0];

function valueAt(record: Buffer, column: number): Buffer | undefined {
  const header = varint(record, 0);
  let at = header.end;
  let position = header.value;
  for (let i = 0; at < header.value; i += 1) {
    const type = varint(record, at);
    const size = type.value >= 12 ? Math.floor((type.value - 12) / 2) : (SIZES[type.value] ?? 0);
    if (i === column)
      return type.value === 0 ? undefined : record.subarray(position, position + size);
    position += size;
    at = type.end;
  }
  return undefined;
}

function varint(bytes: Buffer, at: number): { readonly value: number; readonly end: number } {
  let value = 0;
  for (let i = 0; i < 9; i += 1) {
    const byte = bytes[at + i];
    if (byte === undefined) throw new Error('its database is cut off');
    if (i === 8) return { value: value * 256 + byte, end: at + 9 };
    value = value * 128 + (byte & 0x7f);
    if (byte < 0x80) return { value, end: at + i + 1 };
  }
  throw new Error('its database is damaged');
}
