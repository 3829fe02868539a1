import type { Capability } from '../capabilities';
import type { Arch } from '../namespaces/init/interpreter';
import type { Condition, Verdict } from './bpf';
import { ALWAYS_ALLOWED, JUDGED } from './calls';
import { ALLOWED_WITH } from './capability-calls';
import { VERDICTS } from './profile';

/** `linux.seccomp` of a runtime's config.json: OCI runtime specification, config-linux.md. */
export interface RuntimeSeccomp {
  readonly defaultAction: 'SCMP_ACT_ERRNO';
  readonly defaultErrnoRet: number;
  readonly architectures: readonly string[];
  readonly syscalls: readonly SyscallRule[];
}

interface SyscallRule {
  readonly names: readonly string[];
  readonly action: 'SCMP_ACT_ALLOW' | 'SCMP_ACT_ERRNO';
  readonly errnoRet?: number;
  readonly args?: readonly {
    readonly index: number;
    readonly op: 'SCMP_CMP_EQ' | 'SCMP_CMP_MASKED_EQ';
    readonly value: number;
    readonly valueTwo?: number;
  }[];
}

const EPERM = 1;
const ARCHITECTURES: Readonly<Record<Arch, readonly string[]>> = {
  x64: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
  arm64: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
};

/**
 * The list of {@link defaultFilter}, in the form that an OCI runtime compiles; calls that it does
 * not know it leaves out.
 */
export function runtimeSeccomp(arch: Arch, capabilities: readonly Capability[]): RuntimeSeccomp {
  const isAdmin = capabilities.includes('SYS_ADMIN');
  const judged = JUDGED.flatMap(([name]) =>
    rulesOf(
      name,
      (isAdmin && name.startsWith('clone') ? undefined : VERDICTS[name]) ?? { kind: 'allow' },
    ),
  );
  const allowed = [
    ...ALWAYS_ALLOWED,
    ...capabilities.flatMap((capability) => ALLOWED_WITH[capability] ?? []),
  ].map(([name]) => name);
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: EPERM,
    architectures: ARCHITECTURES[arch],
    syscalls: [{ names: [...new Set(allowed)], action: 'SCMP_ACT_ALLOW' }, ...judged],
  };
}

function rulesOf(name: string, verdict: Verdict): SyscallRule[] {
  switch (verdict.kind) {
    case 'allow':
      return [{ names: [name], action: 'SCMP_ACT_ALLOW' }];
    case 'errno':
      return [{ names: [name], action: 'SCMP_ACT_ERRNO', errnoRet: verdict.errno }];
    case 'judge':
      return conditions(verdict.argument, verdict.passes).map((args) => ({
        names: [name],
        action: 'SCMP_ACT_ALLOW',
        args,
      }));
    case 'kill':
    case 'notify':
      return []; // neither is in moby's profile
  }
}

/** One rule for each value that passes: they cannot name ranges. */
function conditions(index: number, passes: Condition): NonNullable<SyscallRule['args']>[] {
  if (passes.kind === 'without')
    return [[{ index, op: 'SCMP_CMP_MASKED_EQ', value: passes.bits, valueTwo: 0 }]];
  return passes.ranges.flatMap(([first, last]) =>
    Array.from({ length: last - first + 1 }, (_, i) => [
      { index, op: 'SCMP_CMP_EQ' as const, value: first + i },
    ]),
  );
}
