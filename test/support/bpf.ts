/** What a filter for system calls sees. */
export interface SystemCall {
  /** AUDIT_ARCH_*. */
  readonly arch: number;
  readonly nr: number;
  readonly args: readonly bigint[];
}

/**
 * Runs a classic BPF program over a system call, as the kernel would: `allow`, `kill`, `notify` or
 * `errno N`.
 * @throws Error on what the kernel refuses to load.
 */
export function judge(program: Uint8Array, call: SystemCall): string {
  const code = Buffer.from(program);
  // struct seccomp_data: nr, arch, instruction pointer, six arguments
  const data = Buffer.alloc(64);
  data.writeUInt32LE(call.nr >>> 0, 0);
  data.writeUInt32LE(call.arch >>> 0, 4);
  call.args.forEach((value, i) => data.writeBigUInt64LE(BigInt.asUintN(64, value), 16 + i * 8));
  let accumulator = 0;
  for (let at = 0; at * 8 + 8 <= code.length;) {
    const [jt, jf, k] = [
      code.readUInt8(at * 8 + 2),
      code.readUInt8(at * 8 + 3),
      code.readUInt32LE(at * 8 + 4),
    ];
    const jump = (taken: boolean): number => at + 1 + (taken ? jt : jf);
    switch (code.readUInt16LE(at * 8)) {
      case 0x20:
        accumulator = data.readUInt32LE(k);
        at++;
        break;
      case 0x05:
        at += 1 + k;
        break;
      case 0x15:
        at = jump(accumulator === k);
        break;
      case 0x25:
        at = jump(accumulator > k);
        break;
      case 0x35:
        at = jump(accumulator >= k);
        break;
      case 0x45:
        at = jump((accumulator & k) !== 0);
        break;
      case 0x06:
        return verdictOf(k);
      default:
        throw new Error(`instruction ${at} is none that a filter may have`);
    }
  }
  throw new Error('the program ends without a verdict');
}

function verdictOf(value: number): string {
  if (value === 0x7fff0000) return 'allow';
  if (value === 0x80000000) return 'kill';
  if (value === 0x7fc00000) return 'notify';
  return `errno ${value & 0xffff}`;
}
