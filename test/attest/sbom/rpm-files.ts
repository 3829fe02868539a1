import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';

/** A package's header as rpm keeps it: texts, and the epoch as a number. */
export function rpmHeader(tags: Readonly<Record<number, string | number>>): Buffer {
  const entries: Buffer[] = [];
  let data = Buffer.alloc(0);
  for (const [tag, value] of Object.entries(tags)) {
    const bytes = typeof value === 'number' ? Buffer.alloc(4) : Buffer.from(`${value}\0`);
    if (typeof value === 'number') {
      data = Buffer.concat([data, Buffer.alloc((4 - (data.length % 4)) % 4)]);
      bytes.writeUInt32BE(value);
    }
    const entry = Buffer.alloc(16);
    entry.writeUInt32BE(Number(tag), 0);
    entry.writeUInt32BE(typeof value === 'number' ? 4 : 6, 4);
    entry.writeUInt32BE(data.length, 8);
    entry.writeUInt32BE(1, 12);
    entries.push(entry);
    data = Buffer.concat([data, bytes]);
  }
  const head = Buffer.alloc(8);
  head.writeUInt32BE(entries.length, 0);
  head.writeUInt32BE(data.length, 4);
  return Buffer.concat([head, ...entries, data]);
}

/** rpmdb.sqlite with these headers, written by SQLite itself (python3). */
export function sqliteDatabase(directory: string, headers: readonly Buffer[]): Buffer {
  const file = path.join(directory, 'rpmdb.sqlite');
  const script = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("CREATE TABLE 'Other' (a TEXT)")
db.execute("CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
for line in sys.stdin: db.execute("INSERT INTO Packages (blob) VALUES (?)", (bytes.fromhex(line.strip()),))
db.commit()`;
  const input = headers.map((header) => header.toString('hex')).join('\n');
  execFileSync('python3', ['-c', script, file], { input });
  return readFileSync(file);
}

/** SUSE's database with these headers. */
export function ndbDatabase(headers: readonly Buffer[]): Buffer {
  const head = Buffer.alloc(4096);
  head.write('RpmP', 'latin1');
  head.writeUInt32LE(1, 12);
  let blocks = Buffer.alloc(0);
  for (let slot = 0; slot < (4096 - 32) / 16; slot += 1) {
    const at = 32 + slot * 16;
    head.write('Slot', at, 'latin1');
    const header = headers[slot];
    if (header === undefined) continue;
    const blob = Buffer.alloc(Math.ceil((16 + header.length) / 16) * 16);
    blob.write('BlbS', 'latin1');
    blob.writeUInt32LE(slot + 1, 4);
    blob.writeUInt32LE(header.length, 12);
    header.copy(blob, 16);
    head.writeUInt32LE(slot + 1, at + 4);
    head.writeUInt32LE((4096 + blocks.length) / 16, at + 8);
    head.writeUInt32LE(blob.length / 16, at + 12);
    blocks = Buffer.concat([blocks, blob]);
  }
  return Buffer.concat([head, blocks]);
}

/** A hash table of Berkeley DB with one header on its page and one on overflow pages. */
export function bdbDatabase(short: Buffer, long: Buffer): Buffer {
  const PAGE = 512;
  const meta = Buffer.alloc(PAGE);
  meta.writeUInt32LE(0x061561, 12);
  meta.writeUInt32LE(PAGE, 20);
  const page = Buffer.alloc(PAGE);
  page[25] = 13;
  const items = [
    Buffer.from([1, 1, 0, 0, 0]),
    Buffer.concat([Buffer.from([1]), short]),
    Buffer.from([1, 2, 0, 0, 0]),
    Buffer.alloc(12),
  ];
  items[3]?.writeUInt8(3, 0);
  items[3]?.writeUInt32LE(2, 4);
  items[3]?.writeUInt32LE(long.length, 8);
  let end = PAGE;
  items.forEach((item, i) => {
    end -= item.length;
    item.copy(page, end);
    page.writeUInt16LE(end, 26 + 2 * i);
  });
  page.writeUInt16LE(items.length, 20);
  const room = PAGE - 26;
  const overflow = Array.from({ length: Math.ceil(long.length / room) }, (_, i) => {
    const bytes = Buffer.alloc(PAGE);
    const part = long.subarray(i * room, (i + 1) * room);
    part.copy(bytes, 26);
    bytes[25] = 7;
    bytes.writeUInt16LE(part.length, 22);
    bytes.writeUInt32LE(3 + i, 16);
    return bytes;
  });
  return Buffer.concat([meta, page, ...overflow]);
}
