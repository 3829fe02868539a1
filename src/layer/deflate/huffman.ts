// Prefix codes for given frequencies, of limited length and in deflate's canonical form.
import { add, clear, get, set } from './table';

const MOST_SYMBOLS: u32 = 286;
export const LONGEST_CODE: u32 = 15;

/** Symbols that occur, by frequency: the symbol in the lower bits. */
const sorted = memory.data(4 * MOST_SYMBOLS, 4);
const SYMBOL_BITS: u32 = 9;
/** Weights, then parents, then depths, each in the place of the one before. */
const tree = memory.data(4 * MOST_SYMBOLS, 4);
/** Codes of each length. */
const counts = memory.data(4 * (LONGEST_CODE + 1), 4);
/** The next code of each length. */
const nextCodes = memory.data(4 * (LONGEST_CODE + 1), 4);

/**
 * Writes a code length for each symbol (0 for one that does not occur), the shortest in sum but for the limit, and the codes themselves, their first bit lowest.
 * @returns how many symbols occur; a single one gets one bit.
 */
export function makeCode(frequencies: usize, symbols: u32, longest: u32, lengths: usize, codes: usize): u32 {
  clear(lengths, symbols);
  const used = sortSymbols(frequencies, symbols);
  if (used == 1) set(lengths, symbolAt(0), 1);
  if (used > 1) {
    measureDepths(used);
    countLengths(used, longest);
    let at: u32 = 0;
    for (let length = longest; length > 0; length--) {
      for (let left = get(counts, length); left > 0; left--) set(lengths, symbolAt(at++), length);
    }
  }
  numberCodes(lengths, symbols, codes);
  return used;
}

@inline
function symbolAt(rank: u32): u32 {
  return get(sorted, rank) & ((1 << SYMBOL_BITS) - 1);
}

function sortSymbols(frequencies: usize, symbols: u32): u32 {
  let used: u32 = 0;
  for (let symbol: u32 = 0; symbol < symbols; symbol++) {
    const frequency = get(frequencies, symbol);
    if (frequency == 0) continue;
    const key = (frequency << SYMBOL_BITS) | symbol;
    let at = used++;
    for (; at > 0 && get(sorted, at - 1) > key; at--) set(sorted, at, get(sorted, at - 1));
    set(sorted, at, key);
  }
  return used;
}

/** The depth of each leaf of a Huffman tree, in place: Moffat and Katajainen, "In-Place Calculation of Minimum-Redundancy Codes". */
function measureDepths(used: u32): void {
  for (let i: u32 = 0; i < used; i++) set(tree, i, get(sorted, i) >> SYMBOL_BITS);
  // Leaves are joined with inner nodes, which hold their weight until they have a parent.
  let root: u32 = 0;
  let leaf: u32 = 0;
  for (let node: u32 = 0; node < used - 1; node++) {
    let weight: u32 = 0;
    for (let child = 0; child < 2; child++) {
      if (leaf >= used || (root < node && get(tree, root) < get(tree, leaf))) {
        weight += get(tree, root);
        set(tree, root++, node);
      } else weight += get(tree, leaf++);
    }
    set(tree, node, weight);
  }
  // Inner nodes: parents become depths.
  set(tree, used - 2, 0);
  for (let node = <i32>used - 3; node >= 0; node--) set(tree, node, get(tree, get(tree, node)) + 1);
  // Leaves: as many at each depth as inner nodes leave room for.
  let inner = <i32>used - 2;
  let place = <i32>used - 1;
  let room: u32 = 1;
  for (let depth: u32 = 0; room > 0; depth++) {
    let taken: u32 = 0;
    for (; inner >= 0 && get(tree, inner) == depth; inner--) taken++;
    for (; room > taken; room--) set(tree, place--, depth);
    room = 2 * taken;
  }
}

/** How many codes there are of each length. What is too long is cut, and others are made longer until the code is a prefix code again. */
function countLengths(used: u32, longest: u32): void {
  clear(counts, LONGEST_CODE + 1);
  for (let i: u32 = 0; i < used; i++) add(counts, min(get(tree, i), longest), 1);
  let filled: u32 = 0;
  for (let length: u32 = 1; length <= longest; length++) filled += get(counts, length) << (longest - length);
  for (; filled > 1 << longest; filled--) {
    let length = longest - 1;
    while (get(counts, length) == 0) length--;
    add(counts, longest, -1);
    add(counts, length, -1);
    add(counts, length + 1, 2);
  }
}

/** RFC 1951, 3.2.2. */
function numberCodes(lengths: usize, symbols: u32, codes: usize): void {
  clear(counts, LONGEST_CODE + 1);
  for (let symbol: u32 = 0; symbol < symbols; symbol++) add(counts, get(lengths, symbol), 1);
  set(counts, 0, 0);
  let code: u32 = 0;
  for (let length: u32 = 1; length <= LONGEST_CODE; length++) {
    code = (code + get(counts, length - 1)) << 1;
    set(nextCodes, length, code);
  }
  for (let symbol: u32 = 0; symbol < symbols; symbol++) {
    const length = get(lengths, symbol);
    if (length == 0) continue;
    set(codes, symbol, reversed(get(nextCodes, length), length));
    add(nextCodes, length, 1);
  }
}

function reversed(code: u32, length: u32): u32 {
  let bits: u32 = 0;
  for (let i: u32 = 0; i < length; i++) bits |= ((code >> i) & 1) << (length - 1 - i);
  return bits;
}
