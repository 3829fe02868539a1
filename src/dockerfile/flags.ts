import { MbuildError } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import { parseDuration } from './duration';
import type { Flag, Keyword } from './instruction';

/** What an instruction knows about one of its flags. */
export interface FlagRule {
  /** `boolean`: bare, `=true` or `=false`. `list`: may be repeated. */
  readonly kind: 'boolean' | 'string' | 'list';
  /**
   * Whether variables in the value are expanded (for `--mount` option by option, `from` excepted;
   * for FROM by global ARGs).
   */
  readonly expands: boolean;
}

/** The options of HEALTHCHECK. Times in nanoseconds; 0 means the default. */
export interface HealthcheckOptions {
  readonly interval: number;
  readonly timeout: number;
  readonly startPeriod: number;
  readonly startInterval: number;
  readonly retries: number;
}

export type NetworkMode = 'default' | 'none' | 'host';
export type SecurityMode = 'sandbox' | 'insecure';

const BOOLEAN: FlagRule = { kind: 'boolean', expands: false };
const STRING: FlagRule = { kind: 'string', expands: false };
const LIST: FlagRule = { kind: 'list', expands: false };
const EXPANDED: FlagRule = { kind: 'string', expands: true };

const COPIED: Readonly<Record<string, FlagRule>> = {
  chown: EXPANDED,
  chmod: EXPANDED,
  link: BOOLEAN,
  exclude: LIST,
};

/**
 * The flags of each instruction in Dockerfile 1.26. Instructions that are not here know none;
 * BuildKit takes any flag of ARG and STOPSIGNAL and ignores it.
 */
export const FLAGS: Readonly<Partial<Record<Keyword, Readonly<Record<string, FlagRule>>>>> = {
  FROM: { platform: EXPANDED },
  RUN: { mount: { kind: 'list', expands: true }, network: STRING, security: STRING, device: LIST },
  COPY: { ...COPIED, from: STRING, parents: BOOLEAN },
  ADD: { ...COPIED, 'keep-git-dir': BOOLEAN, checksum: EXPANDED, unpack: BOOLEAN },
  HEALTHCHECK: {
    interval: STRING,
    timeout: STRING,
    'start-period': STRING,
    'start-interval': STRING,
    retries: STRING,
  },
};

const IGNORING: readonly Keyword[] = ['ARG', 'STOPSIGNAL'];
const NETWORKS: readonly string[] = ['default', 'none', 'host'] satisfies NetworkMode[];
const SECURITIES: readonly string[] = ['sandbox', 'insecure'] satisfies SecurityMode[];
const MILLISECOND = 1_000_000;

/**
 * What is wrong with the flags of an instruction: unknown ones, repeated ones, missing and
 * impossible values.
 */
export function checkFlags(keyword: Keyword, flags: readonly Flag[]): MbuildError[] {
  if (flags.length === 0 || IGNORING.includes(keyword)) return [];
  const rules = FLAGS[keyword] ?? {};
  const seen = new Set<string>();
  const problems: MbuildError[] = [];
  for (const flag of flags) {
    const rule = Object.hasOwn(rules, flag.name) ? rules[flag.name] : undefined;
    if (rule === undefined) problems.push(unknownFlag(keyword, flag, Object.keys(rules)));
    else if (seen.has(flag.name) && rule.kind !== 'list')
      problems.push(wrong(flag, `--${flag.name} is given twice`, `${keyword} takes it only once`));
    else problems.push(...checkValue(flag, rule));
    seen.add(flag.name);
  }
  return problems;
}

function unknownFlag(keyword: Keyword, flag: Flag, known: readonly string[]): MbuildError {
  const list =
    known.length === 0
      ? `${keyword} has no flags`
      : `${keyword} has ${known.map((name) => `--${name}`).join(', ')}`;
  const hint =
    didYouMean(
      `--${flag.name}`,
      known.map((name) => `--${name}`),
    ) ?? list;
  return new MbuildError('UNKNOWN_FLAG', `unknown flag --${flag.name} of ${keyword}`, {
    range: flag.range,
    hint,
  });
}

