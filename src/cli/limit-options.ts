import { parseDuration } from '../dockerfile/duration';
import { didYouMean } from '../diagnostics/suggest';
import {
  ALL_CAPABILITIES,
  DEFAULT_CAPABILITIES,
  parseCapability,
  type Capability,
} from '../sandbox/capabilities';
import type { CgroupLimits } from '../sandbox/cgroups/cgroup-limits';
import type { FlagTable, FlagValues } from './args';
import { usage } from './usage';

/** What a process may use of the machine and may do: the same for RUN and for containers. */
export const LIMIT_FLAGS = {
  'cap-add': {
    kind: 'list',
    value: 'CAPABILITY',
    help: 'Give processes this additional right; ALL gives every right',
  },
  'cap-drop': {
    kind: 'list',
    value: 'CAPABILITY',
    help: 'Take this right from processes; ALL takes every right',
  },
  'cpu-period': {
    kind: 'number',
    value: 'MICROSECONDS',
    help: 'Period of --cpu-quota (default: 100000)',
  },
  'cpu-quota': {
    kind: 'string',
    value: 'MICROSECONDS',
    help: 'CPU time in microseconds in each period; -1 means no limit',
  },
  'cpu-shares': {
    kind: 'number',
    short: 'c',
    value: 'WEIGHT',
    help: 'Relative share of the CPUs when they are busy (usually 1024)',
  },
  cpus: { kind: 'string', value: 'NUMBER', help: 'Number of CPUs that may be used, such as 1.5' },
  'cpuset-cpus': { kind: 'string', value: 'CPUS', help: 'The CPUs that may be used: 0-3,8' },
  'cpuset-mems': { kind: 'string', value: 'NODES', help: 'The memory nodes that may be used' },
  hostname: { kind: 'string', value: 'NAME', help: 'Host name that processes see' },
  memory: {
    kind: 'string',
    short: 'm',
    value: 'BYTES',
    help: 'Limit of memory, swap included unless --memory-swap is given',
  },
  'memory-swap': {
    kind: 'string',
    value: 'BYTES',
    help: 'Limit of memory plus swap; -1 means no limit for swap',
  },
  'no-new-privileges': {
    kind: 'boolean',
    help: 'Programs cannot raise their rights: sudo and su do not work',
  },
  'pids-limit': {
    kind: 'string',
    value: 'NUMBER',
    help: 'Limit of processes and threads; -1 means no limit',
  },
} as const satisfies FlagTable;

export type LimitFlags = FlagValues<typeof LIMIT_FLAGS>;
type LimitValues = { readonly [K in keyof LimitFlags]?: LimitFlags[K] };

/** What `--resource` can name: buildx's words, each a flag of its own as well. */
const RESOURCES = [
  'memory',
  'memory-swap',
  'cpu-shares',
  'cpu-period',
  'cpu-quota',
  'cpuset-cpus',
  'cpuset-mems',
  'cpus',
  'pids-limit',
] as const;

/** Least memory of a group, as docker has it: below it nothing starts. */
const LEAST_MEMORY = 6 << 20;

/** The limits of the flags. @throws MbuildError USAGE for what is not valid, naming the flag. */
export function readLimits(flags: LimitValues): CgroupLimits {
  const memory = bytesOf(flags, 'memory');
  if (memory !== undefined && memory < LEAST_MEMORY)
    throw usage(`--memory ${flags.memory} is too little`, 'write at least 6m');
  const memorySwap = flags['memory-swap'] === '-1' ? -1 : bytesOf(flags, 'memory-swap');
  if (memorySwap !== undefined && memory === undefined)
    throw usage('--memory-swap needs --memory', 'the value is memory plus swap');
  if (memorySwap !== undefined && memorySwap !== -1 && memorySwap < (memory ?? 0))
    throw usage(
      `--memory-swap ${flags['memory-swap']} is less than --memory ${flags.memory}`,
      'the value is memory plus swap',
    );
  if (flags.cpus !== undefined && (flags['cpu-quota'] ?? flags['cpu-period']) !== undefined)
    throw usage(
      '--cpus cannot be used with --cpu-quota or --cpu-period',
      '--cpus 1.5 is the same as --cpu-quota 150000',
    );
  return {
    memory,
    memorySwap,
    cpus: flags.cpus === undefined ? undefined : readCpus(flags.cpus),
    cpuShares: flags['cpu-shares'],
    cpuQuota: wholeOf(flags, 'cpu-quota', 1000),
    cpuPeriod: periodOf(flags),
    cpusetCpus: setOf(flags, 'cpuset-cpus'),
    cpusetMems: setOf(flags, 'cpuset-mems'),
    pids: pidsOf(flags),
  };
}

/** `--resource NAME=VALUE` as the flags of those names. @throws MbuildError USAGE. */
export function readResources(texts: readonly string[], flags: LimitFlags): LimitFlags {
  return texts.reduce<LimitFlags>((all, text) => {
    const at = text.indexOf('=');
    const name = RESOURCES.find((candidate) => candidate === text.slice(0, at));
    if (name === undefined)
      throw usage(
        `invalid --resource ${JSON.stringify(text)}`,
        didYouMean(text.slice(0, at), RESOURCES) ??
          `write NAME=VALUE, with NAME one of ${RESOURCES.join(', ')}`,
      );
    const value = text.slice(at + 1);
    if (name !== 'cpu-shares' && name !== 'cpu-period') return { ...all, [name]: value };
    if (!/^\d+$/.test(value))
      throw usage(`invalid --resource ${JSON.stringify(text)}`, 'write a whole number');
    return { ...all, [name]: Number(value) };
  }, flags);
}

