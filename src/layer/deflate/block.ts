// One block of deflate (RFC 1951, 3.2): bytes and copies are collected, counted, and written with codes made for them.
import { align, goOnFrom, held, heldBits, position, put, putBytes } from './bits';
import { LONGEST_CODE, makeCode } from './huffman';
import { DISTANCES, END_OF_BLOCK, LITERALS, LONGEST, distanceBase, distanceExtra, distanceSymbol, lengthBase, lengthSymbol, literalExtra } from './symbols';
import { add, clear, get, set } from './table';

/** Bytes and copies of one block: more make the codes fit less well, fewer make more of them. */
const MOST_ITEMS: i32 = 32768;
/** A byte as it is; a copy as its length and distance. */
const items = memory.data(4 * MOST_ITEMS, 4);
const LENGTH_SHIFT: u32 = 16;
const DISTANCE_MASK: u32 = 0xffff;

const literalCounts = memory.data(4 * LITERALS, 4);
const literalLengths = memory.data(4 * LITERALS, 4);
const literalCodes = memory.data(4 * LITERALS, 4);
const distanceCounts = memory.data(4 * DISTANCES, 4);
const distanceLengths = memory.data(4 * DISTANCES, 4);
const distanceCodes = memory.data(4 * DISTANCES, 4);

const SHAPES: u32 = 19;
const LONGEST_SHAPE_CODE: u32 = 7;
const shapeCounts = memory.data(4 * SHAPES, 4);
const shapeLengths = memory.data(4 * SHAPES, 4);
const shapeCodes = memory.data(4 * SHAPES, 4);
/** The order in which the lengths of the codes for code lengths stand: RFC 1951, 3.2.7. */
const shapeOrder = memory.data<u8>([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]);
/** Code lengths with their repetitions: symbol, value of the extra bits, how many those are. */
const shapes = memory.data(4 * (LITERALS + DISTANCES), 4);

/** A code, and above it its bits: of each byte, and of each length with its extra bits. */
const byteWords = memory.data(4 * END_OF_BLOCK, 4);
const lengthWords = memory.data(4 * (LONGEST + 1), 4);
const WORD_BITS_SHIFT: u32 = 24;
const WORD_MASK: u32 = (1 << WORD_BITS_SHIFT) - 1;

const STORED = 0;
const DYNAMIC = 2;
const MOST_STORED: usize = 65535;

/** Where the next item goes. */
let end: usize = items;

@inline
export function isFull(): bool {
  return end == items + 4 * <usize>MOST_ITEMS;
}

@inline
export function addByte(byte: u32): void {
  store<u32>(end, byte);
  end += 4;
  add(literalCounts, byte, 1);
}

@inline
export function addCopy(length: u32, distance: u32): void {
  store<u32>(end, (length << LENGTH_SHIFT) | distance);
  end += 4;
  add(literalCounts, lengthSymbol(length), 1);
  add(distanceCounts, distanceSymbol(distance), 1);
}

/** Writes what was added, which stands for the bytes `from`–`to`; as they are when they do not become fewer. */
export function writeBlock(from: usize, to: usize, isLast: bool): void {
  set(literalCounts, END_OF_BLOCK, 1);
  makeCode(literalCounts, LITERALS, LONGEST_CODE, literalLengths, literalCodes);
  // A block without copies has to have a distance code all the same.
  if (makeCode(distanceCounts, DISTANCES, LONGEST_CODE, distanceLengths, distanceCodes) == 0) set(distanceLengths, 0, 1);
  const literals = lastUsed(literalLengths, LITERALS);
  const distances = lastUsed(distanceLengths, DISTANCES);
  const count = describeLengths(literals, distances);
  makeCode(shapeCounts, SHAPES, LONGEST_SHAPE_CODE, shapeLengths, shapeCodes);

  const size = to - from;
  if (<usize>(bitsOfItems() + bitsOfShapes(count)) >> 3 >= size) writeStored(from, to, isLast);
  else {
    put(isLast ? 1 : 0, 1);
    put(DYNAMIC, 2);
    writeShapes(literals, distances, count);
    writeItems();
    put(get(literalCodes, END_OF_BLOCK), get(literalLengths, END_OF_BLOCK));
  }
  clear(literalCounts, LITERALS);
  clear(distanceCounts, DISTANCES);
  end = items;
}

function lastUsed(lengths: usize, symbols: u32): u32 {
  let last = symbols;
  while (last > 1 && get(lengths, last - 1) == 0) last--;
  return last;
}

@inline
function lengthAt(at: u32, literals: u32): u32 {
  return at < literals ? get(literalLengths, at) : get(distanceLengths, at - literals);
}

