import { readFileSync } from 'node:fs';
import { once } from '../linux/libc';
import { bundledFile } from '../linux/bundle';

/** Input bytes of one gzip member; part of what a layer's digest depends on. */
export const MEMBER = 1024 * 1024;
/** What a member may have more bytes than its input. */
export const OVERHEAD = 1024;

/** What is used here of a global that Node's types leave out. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
};

/** What deflate/gzip.ts exports. */
interface Compressor {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly input: { readonly value: number };
  readonly output: { readonly value: number };
  compress(length: number): number;
}

/** A compressor for this thread alone. */
const compressor = once((): Compressor => {
  const module = new WebAssembly.Module(readFileSync(bundledFile('gzip.wasm')));
  return new WebAssembly.Instance(module).exports as unknown as Compressor;
});

/**
 * Replaces the first `length` bytes of a buffer, {@link MEMBER} at most, by a gzip member that
 * unpacks to them, and returns its length; the buffer needs {@link OVERHEAD} bytes more. The same
 * on every machine: it is compiled from what is in `deflate/`, and there are no levels.
 */
export function gzipMember(buffer: Uint8Array, length: number): number {
  const { memory, input, output, compress } = compressor();
  const bytes = new Uint8Array(memory.buffer);
  bytes.set(buffer.subarray(0, length), input.value);
  const size = compress(length);
  buffer.set(bytes.subarray(output.value, output.value + size));
  return size;
}
