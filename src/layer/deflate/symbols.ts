// The symbols that deflate has for bytes, lengths and distances: RFC 1951, 3.2.5.

/** Bytes, the end of a block, then lengths. */
export const LITERALS: u32 = 286;
export const END_OF_BLOCK: u32 = 256;
export const DISTANCES: u32 = 30;

const FIRST_LENGTH: u32 = 257;
const SHORTEST: u32 = 3;
export const LONGEST: u32 = 258;
/** How far back a copy may reach. */
export const WINDOW: u32 = 32768;

/** By length. */
const lengthSymbols = memory.data(LONGEST + 1);
/** By distance less one; from 256 on by its upper bits, as larger symbols stand for more than 128 distances each. */
const distanceSymbols = memory.data(512);

export function fillSymbols(): void {
  for (let symbol = FIRST_LENGTH; symbol < LITERALS; symbol++) {
    const last = min(lengthBase(symbol) + (1 << literalExtra(symbol)) - 1, LONGEST);
    for (let length = lengthBase(symbol); length <= last; length++) store<u8>(lengthSymbols + length, <u8>(symbol - FIRST_LENGTH));
  }
  for (let symbol: u32 = 0; symbol < DISTANCES; symbol++) {
    const first = distanceBase(symbol) - 1;
    for (let at = first; at < first + (1 << distanceExtra(symbol)); at++) store<u8>(at < 256 ? distanceSymbols + at : distanceSymbols + 256 + (at >> 7), <u8>symbol);
  }
}

@inline
export function lengthSymbol(length: u32): u32 {
  return FIRST_LENGTH + load<u8>(lengthSymbols + length);
}

@inline
export function distanceSymbol(distance: u32): u32 {
  const at = distance - 1;
  return load<u8>(at < 256 ? distanceSymbols + at : distanceSymbols + 256 + (at >> 7));
}

/** The first length of a symbol. */
@inline
export function lengthBase(symbol: u32): u32 {
  const i = symbol - FIRST_LENGTH;
  if (i < 8) return SHORTEST + i;
  if (symbol == LITERALS - 1) return LONGEST;
  return SHORTEST + ((4 + (i & 3)) << ((i >> 2) - 1));
}

/** Bits that follow a symbol of the first alphabet. */
@inline
export function literalExtra(symbol: u32): u32 {
  return symbol < FIRST_LENGTH + 8 || symbol == LITERALS - 1 ? 0 : ((symbol - FIRST_LENGTH) >> 2) - 1;
}

/** The first distance of a symbol. */
@inline
export function distanceBase(symbol: u32): u32 {
  return symbol < 4 ? 1 + symbol : 1 + ((2 + (symbol & 1)) << ((symbol >> 1) - 1));
}

/** Bits that follow a symbol of the second alphabet. */
@inline
export function distanceExtra(symbol: u32): u32 {
  return symbol < 4 ? 0 : (symbol >> 1) - 1;
}
