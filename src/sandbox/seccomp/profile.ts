import { existsSync } from 'node:fs';
import type { Capability } from '../capabilities';
import type { Arch } from '../namespaces/init/interpreter';
import { AT_EMPTY_PATH } from '../namespaces/init/syscalls';
import type { ProcessSpec } from '../sandbox';
import { compileFilter, type AbiRules, type Condition, type Verdict } from './bpf';
import { ABIS, ALWAYS_ALLOWED, JUDGED, type Abi, type Call } from './calls';
import { ALLOWED_WITH } from './capability-calls';

const EPERM = 1;
const ENOSYS = 38;
const ALLOW: Verdict = { kind: 'allow' };

/** Calls of the list, by name, that are answered in another way than by making them. */
export type Answers = Readonly<Partial<Record<string, Verdict>>>;

/** As by a kernel that has no such call. */
export const UNKNOWN: Verdict = { kind: 'errno', errno: ENOSYS };

const SUCCESS: Verdict = { kind: 'errno', errno: 0 };
const NOTIFY: Verdict = { kind: 'notify' };

/** Calls of the list that give a file away. */
export const GIVING = [
  'chown',
  'chown32',
  'fchown',
  'fchown32',
  'fchownat',
  'lchown',
  'lchown32',
] as const;

/**
 * Calls of the list that change the user, and which argument is the one whose files a process makes
 * from then on.
 */
export const BECOMING = {
  setfsuid: 0,
  setfsuid32: 0,
  setuid: 0,
  setuid32: 0,
  setreuid: 1,
  setreuid32: 1,
  setresuid: 1,
  setresuid32: 1,
} as const;

/**
 * Calls of the list that show whose a file is that has a name. Programs ask about open files with
 * others, or with the flag AT_EMPTY_PATH, for what they read and write; whoever copies owners asks
 * by name.
 */
export const SHOWING = ['stat', 'lstat', 'newfstatat', 'statx'] as const;

const CHANGING_GROUPS = [
  'setfsgid',
  'setfsgid32',
  'setgid',
  'setgid32',
  'setgroups',
  'setgroups32',
  'setregid',
  'setregid32',
  'setresgid',
  'setresgid32',
];

/**
 * What root does to become or to serve other users, and cannot where there are none: package
 * managers give files away and drop rights, and stop where that fails. It succeeds, and is lost.
 */
const OTHER_USERS: Answers = answers(
  [...GIVING, ...Object.keys(BECOMING), ...CHANGING_GROUPS],
  SUCCESS,
);

/**
 * The same where a supervisor listens: it keeps whom a file was given to, shows that, and learns
 * which users there were. Who stays root is not worth its time.
 */
const SUPERVISED_USERS: Answers = {
  ...OTHER_USERS,
  ...answers([...GIVING, ...SHOWING], NOTIFY),
  newfstatat: byName(3),
  statx: byName(2),
  ...Object.fromEntries(
    Object.entries(BECOMING).map(
      ([name, argument]) =>
        [
          name,
          {
            kind: 'judge',
            argument,
            passes: {
              kind: 'in',
              ranges: [
                [0, 0],
                [0xffffffff, 0xffffffff],
              ],
            },
            passed: SUCCESS,
            failed: NOTIFY,
          },
        ] as const,
    ),
  ),
};

/** linux/audit.h */
export const AUDIT_ARCH: Readonly<Record<Abi, number>> = {
  x64: 0xc000003e,
  x86: 0x40000003,
  arm64: 0xc00000b7,
  arm: 0x40000028,
};

/** The ABIs of the programs that an architecture runs. */
export const ABIS_OF: Readonly<Record<Arch, readonly Abi[]>> = {
  x64: ['x64', 'x86'],
  arm64: ['arm64', 'arm'],
};

/**
 * x32, which hardly any kernel has: its calls are answered as by one that has not. asm/unistd.h,
 * __X32_SYSCALL_BIT.
 */
const X32 = { from: 0x40000000, verdict: { kind: 'errno', errno: ENOSYS } } as const;

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET; linux/sched.h. */
const NAMESPACE_FLAGS = 0x7e020000;

