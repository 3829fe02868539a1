import { readFileSync } from 'node:fs';

/** Capabilities by number. Linux: include/uapi/linux/capability.h. */
const NAMES = [
  'CHOWN',
  'DAC_OVERRIDE',
  'DAC_READ_SEARCH',
  'FOWNER',
  'FSETID',
  'KILL',
  'SETGID',
  'SETUID',
  'SETPCAP',
  'LINUX_IMMUTABLE',
  'NET_BIND_SERVICE',
  'NET_BROADCAST',
  'NET_ADMIN',
  'NET_RAW',
  'IPC_LOCK',
  'IPC_OWNER',
  'SYS_MODULE',
  'SYS_RAWIO',
  'SYS_CHROOT',
  'SYS_PTRACE',
  'SYS_PACCT',
  'SYS_ADMIN',
  'SYS_BOOT',
  'SYS_NICE',
  'SYS_RESOURCE',
  'SYS_TIME',
  'SYS_TTY_CONFIG',
  'MKNOD',
  'LEASE',
  'AUDIT_WRITE',
  'AUDIT_CONTROL',
  'SETFCAP',
  'MAC_OVERRIDE',
  'MAC_ADMIN',
  'SYSLOG',
  'WAKE_ALARM',
  'BLOCK_SUSPEND',
  'AUDIT_READ',
  'PERFMON',
  'BPF',
  'CHECKPOINT_RESTORE',
] as const;

/** A capability's name without `CAP_`. */
export type Capability = (typeof NAMES)[number];

/** Every capability that mbuild knows. */
export const ALL_CAPABILITIES: readonly Capability[] = NAMES;

/**
 * What a step may do as root: buildah's default set. It is docker's without MKNOD, NET_RAW and
 * AUDIT_WRITE, which no package's installation needs and which reach beyond the step when the
 * network is the host's.
 */
export const DEFAULT_CAPABILITIES: readonly Capability[] = [
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'NET_BIND_SERVICE',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
];

/**
 * What this process itself may do, and so at most hand on: a container's root lacks some,
 * `SYS_RESOURCE` often. proc_pid_status(5).
 */
export function heldCapabilities(): readonly Capability[] {
  const [, hex = '0'] =
    /^CapPrm:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1')) ?? [];
  const mask = BigInt(`0x${hex}`);
  return NAMES.filter((_, number) => (mask & (1n << BigInt(number))) !== 0n);
}

/** The set as the kernel's bit mask. */
export function capabilityMask(capabilities: readonly Capability[]): bigint {
  return capabilities.reduce((mask, name) => mask | (1n << BigInt(NAMES.indexOf(name))), 0n);
}

/**
 * Reads `NAME` or `CAP_NAME`, in any case; `ALL` is every one. `undefined` when there is no such
 * capability.
 */
export function parseCapability(text: string): readonly Capability[] | undefined {
  const name = text.toUpperCase().replace(/^CAP_/, '');
  if (name === 'ALL') return NAMES;
  const found = NAMES.find((item) => item === name);
  return found === undefined ? undefined : [found];
}
