import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import {
  ALL_CAPABILITIES,
  DEFAULT_CAPABILITIES,
  type Capability,
} from '../../src/sandbox/capabilities';
import { compileFilter, type AbiRules, type Verdict } from '../../src/sandbox/seccomp/bpf';
import { defaultFilter, stepFilter } from '../../src/sandbox/seccomp/profile';
import { judge, type SystemCall } from '../support/bpf';

const ARCH = {
  x64: 0xc000003e,
  x86: 0x40000003,
  arm64: 0xc00000b7,
  arm: 0x40000028,
  s390x: 0x80000016,
};
const X64 = {
  unshare: 272,
  mount: 165,
  clone: 56,
  clone3: 435,
  keyctl: 250,
  add_key: 248,
  chroot: 161,
  ptrace: 101,
  socket: 41,
  personality: 135,
  bpf: 321,
  read: 0,
  execve: 59,
  userfaultfd: 323,
  io_uring_setup: 425,
  pivot_root: 155,
  setns: 308,
  kexec_load: 246,
  init_module: 175,
  reboot: 169,
  open_by_handle_at: 304,
};

describe('the default filter', () => {
  const filter = defaultFilter('x64', DEFAULT_CAPABILITIES);
  const answer = (call: Partial<SystemCall>, program = filter): string =>
    judge(program, { arch: ARCH.x64, nr: 0, args: [], ...call });

  it.each(['read', 'execve', 'chroot', 'ptrace'] as const)('allows %s', (name) =>
    expect(answer({ nr: X64[name] })).toBe('allow'),
  );

  it.each([
    'unshare',
    'mount',
    'setns',
    'keyctl',
    'add_key',
    'bpf',
    'userfaultfd',
    'io_uring_setup',
    'pivot_root',
    'kexec_load',
    'init_module',
    'reboot',
    'open_by_handle_at',
  ] as const)('refuses %s as not permitted', (name) =>
    expect(answer({ nr: X64[name] })).toBe('errno 1'),
  );

  it('says that clone3 is not there, so that C libraries take clone', () =>
    expect(answer({ nr: X64.clone3 })).toBe('errno 38'));

  it.each([
    [0x11, 'allow'],
    [0x3d0f00, 'allow'],
    [0x10000000, 'errno 1'],
    [0x20000, 'errno 1'],
    [0x40000011, 'errno 1'],
    [0x02000000, 'errno 1'],
  ])('judges clone by its flags: %p is %s', (flags, verdict) => {
    expect(answer({ nr: X64.clone, args: [BigInt(flags)] })).toBe(verdict);
  });

  it.each([
    [1n, 'allow'],
    [2n, 'allow'],
    [10n, 'allow'],
    [16n, 'allow'],
    [17n, 'allow'],
    [38n, 'errno 1'],
    [40n, 'errno 1'],
    [12n, 'errno 1'],
    [46n, 'errno 1'],
    [(1n << 32n) + 1n, 'errno 1'],
  ])('judges sockets by their family: %p is %s', (family, verdict) =>
    expect(answer({ nr: X64.socket, args: [family] })).toBe(verdict),
  );

  it.each([
    [0n, 'allow'],
    [0xffffffffn, 'allow'],
    [8n, 'allow'],
    [0x0040000n, 'errno 1'],
  ])('judges personality: %p is %s', (persona, verdict) => {
    expect(answer({ nr: X64.personality, args: [persona] })).toBe(verdict);
  });

  it('judges 32-bit programs by their own numbers, and knows no x32', () => {
    expect(answer({ arch: ARCH.x86, nr: 11 })).toBe('allow'); // execve
    expect(answer({ arch: ARCH.x86, nr: 21 })).toBe('errno 1'); // mount
    expect(answer({ arch: ARCH.x86, nr: 310 })).toBe('errno 1'); // unshare
    expect(answer({ nr: 0x40000000 })).toBe('errno 38');
    expect(answer({ nr: 0x40000000 + X64.mount })).toBe('errno 38');
    expect(answer({ nr: 0xffffffff })).toBe('errno 38');
  });

  it('kills what calls by another ABI', () => expect(answer({ arch: ARCH.s390x })).toBe('kill'));

  it('has the numbers of arm', () => {
    const arm = defaultFilter('arm64', DEFAULT_CAPABILITIES);
    expect([63, 221, 97, 40, 435].map((nr) => answer({ arch: ARCH.arm64, nr }, arm))).toEqual([
      'allow',
      'allow',
      'errno 1',
      'errno 1',
      'errno 38',
    ]); // read execve unshare mount clone3
    expect([3, 11, 337, 21].map((nr) => answer({ arch: ARCH.arm, nr }, arm))).toEqual([
      'allow',
      'allow',
      'errno 1',
      'errno 1',
    ]);
    expect(answer({ arch: ARCH.x64 }, arm)).toBe('kill');
  });

  it.each<[Capability, keyof typeof X64]>([
    ['SYS_ADMIN', 'mount'],
    ['SYS_ADMIN', 'unshare'],
    ['SYS_ADMIN', 'clone3'],
    ['SYS_MODULE', 'init_module'],
    ['SYS_BOOT', 'reboot'],
    ['DAC_READ_SEARCH', 'open_by_handle_at'],
    ['BPF', 'bpf'],
  ])('lets who has %s make %s', (capability, name) =>
    expect(answer({ nr: X64[name] }, defaultFilter('x64', [capability]))).toBe('allow'),
  );

  it('asks for SYS_CHROOT before chroot', () =>
    expect(answer({ nr: X64.chroot }, defaultFilter('x64', []))).toBe('errno 1'));

  it.each(['x64', 'arm64'] as const)(
    "is within the kernel's limit and says the same for every number on %s",
    (arch) => {
      for (const capabilities of [[], DEFAULT_CAPABILITIES, ALL_CAPABILITIES]) {
        const program = defaultFilter(arch, capabilities);
        expect(program.length / 8).toBeLessThan(1000);
        for (let nr = 0; nr < 1000; nr++)
          expect(answer({ arch: ARCH[arch], nr }, program)).toMatch(/^allow$|^errno (1|38)$/);
      }
    },
  );
});