/**
 * What processes may do as root; `undefined` for the usual.
 * @throws MbuildError USAGE for a capability that does not exist.
 */
export function readCapabilities(
  flags: Pick<LimitFlags, 'cap-add' | 'cap-drop'>,
): readonly Capability[] | undefined {
  if (flags['cap-add'].length + flags['cap-drop'].length === 0) return undefined;
  const read =
    (flag: string) =>
    (text: string): readonly Capability[] => {
      const found = parseCapability(text);
      if (found === undefined)
        throw usage(
          `invalid --${flag} ${JSON.stringify(text)}: unknown capability`,
          'see capabilities(7), or write ALL',
        );
      return found;
    };
  const dropped = new Set(flags['cap-drop'].flatMap(read('cap-drop')));
  const dropsAll = flags['cap-drop'].some((text) => text.toUpperCase() === 'ALL');
  const added = new Set(flags['cap-add'].flatMap(read('cap-add')));
  // With one of the two ALL, the other one says what is different.
  return ALL_CAPABILITIES.filter((name) =>
    dropsAll
      ? added.has(name)
      : (added.has(name) || DEFAULT_CAPABILITIES.includes(name)) && !dropped.has(name),
  );
}

/** @throws MbuildError USAGE. */
export function readHostname(text: string | undefined): string | undefined {
  if (text !== undefined && !/^[a-zA-Z0-9](?:[a-zA-Z0-9.-]{0,62}[a-zA-Z0-9])?$/.test(text))
    throw usage(
      `invalid --hostname ${JSON.stringify(text)}`,
      'use up to 64 letters, digits, "-" and "."; begin and end with a letter or a digit',
    );
  return text;
}

/**
 * Milliseconds of a duration: `90s`, `1h30m`, or a number of seconds. @throws MbuildError USAGE.
 */
export function readTimeout(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const nanoseconds = /^\d+$/.test(text) ? Number(text) * 1e9 : parseDuration(text);
  const ms = Math.round((nanoseconds ?? 0) / 1e6);
  if (ms <= 0 || ms >= 2 ** 31)
    throw usage(
      `invalid --${flag} ${JSON.stringify(text)}`,
      'write a time such as 90s or 1h30m, less than 24 days',
    );
  return ms;
}

/**
 * Bytes with docker's binary units: `64m` is 64 MiB. go-units, size.go, `RAMInBytes`.
 * @throws MbuildError USAGE.
 */
export function readBytes(flag: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?) ?(?:([kmgt])(?:i?b)?|b)?$/i.exec(text.trim());
  if (match === null)
    throw usage(
      `invalid size ${JSON.stringify(text)} for --${flag}`,
      'write a number with b, k, m or g, such as 512m',
    );
  return Math.floor(
    Number(match[1]) * 1024 ** ('kmgt'.indexOf((match[2] ?? '').toLowerCase() || '-') + 1),
  );
}

function bytesOf(flags: LimitValues, name: 'memory' | 'memory-swap'): number | undefined {
  const text = flags[name];
  return text === undefined ? undefined : readBytes(name, text);
}

/** A number that is at least `least`; -1 is no limit. */
function wholeOf(
  flags: LimitValues,
  name: 'cpu-quota' | 'pids-limit',
  least: number,
): number | undefined {
  const text = flags[name];
  if (text === undefined || text === '-1') return text === undefined ? undefined : -1;
  if (!/^\d{1,15}$/.test(text) || Number(text) < least)
    throw usage(
      `invalid --${name} ${JSON.stringify(text)}`,
      `write a whole number from ${least} up, or -1`,
    );
  return Number(text);
}

/** 0 is no limit either, as docker has it. */
function pidsOf(flags: LimitValues): number | undefined {
  return flags['pids-limit'] === '0' ? -1 : wholeOf(flags, 'pids-limit', 1);
}

function periodOf({ 'cpu-period': period }: LimitValues): number | undefined {
  if (period !== undefined && (period < 1000 || period > 1_000_000))
    throw usage(`invalid --cpu-period ${period}`, 'write 1000 to 1000000 microseconds');
  return period;
}

function setOf(flags: LimitValues, name: 'cpuset-cpus' | 'cpuset-mems'): string | undefined {
  const text = flags[name];
  if (text !== undefined && !/^\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*$/.test(text))
    throw usage(
      `invalid --${name} ${JSON.stringify(text)}`,
      'write a list of numbers and ranges, e.g. 0-3,8',
    );
  return text;
}

function readCpus(text: string): number {
  if (!/^(?:\d+(?:\.\d*)?|\.\d+)$/.test(text) || Number(text) <= 0)
    throw usage(`invalid --cpus ${JSON.stringify(text)}`, 'write a number, e.g. 1.5');
  return Number(text);
}