/**
 * Calls that who lacks SYS_ADMIN may make with some arguments, or not at all but with another errno
 * than others.
 */
export const VERDICTS: Readonly<Record<string, Verdict>> = {
  // Address families; what is missing are DECnet, RDS's neighbours that nobody uses, the kernel's
  // crypto (38) and vsock (40).
  socket: judged(0, {
    kind: 'in',
    ranges: [
      [0, 11],
      [13, 18],
      [21, 22],
      [24, 24],
      [26, 33],
      [35, 36],
      [39, 39],
      [41, 45],
    ],
  }),
  // PER_LINUX, PER_LINUX32, UNAME26, both, and asking.
  personality: judged(0, {
    kind: 'in',
    ranges: [
      [0, 0],
      [8, 8],
      [0x20000, 0x20000],
      [0x20008, 0x20008],
      [0xffffffff, 0xffffffff],
    ],
  }),
  clone: judged(0, { kind: 'without', bits: NAMESPACE_FLAGS }),
  // Its arguments are in memory, where no filter sees them; C libraries fall back to clone.
  clone3: { kind: 'errno', errno: ENOSYS },
};

/**
 * moby's default profile for a process with these capabilities, as the program that seccomp(2)
 * loads: calls that are not on the list fail with EPERM. Differs from moby's in one thing: there is
 * no x32.
 * @param answers calls that are not made.
 */
export function defaultFilter(
  arch: Arch,
  capabilities: readonly Capability[],
  answers: Answers = {},
): Buffer {
  return compileFilter({
    abis: ABIS_OF[arch].map((abi) => rulesOf(abi, capabilities, answers)),
    otherwise: { kind: 'errno', errno: EPERM },
  });
}

/**
 * The filter for a command; `undefined` on kernels without filters.
 * @param oneId set where there is one id: whether a supervisor listens to what root does for
 * others, or that is pretended.
 */
export function stepFilter(
  arch: Arch,
  { capabilities, user }: Pick<ProcessSpec, 'capabilities' | 'user'>,
  oneId?: 'supervised' | 'pretended',
): Buffer | undefined {
  if (!hasSeccomp()) return undefined;
  const others = oneId === 'supervised' ? SUPERVISED_USERS : OTHER_USERS;
  return defaultFilter(arch, capabilities, oneId !== undefined && user.uid === 0 ? others : {});
}

/** False on kernels that were built without filters. */
export function hasSeccomp(): boolean {
  return existsSync('/proc/sys/kernel/seccomp/actions_avail');
}

function rulesOf(abi: Abi, capabilities: readonly Capability[], answers: Answers): AbiRules {
  const isAdmin = capabilities.includes('SYS_ADMIN');
  const calls = new Map<number, Verdict>();
  for (const call of ALWAYS_ALLOWED) calls.set(numberOf(call, abi), answers[call[0]] ?? ALLOW);
  for (const name of capabilities)
    for (const call of ALLOWED_WITH[name] ?? []) calls.set(numberOf(call, abi), ALLOW);
  for (const call of JUDGED)
    calls.set(
      numberOf(call, abi),
      (isAdmin && call[0].startsWith('clone') ? undefined : VERDICTS[call[0]]) ?? ALLOW,
    );
  calls.delete(-1);
  return { auditArch: AUDIT_ARCH[abi], calls, beyond: abi === 'x64' ? X32 : undefined };
}

/** A call's number; -1 where an ABI has no such call. */
export function numberOf(call: Call, abi: Abi): number {
  return call[call.length === 2 ? 1 : 1 + ABIS.indexOf(abi)] as number;
}

function answers(names: readonly string[], answer: Verdict): Answers {
  return Object.fromEntries(names.map((name) => [name, answer]));
}

/** @param flags which argument may have AT_EMPTY_PATH among them. */
function byName(flags: number): Verdict {
  return {
    kind: 'judge',
    argument: flags,
    passes: { kind: 'without', bits: AT_EMPTY_PATH },
    passed: NOTIFY,
    failed: ALLOW,
  };
}

function judged(argument: number, passes: Condition): Verdict {
  return { kind: 'judge', argument, passes };
}
