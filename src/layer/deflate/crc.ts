// The checksum of gzip (RFC 1952, 8), sixteen bytes at a time.
import { get, set } from './table';

const POLYNOMIAL: u32 = 0xedb88320;
const ENTRIES: u32 = 256;
const STRIDE: i32 = 16;
/** What a byte does to the sum when it is followed by 0, 1, … 15 others. */
const tables = memory.data(4 * STRIDE * 256, 4);

export function fillCrcTables(): void {
  for (let byte: u32 = 0; byte < ENTRIES; byte++) {
    let sum = byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >> 1) ^ ((sum & 1) * POLYNOMIAL);
    set(tables, byte, sum);
  }
  for (let at: u32 = ENTRIES; at < <u32>STRIDE * ENTRIES; at++) {
    const before = get(tables, at - ENTRIES);
    set(tables, at, (before >> 8) ^ get(tables, before & 0xff));
  }
}

export function crc32(from: usize, length: usize): u32 {
  const to = from + length;
  let sum: u32 = ~0;
  let at = from;
  for (; at + STRIDE <= to; at += STRIDE) sum = afterEight(load<u64>(at) ^ sum, 8) ^ afterEight(load<u64>(at + 8), 0);
  for (; at < to; at++) sum = (sum >> 8) ^ after(load<u8>(at) ^ sum, 0);
  return ~sum;
}

@inline
function afterEight(bytes: u64, others: u32): u32 {
  return after(bytes, others + 7) ^ after(bytes >> 8, others + 6) ^ after(bytes >> 16, others + 5) ^ after(bytes >> 24, others + 4)
    ^ after(bytes >> 32, others + 3) ^ after(bytes >> 40, others + 2) ^ after(bytes >> 48, others + 1) ^ after(bytes >> 56, others);
}

@inline
function after(byte: u64, others: u32): u32 {
  return get(tables, ENTRIES * others + (<u32>byte & 0xff));
}
