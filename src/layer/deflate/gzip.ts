// A fast gzip compressor. Each call makes one member (RFC 1952) out of up to a mebibyte. What it makes depends on its input
// alone: not on the processor, nor on the version of anything. A change of what it makes changes the digests of layers.
import { align, position, put, startAt } from './bits';
import { addByte, addCopy, isFull, writeBlock } from './block';
import { crc32, fillCrcTables } from './crc';
import { LONGEST, WINDOW, fillSymbols } from './symbols';
import { get, set } from './table';

/** The most that a call takes. */
export const MEMBER: u32 = 1 << 20;
/** What a member may have more bytes than its input: its frame, and what stored blocks take. */
export const OVERHEAD: u32 = 1024;
/** Where the input is put and the output is found. */
export const input: usize = memory.data(MEMBER, 8);
export const output: usize = memory.data(MEMBER + OVERHEAD, 8);

/** Places where four bytes with the same hash were seen last. */
const HASH_BITS: u32 = 15;
const places = memory.data(4 << HASH_BITS, 4);
const NOWHERE: u32 = -(WINDOW + 1);
/** The ends of the input are left out of the search, so that it never reads beyond them. */
const MARGIN: u32 = 8;
const SHORTEST_COPY: u32 = 4;
/** After 64 bytes without a copy every second place is searched, after 128 every third, and so on: what does not compress passes fast. */
const PATIENCE: u32 = 6;
const MOST_SKIPPED: u32 = 15;

fillSymbols();
fillCrcTables();

/** Compresses `length` bytes of `input`. Returns the bytes of the member that is now in `output`. */
export function compress(length: u32): u32 {
  startAt(output);
  // Magic, deflate, no flags, no time, no hint about the effort, from an unknown system.
  put(0x00088b1f, 32);
  put(0, 32);
  put(0xff00, 16);
  deflate(length);
  align();
  put(crc32(input, length), 32);
  put(length, 32);
  return <u32>(position - output);
}

function deflate(length: u32): void {
  for (let i: u32 = 0; i < 1 << HASH_BITS; i++) set(places, i, NOWHERE);
  const searched = length > MARGIN ? length - MARGIN : 0;
  let start: u32 = 0;
  let at: u32 = 0;
  let failures: u32 = 0;
  while (at < length) {
    if (isFull()) {
      writeBlock(input + start, input + at, false);
      start = at;
    }
    const from = at < searched ? lastPlace(at) : NOWHERE;
    if (at - from <= WINDOW && load<u32>(input + from) == load<u32>(input + at)) {
      failures = 0;
      const end = at + sameLength(from, at, min(LONGEST, length - at));
      addCopy(end - at, at - from);
      for (at++; at < end; at++) if (at < searched) set(places, hashAt(at), at);
    } else {
      const end = min(at + 1 + min(failures++ >> PATIENCE, MOST_SKIPPED), length);
      for (; at < end && !isFull(); at++) addByte(load<u8>(input + at));
    }
  }
  writeBlock(input + start, input + length, true);
}

/** Where the bytes at a place may have been before; the place is remembered. */
@inline
function lastPlace(at: u32): u32 {
  const hash = hashAt(at);
  const last = get(places, hash);
  set(places, hash, at);
  return last;
}

@inline
function hashAt(at: u32): u32 {
  return (load<u32>(input + at) * 0x9e3779b1) >> (32 - HASH_BITS);
}

@inline
function sameLength(a: u32, b: u32, most: u32): u32 {
  let length = SHORTEST_COPY;
  for (; length + 8 <= most; length += 8) {
    const difference = load<u64>(input + a + length) ^ load<u64>(input + b + length);
    if (difference != 0) return length + <u32>(ctz(difference) >> 3);
  }
  while (length < most && load<u8>(input + a + length) == load<u8>(input + b + length)) length++;
  return length;
}
