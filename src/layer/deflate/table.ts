// Tables of 32-bit numbers at fixed addresses.

@inline
export function get(table: usize, index: u32): u32 {
  return load<u32>(table + (<usize>index << 2));
}

@inline
export function set(table: usize, index: u32, value: u32): void {
  store<u32>(table + (<usize>index << 2), value);
}

@inline
export function add(table: usize, index: u32, value: u32): void {
  set(table, index, get(table, index) + value);
}

@inline
export function clear(table: usize, entries: u32): void {
  memory.fill(table, 0, <usize>entries << 2);
}