/** The code lengths of both alphabets, one after the other, with runs shortened. Returns how many shapes that takes. */
function describeLengths(literals: u32, distances: u32): u32 {
  clear(shapeCounts, SHAPES);
  const total = literals + distances;
  let count: u32 = 0;
  for (let at: u32 = 0; at < total; ) {
    const length = lengthAt(at, literals);
    let run: u32 = 1;
    while (at + run < total && lengthAt(at + run, literals) == length) run++;
    at += run;
    if (length > 0) {
      count = addShape(count, length, 0, 0);
      for (run--; run >= 3; run -= min(run, 6)) count = addShape(count, 16, min(run, 6) - 3, 2);
    } else {
      for (; run >= 11; run -= min(run, 138)) count = addShape(count, 18, min(run, 138) - 11, 7);
      if (run >= 3) {
        count = addShape(count, 17, run - 3, 3);
        run = 0;
      }
    }
    for (; run > 0; run--) count = addShape(count, length, 0, 0);
  }
  return count;
}

function addShape(count: u32, symbol: u32, extra: u32, extraBits: u32): u32 {
  set(shapes, count, symbol | (extra << 8) | (extraBits << 16));
  add(shapeCounts, symbol, 1);
  return count + 1;
}

function bitsOfItems(): u32 {
  let bits: u32 = 0;
  for (let symbol: u32 = 0; symbol < LITERALS; symbol++) {
    const extra = symbol > END_OF_BLOCK ? literalExtra(symbol) : 0;
    bits += get(literalCounts, symbol) * (get(literalLengths, symbol) + extra);
  }
  for (let symbol: u32 = 0; symbol < DISTANCES; symbol++) bits += get(distanceCounts, symbol) * (get(distanceLengths, symbol) + distanceExtra(symbol));
  return bits;
}

function bitsOfShapes(count: u32): u32 {
  let bits: u32 = 0;
  for (let i: u32 = 0; i < count; i++) bits += get(shapeLengths, get(shapes, i) & 0xff) + (get(shapes, i) >> 16);
  return bits;
}

function writeShapes(literals: u32, distances: u32, count: u32): void {
  let ordered = SHAPES;
  while (ordered > 4 && get(shapeLengths, load<u8>(shapeOrder + ordered - 1)) == 0) ordered--;
  put(literals - 257, 5);
  put(distances - 1, 5);
  put(ordered - 4, 4);
  for (let i: u32 = 0; i < ordered; i++) put(get(shapeLengths, load<u8>(shapeOrder + i)), 3);
  for (let i: u32 = 0; i < count; i++) {
    const shape = get(shapes, i);
    put(get(shapeCodes, shape & 0xff), get(shapeLengths, shape & 0xff));
    put((shape >> 8) & 0xff, shape >> 16);
  }
}

function writeItems(): void {
  fillWords();
  // In variables of its own, for this is where most of the time goes.
  let at = position;
  let bits = held;
  let count = heldBits;
  for (let next: usize = items; next < end; next += 4) {
    const item = load<u32>(next);
    if (item >> LENGTH_SHIFT == 0) {
      const word = get(byteWords, item);
      bits |= <u64>(word & WORD_MASK) << count;
      count += word >> WORD_BITS_SHIFT;
    } else {
      const word = get(lengthWords, item >> LENGTH_SHIFT);
      bits |= <u64>(word & WORD_MASK) << count;
      count += word >> WORD_BITS_SHIFT;
      const distance = item & DISTANCE_MASK;
      const symbol = distanceSymbol(distance);
      bits |= <u64>get(distanceCodes, symbol) << count;
      count += get(distanceLengths, symbol);
      bits |= <u64>(distance - distanceBase(symbol)) << count;
      count += distanceExtra(symbol);
    }
    // 7 bits from before, 20 of a length, 28 of a distance: never more than 64.
    store<u64>(at, bits);
    at += <usize>(count >> 3);
    bits >>= count & ~7;
    count &= 7;
  }
  goOnFrom(at, bits, count);
}

function fillWords(): void {
  for (let byte: u32 = 0; byte < END_OF_BLOCK; byte++) set(byteWords, byte, get(literalCodes, byte) | (get(literalLengths, byte) << WORD_BITS_SHIFT));
  for (let length: u32 = 3; length <= LONGEST; length++) {
    const symbol = lengthSymbol(length);
    const bits = get(literalLengths, symbol);
    set(lengthWords, length, get(literalCodes, symbol) | ((length - lengthBase(symbol)) << bits) | ((bits + literalExtra(symbol)) << WORD_BITS_SHIFT));
  }
}

function writeStored(from: usize, to: usize, isLast: bool): void {
  let at = from;
  do {
    const length = min(MOST_STORED, to - at);
    put(isLast && at + length == to ? 1 : 0, 1);
    put(STORED, 2);
    align();
    put(<u32>length | (<u32>~(<u16>length) << 16), 32);
    putBytes(at, length);
    at += length;
  } while (at < to);
}