function checkValue(flag: Flag, rule: FlagRule): MbuildError[] {
  if (rule.kind === 'boolean') {
    if (flag.value === undefined || /^(true|false)$/i.test(flag.value)) return [];
    return [
      wrong(
        flag,
        `--${flag.name} must be true or false, not "${flag.value}"`,
        `write --${flag.name} or --${flag.name}=false`,
      ),
    ];
  }
  return flag.value === undefined
    ? [wrong(flag, `--${flag.name} needs a value`, `write --${flag.name}=…`)]
    : [];
}

/** True for `--name` and `--name=true`. */
export function booleanFlag(flags: readonly Flag[], name: string): boolean {
  const flag = find(flags, name);
  return flag !== undefined && (flag.value === undefined || flag.value.toLowerCase() === 'true');
}

/**
 * The value as written (see {@link FlagRule.expands}); `undefined` when the flag is absent or
 * empty.
 */
export function stringFlag(flags: readonly Flag[], name: string): string | undefined {
  return find(flags, name)?.value || undefined;
}

/** All values of a flag that may be repeated, in order. */
export function listFlag(flags: readonly Flag[], name: string): string[] {
  return flags.flatMap((flag) =>
    flag.name === name && flag.value !== undefined ? [flag.value] : [],
  );
}

/** RUN `--network`. @throws {MbuildError} DOCKERFILE_SYNTAX */
export function networkMode(flags: readonly Flag[]): NetworkMode {
  return oneOf(flags, 'network', NETWORKS, 'default') as NetworkMode;
}

/** RUN `--security`. @throws {MbuildError} DOCKERFILE_SYNTAX */
export function securityMode(flags: readonly Flag[]): SecurityMode {
  return oneOf(flags, 'security', SECURITIES, 'sandbox') as SecurityMode;
}

/**
 * The options of HEALTHCHECK.
 * @throws {MbuildError} DOCKERFILE_SYNTAX for what is no duration, under 1 ms, or no count.
 */
export function healthcheckOptions(flags: readonly Flag[]): HealthcheckOptions {
  return {
    interval: duration(flags, 'interval'),
    timeout: duration(flags, 'timeout'),
    startPeriod: duration(flags, 'start-period'),
    startInterval: duration(flags, 'start-interval'),
    retries: retries(flags),
  };
}

function duration(flags: readonly Flag[], name: string): number {
  const flag = find(flags, name);
  if (flag?.value === undefined || flag.value === '') return 0;
  const nanoseconds = parseDuration(flag.value);
  if (nanoseconds === undefined)
    throw wrong(
      flag,
      `--${name}=${flag.value} is not a duration`,
      'write a number and a unit, e.g. 30s, 1m30s, 500ms',
    );
  if (nanoseconds !== 0 && nanoseconds < MILLISECOND)
    throw wrong(flag, `--${name}=${flag.value} is less than 1ms`);
  return nanoseconds;
}

function retries(flags: readonly Flag[]): number {
  const flag = find(flags, 'retries');
  if (flag?.value === undefined || flag.value === '') return 0;
  const count = Number(flag.value);
  if (!/^[+-]?\d+$/.test(flag.value) || count > 0x7fffffff || count < 0)
    throw wrong(
      flag,
      `--retries=${flag.value} is not a number of retries`,
      'write a whole number, e.g. --retries=3',
    );
  return count;
}

function oneOf(
  flags: readonly Flag[],
  name: string,
  known: readonly string[],
  fallback: string,
): string {
  const flag = find(flags, name);
  if (flag?.value === undefined) return fallback;
  if (known.includes(flag.value)) return flag.value;
  throw wrong(
    flag,
    `--${name} cannot be "${flag.value}"`,
    didYouMean(flag.value, known) ?? `write one of ${known.join(', ')}`,
  );
}

function find(flags: readonly Flag[], name: string): Flag | undefined {
  return flags.find((flag) => flag.name === name);
}

function wrong(flag: Flag, message: string, hint?: string): MbuildError {
  return new MbuildError('DOCKERFILE_SYNTAX', message, { range: flag.range, hint });
}
