/** rpm's own database, which SUSE has (rpm, lib/backend/ndb). All numbers are little endian. */

const MAGIC = 0x506d7052;
const SLOT_MAGIC = 0x746f6c53;
const BLOB_MAGIC = 0x53626c42;
const HEADER = 32;
const SLOT = 16;
const PAGE = 4096;
const BLOCK = 16;
const BLOB_HEADER = 16;

/** True where the bytes are those of such a database. */
export function isNdb(bytes: Buffer): boolean {
  return bytes.length >= HEADER && bytes.readUInt32LE(0) === MAGIC;
}

/** The headers of all packages. @throws Error for a damaged file. */
export function* ndbHeaders(bytes: Buffer): Generator<Buffer> {
  const end = Math.min(bytes.readUInt32LE(12) * PAGE, bytes.length);
  for (let at = HEADER; at + SLOT <= end; at += SLOT) {
    if (bytes.readUInt32LE(at) !== SLOT_MAGIC) throw new Error('its database is damaged: no slot');
    const index = bytes.readUInt32LE(at + 4);
    if (index === 0) continue;
    yield blobAt(bytes, bytes.readUInt32LE(at + 8) * BLOCK, index);
  }
}

function blobAt(bytes: Buffer, at: number, index: number): Buffer {
  const isWhole = at + BLOB_HEADER <= bytes.length;
  if (!isWhole || bytes.readUInt32LE(at) !== BLOB_MAGIC || bytes.readUInt32LE(at + 4) !== index)
    throw new Error('its database is damaged: no package where a slot points to');
  const start = at + BLOB_HEADER;
  const length = bytes.readUInt32LE(at + 12);
  if (start + length > bytes.length) throw new Error('its database is cut off');
  return bytes.subarray(start, start + length);
}
