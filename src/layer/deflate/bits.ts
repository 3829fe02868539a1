// The output: bits are put in from the lowest up, and leave as whole bytes.

/** Where the next byte goes. */
export let position: usize = 0;
/** Bits that are no whole byte yet, and how many: fewer than 8. */
export let held: u64 = 0;
export let heldBits: u64 = 0;

export function startAt(address: usize): void {
  goOnFrom(address, 0, 0);
}

/** Puts back what a loop kept in variables of its own. */
@inline
export function goOnFrom(address: usize, bits: u64, count: u64): void {
  position = address;
  held = bits;
  heldBits = count;
}

/** At most 32 bits. May write up to 8 bytes behind the last. */
export function put(bits: u32, count: u32): void {
  held |= <u64>bits << heldBits;
  heldBits += count;
  store<u64>(position, held);
  position += <usize>(heldBits >> 3);
  held >>= heldBits & ~7;
  heldBits &= 7;
}

/** Fills the last byte up with zeros. */
export function align(): void {
  if (heldBits > 0) put(0, 8 - <u32>heldBits);
}

export function putBytes(from: usize, length: usize): void {
  memory.copy(position, from, length);
  position += length;
}
