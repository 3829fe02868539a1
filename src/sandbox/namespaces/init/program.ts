import type { RawPath } from '../../../linux/paths';
import { BASE, MAX_PROGRAM, type Arch } from './interpreter';
import { syscallNumber, type Syscall } from './syscalls';

/**
 * An argument of a system call. Everything but numbers is laid into the program, and its address is
 * passed.
 */
export type Arg =
  | number
  | bigint
  /** A NUL-terminated string, in UTF-8. */
  | { readonly text: string }
  /** A NUL-terminated path, byte by byte. */
  | { readonly path: RawPath }
  | { readonly bytes: Uint8Array }
  /** A NULL-terminated array of strings: argv, envp. */
  | { readonly strings: readonly string[] }
  /** A structure of 64-bit words. */
  | { readonly words: readonly (number | { readonly bytes: Uint8Array })[] }
  /** The result that an earlier op saved under this name; one op can take it. */
  | { readonly saved: string }
  /** The address of that result. */
  | { readonly addressOf: string }
  /** The address of a zeroed buffer; every mention of a name means the same one. */
  | { readonly buffer: string; readonly size: number };

/** Where to go on: the next op, the end with a report, or the op with a label. */
export type Next = 'next' | 'fail' | { readonly to: string };

/** One system call of a program. */
export interface Op {
  /** For error messages: `mount proc on /proc`. */
  readonly what: string;
  readonly call: Syscall;
  readonly args: readonly Arg[];
  readonly label?: string | undefined;
  /** Keeps the result under a name. */
  readonly save?: string | undefined;
  /** After an error (default `fail`), after zero and after a positive result (default `next`). */
  readonly onError?: Next | undefined;
  readonly onZero?: Next | undefined;
  readonly onPositive?: Next | undefined;
}

/** A program in memory, and what its reports mean. */
export interface Program {
  readonly image: Buffer;
  /** The op whose record stands at an address. */
  readonly opAt: (address: bigint) => Op | undefined;
}

const HEADER = 16;
const RECORD = 11 * 8;

/**
 * Lays ops out for the interpreter. An op that fails jumps to the label `fail`, which the program
 * must have; there the first 16 bytes at BASE hold the address of the failed record and the
 * negative errno.
 * @throws Error on an unknown label or name, and when the program is too big (E2BIG for an absurd
 * argument list).
 */
export function assemble(ops: readonly Op[], arch: Arch): Program {
  const addressOfOp = (index: number): number => BASE + HEADER + index * RECORD;
  const labels = new Map(
    ops.flatMap((op, index) =>
      op.label === undefined ? [] : [[op.label, addressOfOp(index)] as const],
    ),
  );
  const cells = cellsOf(ops, addressOfOp);
  const data = new DataSegment(BASE + HEADER + ops.length * RECORD);
  const scratch = data.reserve(8);
  for (const [name, cell] of cells) if (cell === undefined) cells.set(name, data.reserve(8));

  const records = Buffer.alloc(HEADER + ops.length * RECORD);
  ops.forEach((op, index) => {
    const at = HEADER + index * RECORD;
    const write = (word: number, value: bigint): void => {
      records.writeBigUInt64LE(BigInt.asUintN(64, value), at + word * 8);
    };
    const goTo = (next: Next): bigint => {
      if (next === 'next') return BigInt(addressOfOp(index + 1));
      const label = next === 'fail' ? 'fail' : next.to;
      const address = labels.get(label);
      if (address === undefined) throw new Error(`no op is labelled ${label}`);
      return BigInt(address);
    };
    write(0, BigInt(syscallNumber(op.call, arch)));
    op.args.forEach((arg, i) => write(1 + i, valueOf(arg, data, cells)));
    write(7, BigInt((op.save === undefined ? undefined : cells.get(op.save)) ?? scratch));
    write(8, goTo(op.onError ?? 'fail'));
    write(9, goTo(op.onZero ?? 'next'));
    write(10, goTo(op.onPositive ?? 'next'));
  });

  const image = Buffer.concat([records, data.bytes()]);
  if (image.length > MAX_PROGRAM)
    throw Object.assign(new Error('argument list too long'), { code: 'E2BIG' });
  return { image, opAt: (address) => ops[(Number(address) - BASE - HEADER) / RECORD] };
}

/**
 * Where each saved result lives: in the argument that takes it; `undefined` until the data segment
 * has a place for it.
 */
function cellsOf(
  ops: readonly Op[],
  addressOfOp: (index: number) => number,
): Map<string, number | undefined> {
  const cells = new Map<string, number | undefined>();
  for (const op of ops) if (op.save !== undefined) cells.set(op.save, undefined);
  ops.forEach((op, index) =>
    op.args.forEach((arg, i) => {
      if (typeof arg === 'object' && 'saved' in arg)
        cells.set(arg.saved, addressOfOp(index) + (1 + i) * 8);
    }),
  );
  return cells;
}

function valueOf(
  arg: Arg,
  data: DataSegment,
  cells: ReadonlyMap<string, number | undefined>,
): bigint {
  if (typeof arg === 'number' || typeof arg === 'bigint') return BigInt(arg);
  if ('text' in arg) return data.add(Buffer.from(`${arg.text}\0`, 'utf8'));
  if ('path' in arg) return data.add(Buffer.from(`${arg.path}\0`, 'latin1'));
  if ('bytes' in arg) return data.add(arg.bytes);
  if ('strings' in arg)
    return data.addWords([
      ...arg.strings.map((text) => data.add(Buffer.from(`${text}\0`, 'utf8'))),
      0n,
    ]);
  if ('words' in arg) return data.addWords(arg.words.map((word) => valueOf(word, data, cells)));
  if ('buffer' in arg) return data.named(arg.buffer, arg.size);
  if ('saved' in arg) return 0n; // written by the op that saves
  const cell = cells.get(arg.addressOf);
  if (cell === undefined) throw new Error(`no op saves ${arg.addressOf}`);
  return BigInt(cell);
}

/** The bytes behind the records: strings and arrays, each aligned to eight. */
class DataSegment {
  readonly #parts: Uint8Array[] = [];
  readonly #named = new Map<string, bigint>();
  #length = 0;

  constructor(private readonly start: number) {}

  add(bytes: Uint8Array): bigint {
    const address = this.start + this.#length;
    const padding = (8 - (bytes.length % 8)) % 8;
    this.#parts.push(bytes, new Uint8Array(padding));
    this.#length += bytes.length + padding;
    return BigInt(address);
  }

  addWords(words: readonly bigint[]): bigint {
    const array = Buffer.alloc(words.length * 8);
    words.forEach((word, i) => array.writeBigUInt64LE(word, i * 8));
    return this.add(array);
  }

  named(name: string, bytes: number): bigint {
    const known = this.#named.get(name);
    if (known !== undefined) return known;
    const address = this.add(new Uint8Array(bytes));
    this.#named.set(name, address);
    return address;
  }

  reserve(bytes: number): number {
    return Number(this.add(new Uint8Array(bytes)));
  }

  bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }
}
