/** What a system call is answered with. */
export type Verdict =
  | { readonly kind: 'allow' }
  /** Refused with an errno. */
  | { readonly kind: 'errno'; readonly errno: number }
  /** The process is killed. */
  | { readonly kind: 'kill' }
  /** Answered by who listens; see notification.ts. */
  | { readonly kind: 'notify' }
  /**
   * By whether the argument passes: `passed` (default: allowed) or `failed` (default: refused with
   * EPERM).
   */
  | {
      readonly kind: 'judge';
      readonly argument: number;
      readonly passes: Condition;
      readonly passed?: Verdict;
      readonly failed?: Verdict;
    };

/** Judges one argument of 64 bits. */
export type Condition =
  /** In one of these ranges, first and last number; ascending, below 2^32. */
  | { readonly kind: 'in'; readonly ranges: readonly (readonly [number, number])[] }
  /** None of these bits of the lower half is set. */
  | { readonly kind: 'without'; readonly bits: number };

/** The calls of one ABI. */
export interface AbiRules {
  /** AUDIT_ARCH_*; linux/audit.h. */
  readonly auditArch: number;
  /** By number; what is not named gets the filter's `otherwise`. */
  readonly calls: ReadonlyMap<number, Verdict>;
  /** Calls from this number on get another answer, whatever `calls` says. */
  readonly beyond?: { readonly from: number; readonly verdict: Verdict } | undefined;
}

/** A filter; a call of an ABI that is not named kills the process. */
export interface FilterRules {
  readonly abis: readonly AbiRules[];
  readonly otherwise: Verdict;
}

/** linux/bpf_common.h */
const OP = {
  LD_W_ABS: 0x20,
  JA: 0x05,
  JEQ: 0x15,
  JGT: 0x25,
  JGE: 0x35,
  JSET: 0x45,
  RET: 0x06,
} as const;
/** linux/seccomp.h: the answers, and where the fields of struct seccomp_data are. */
const RET = {
  KILL_PROCESS: 0x80000000,
  ERRNO: 0x00050000,
  USER_NOTIF: 0x7fc00000,
  ALLOW: 0x7fff0000,
} as const;
const OFFSET = { NR: 0, ARCH: 4, ARGS: 16 } as const;
const ALLOWED: Verdict = { kind: 'allow' };
const NOT_PERMITTED: Verdict = { kind: 'errno', errno: 1 };
const LONGEST_JUMP = 255;
const LAST_NUMBER = 0xffffffff;

/**
 * Compiles a filter to the program that seccomp(2) takes: the ABI is checked first, then the number
 * is found by bisection, so that a call passes a dozen instructions. Little-endian.
 */
export function compileFilter(rules: FilterRules): Buffer {
  const program = new ProgramWriter();
  let next = program.answer({ kind: 'kill' });
  for (const abi of rules.abis.toReversed()) {
    const intervals = intervalsOf(abi, rules.otherwise);
    program.goTo(bisect(program, intervals, 0, intervals.length));
    next = program.branch(OP.JEQ, abi.auditArch, program.load(OFFSET.NR), next);
  }
  program.load(OFFSET.ARCH);
  return program.bytes();
}

/** Numbers from `from` up to the next interval's have one verdict. */
interface Interval {
  readonly from: number;
  readonly verdict: Verdict;
}

/** Cuts all numbers into intervals, ascending from zero. */
function intervalsOf({ calls, beyond }: AbiRules, otherwise: Verdict): Interval[] {
  const intervals: Interval[] = [];
  const add = (from: number, verdict: Verdict): void => {
    if (intervals.at(-1)?.from === from) intervals.pop();
    if (intervals.at(-1)?.verdict !== verdict) intervals.push({ from, verdict });
  };
  add(0, otherwise);
  for (const number of [...calls.keys()].sort((a, b) => a - b)) {
    add(number, calls.get(number) ?? otherwise);
    if (number < LAST_NUMBER) add(number + 1, otherwise);
  }
  if (beyond !== undefined) add(beyond.from, beyond.verdict);
  return intervals;
}