describe('compiling a filter', () => {
  const verdicts = fc.oneof<fc.Arbitrary<Verdict>[]>(
    fc.constant({ kind: 'allow' }),
    fc.constant({ kind: 'kill' }),
    fc.integer({ min: 1, max: 133 }).map((errno) => ({ kind: 'errno', errno })),
    fc
      .tuple(fc.nat(5), fc.integer({ min: 1, max: 0xffffffff }))
      .map(([argument, bits]) => ({ kind: 'judge', argument, passes: { kind: 'without', bits } })),
    fc
      .tuple(fc.nat(5), fc.uniqueArray(fc.nat(1000), { minLength: 2, maxLength: 12 }))
      .map(([argument, numbers]) => ({
        kind: 'judge',
        argument,
        passes: { kind: 'in', ranges: pairsOf(numbers) },
      })),
  );
  const numbers = fc.oneof(
    fc.nat(600),
    fc.integer({ min: 0, max: 0xffffffff }),
    fc.constantFrom(0, 0xffffffff),
  );

  it('keeps every verdict, whatever their number', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(numbers, verdicts), { maxLength: 500 }),
        fc.array(fc.tuple(numbers, verdicts), { maxLength: 50 }),
        verdicts,
        fc.array(numbers, { maxLength: 20 }),
        fc.array(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), { minLength: 6, maxLength: 6 }),
        (first, second, otherwise, others, args) => {
          const abis: AbiRules[] = [
            { auditArch: 1, calls: new Map(first) },
            { auditArch: 2, calls: new Map(second) },
          ];
          const program = compileFilter({ abis, otherwise });
          for (const abi of abis) {
            for (const nr of [...abi.calls.keys(), ...others])
              expect(judge(program, { arch: abi.auditArch, nr, args })).toBe(
                expected(abi.calls.get(nr) ?? otherwise, args),
              );
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  function pairsOf(values: readonly number[]): [number, number][] {
    const sorted = [...values].sort((a, b) => a - b);
    return sorted.flatMap((first, i) =>
      i % 2 === 0 && sorted[i + 1] !== undefined
        ? [[first, sorted[i + 1] as number] as [number, number]]
        : [],
    );
  }

  function expected(verdict: Verdict, args: readonly bigint[]): string {
    if (verdict.kind === 'errno') return `errno ${verdict.errno}`;
    if (verdict.kind !== 'judge') return verdict.kind;
    const value = args[verdict.argument] ?? 0n;
    const { passes } = verdict;
    const good =
      passes.kind === 'without'
        ? (value & BigInt(passes.bits)) === 0n
        : passes.ranges.some(([low, high]) => value >= low && value <= high);
    return good ? 'allow' : 'errno 1';
  }
});

describe('the numbers of the profile', () => {
  it("are those of this machine's headers", () => {
    const header =
      process.arch === 'x64' ? '#include <asm/unistd_64.h>' : '#include <asm/unistd.h>';
    let defined: string;
    try {
      defined = execFileSync('cc', ['-E', '-dM', '-'], {
        input: header,
        stdio: ['pipe', 'pipe', 'ignore'],
      }).toString();
    } catch {
      console.log("skipped: no C compiler with the kernel's headers");
      return;
    }
    const filter = defaultFilter(process.arch === 'arm64' ? 'arm64' : 'x64', DEFAULT_CAPABILITIES);
    const arch = process.arch === 'arm64' ? ARCH.arm64 : ARCH.x64;
    const verdict = (name: string): string | undefined => {
      const number = new RegExp(`^#define __NR_${name} (\\d+)$`, 'm').exec(defined)?.[1];
      return number === undefined
        ? undefined
        : judge(filter, { arch, nr: Number(number), args: [] });
    };
    for (const name of [
      'openat',
      'statx',
      'setxattr',
      'futex_waitv',
      'getrandom',
      'rseq',
      'sendmmsg',
      'wait4',
    ])
      expect([name, verdict(name)]).toEqual([name, 'allow']);
    for (const name of [
      'mount',
      'unshare',
      'pivot_root',
      'swapon',
      'kexec_load',
      'add_key',
      'keyctl',
      'request_key',
      'userfaultfd',
      'nfsservctl',
      'move_pages',
      'uselib',
      'ustat',
      'sysfs',
      '_sysctl',
      'vserver',
      'acct',
      'quotactl',
      'syslog',
      'vhangup',
      'setns',
      'mbind',
      'process_madvise',
      'kcmp',
      'iopl',
    ]) {
      expect([name, verdict(name) ?? 'errno 1']).toEqual([name, 'errno 1']);
    }
  });
});

describe('the filter for root where there is one id', () => {
  const spec = { capabilities: DEFAULT_CAPABILITIES, user: { uid: 0, gid: 0, groups: [0] } };
  const numbers = {
    chown: 92,
    fchownat: 260,
    setuid: 105,
    setresuid: 117,
    setgroups: 116,
    stat: 4,
    fstat: 5,
    newfstatat: 262,
  };
  const ROOT_TO_33 = [0n, 33n, 0n];
  const AT_EMPTY_PATH = 0x1000n;

  it.each<[keyof typeof numbers, readonly bigint[], supervised: string, pretended: string]>([
    ['chown', [], 'notify', 'errno 0'],
    ['fchownat', [], 'notify', 'errno 0'],
    ['setgroups', [], 'errno 0', 'errno 0'],
    ['setuid', [0n], 'errno 0', 'errno 0'],
    ['setuid', [33n], 'notify', 'errno 0'],
    ['setresuid', ROOT_TO_33, 'notify', 'errno 0'],
    ['setresuid', [33n, 0xffffffffn, 33n], 'errno 0', 'errno 0'],
    ['stat', [], 'notify', 'allow'],
    ['fstat', [], 'allow', 'allow'],
    ['newfstatat', [0n, 0n, 0n, 0x100n], 'notify', 'allow'],
    ['newfstatat', [0n, 0n, 0n, AT_EMPTY_PATH], 'allow', 'allow'],
  ])(
    '%s of %j is answered with %s under supervision, else with %s',
    (name, args, supervised, pretended) => {
      const verdicts = (['supervised', 'pretended'] as const).map((how) =>
        judge(stepFilter('x64', spec, how) ?? Buffer.alloc(0), {
          arch: ARCH.x64,
          nr: numbers[name],
          args,
        }),
      );
      expect(verdicts).toEqual([supervised, pretended]);
    },
  );

  it('asks about 32-bit programs, too, and about no other user', () => {
    expect(
      judge(stepFilter('x64', spec, 'supervised') ?? Buffer.alloc(0), {
        arch: ARCH.x86,
        nr: 212,
        args: [],
      }),
    ).toBe('notify'); // chown32
    expect(
      judge(
        stepFilter('x64', { ...spec, user: { uid: 5, gid: 5, groups: [] } }, 'supervised') ??
          Buffer.alloc(0),
        { arch: ARCH.x64, nr: numbers.chown, args: [] },
      ),
    ).toBe('allow');
  });
});