/** Finds the interval of the number in the accumulator, among those from `first` up to `end`. */
function bisect(
  program: ProgramWriter,
  intervals: readonly Interval[],
  first: number,
  end: number,
): Label {
  const middle = (first + end) >> 1;
  const interval = intervals[middle];
  if (interval === undefined) throw new Error('no interval to decide on');
  if (end - first === 1) return program.answer(interval.verdict);
  const above = bisect(program, intervals, middle, end);
  return program.branch(OP.JGE, interval.from, above, bisect(program, intervals, first, middle));
}

/** An instruction, counted from the program's end. */
type Label = number;

/**
 * Writes a program from its end to its beginning, for jumps lead forward: what they lead to is
 * there already.
 */
class ProgramWriter {
  /** code | jt | jf in one word as they lie in memory, then k. */
  readonly #words: number[] = [];
  readonly #answers = new Map<number, Label>();

  /** Where a verdict is given. */
  answer(verdict: Verdict): Label {
    switch (verdict.kind) {
      case 'allow':
        return this.#return(RET.ALLOW);
      case 'errno':
        return this.#return(RET.ERRNO | verdict.errno);
      case 'kill':
        return this.#return(RET.KILL_PROCESS);
      case 'notify':
        return this.#return(RET.USER_NOTIF);
      case 'judge':
        return this.#judge(
          verdict.argument,
          verdict.passes,
          this.answer(verdict.passed ?? ALLOWED),
          this.answer(verdict.failed ?? NOT_PERMITTED),
        );
    }
  }

  load(offset: number): Label {
    return this.#add(OP.LD_W_ABS, 0, 0, offset);
  }

  /** What is written next goes on there. */
  goTo(label: Label): void {
    if (this.#distance(label) > 0) this.#add(OP.JA, 0, 0, this.#distance(label));
  }

  branch(code: number, k: number, then: Label, otherwise: Label): Label {
    // Jumps reach 255 instructions; farther ones go by way of an unconditional one.
    const near = (label: Label): Label =>
      this.#distance(label) < LONGEST_JUMP ? label : this.#add(OP.JA, 0, 0, this.#distance(label));
    const [nearThen, nearOtherwise] = [near(then), near(otherwise)];
    return this.#add(code, this.#distance(nearThen), this.#distance(nearOtherwise), k);
  }

  bytes(): Buffer {
    const bytes = Buffer.alloc(this.#words.length * 4);
    for (let i = 0; i < this.#words.length; i++)
      bytes.writeUInt32LE(this.#words[this.#words.length - 1 - i] ?? 0, i * 4);
    return bytes;
  }

  #judge(argument: number, condition: Condition, passed: Label, failed: Label): Label {
    const low = OFFSET.ARGS + argument * 8;
    if (condition.kind === 'without') {
      this.branch(OP.JSET, condition.bits, failed, passed);
      return this.load(low);
    }
    let next = failed;
    for (const [first, last] of condition.ranges.toReversed())
      next = this.branch(OP.JGE, first, this.branch(OP.JGT, last, next, passed), failed);
    this.branch(OP.JEQ, 0, this.load(low), failed);
    return this.load(low + 4);
  }

  /** Gives an answer; made again where the last place that gives it is too far to jump to. */
  #return(value: number): Label {
    const known = this.#answers.get(value);
    if (known !== undefined && this.#distance(known) < LONGEST_JUMP / 2) return known;
    const made = this.#add(OP.RET, 0, 0, value);
    this.#answers.set(value, made);
    return made;
  }

  #distance(label: Label): number {
    return this.#words.length / 2 - label;
  }

  #add(code: number, jt: number, jf: number, k: number): Label {
    this.#words.push(k >>> 0, (code | (jt << 16) | (jf << 24)) >>> 0);
    return this.#words.length / 2;
  }
}
