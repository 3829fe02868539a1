import { MbuildError } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import { fieldsOf, readBoolean, splitField } from './flag-fields';
import type { Flag } from './instruction';

export type MountType = 'bind' | 'cache' | 'tmpfs' | 'secret' | 'ssh';
export type Sharing = 'shared' | 'private' | 'locked';

/**
 * One `RUN --mount`, its variables expanded. Absent means: not written; defaults that need the
 * image are the caller's.
 */
export interface MountOptions {
  readonly type: MountType;
  /** As written: relative ones start at the working directory. */
  readonly target: string | undefined;
  readonly source: string | undefined;
  /** A stage, image or named context. */
  readonly from: string | undefined;
  /** Without `ro` or `rw`: false for cache and tmpfs, true for the others. */
  readonly readOnly: boolean;
  /** Cache, secret and ssh mounts. */
  readonly id: string | undefined;
  readonly sharing: Sharing | undefined;
  /** Permission bits. */
  readonly mode: number | undefined;
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  /** Secret and ssh mounts: fail when there is none. */
  readonly required: boolean;
  /** The variable that a secret is put into. */
  readonly env: string | undefined;
  /** Bytes; tmpfs. */
  readonly size: number | undefined;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };
/** `access`: whether `ro` or `rw` is written, which then says whether it is read-only. */
type UnfinishedMount = Writable<Omit<MountOptions, 'readOnly'>> & { access: boolean | undefined };

const TYPES: readonly string[] = ['bind', 'cache', 'tmpfs', 'secret', 'ssh'] satisfies MountType[];
const SHARINGS: readonly string[] = ['shared', 'private', 'locked'] satisfies Sharing[];

/** Every key, with the field that it sets. */
const KEYS: ReadonlyMap<string, keyof MountOptions | 'readWrite'> = new Map([
  ['type', 'type'],
  ['from', 'from'],
  ['source', 'source'],
  ['src', 'source'],
  ['target', 'target'],
  ['dst', 'target'],
  ['destination', 'target'],
  ['readonly', 'readOnly'],
  ['ro', 'readOnly'],
  ['readwrite', 'readWrite'],
  ['rw', 'readWrite'],
  ['id', 'id'],
  ['sharing', 'sharing'],
  ['required', 'required'],
  ['size', 'size'],
  ['mode', 'mode'],
  ['uid', 'uid'],
  ['gid', 'gid'],
  ['env', 'env'],
]);

const BARE_KEYS: readonly string[] = ['readOnly', 'readWrite', 'required'];
const EXAMPLE = 'type=cache,target=/root/.cache';
const SIZE = /^(\d+(?:\.\d+)?) ?(?:([kmgtp])i?)?b?$/i;

/**
 * The mounts of a RUN, in order. `expand` expands the variables of one value.
 * @throws {MbuildError} DOCKERFILE_SYNTAX, placed at the flag.
 */
export function readMounts(
  flags: readonly Flag[],
  expand: (value: string) => string,
): MountOptions[] {
  return flags.flatMap((flag) => (flag.name === 'mount' ? [readMount(flag, expand)] : []));
}

/**
 * What can be said before variables have values: the list is a list, and `from` names no variable.
 */
export function checkMount(flag: Flag): MbuildError[] {
  try {
    for (const field of fieldsOf(flag, EXAMPLE)) {
      const { key, value } = splitField(field);
      if (key === 'from' && value !== undefined && /\$./.test(value)) {
        throw wrong(
          flag,
          '"from" of a mount cannot hold a variable',
          'give the image its own stage (FROM $image AS name) and write from=name',
        );
      }
    }
    return [];
  } catch (error) {
    if (error instanceof MbuildError) return [error];
    throw error;
  }
}

function readMount(flag: Flag, expand: (value: string) => string): MountOptions {
  const mount: UnfinishedMount = {
    type: 'bind',
    target: undefined,
    source: undefined,
    from: undefined,
    access: undefined,
    id: undefined,
    sharing: undefined,
    mode: undefined,
    uid: undefined,
    gid: undefined,
    required: false,
    env: undefined,
    size: undefined,
  };
  for (const field of fieldsOf(flag, EXAMPLE)) {
    const { key, name, value: written } = readKey(flag, field);
    setOption(mount, name, { flag, key, value: written === undefined ? 'true' : expand(written) });
  }
  const { access, ...options } = mount;
  const isReadOnly = options.type !== 'cache' && options.type !== 'tmpfs';
  const read: MountOptions = { ...options, readOnly: access ?? isReadOnly };
  checkTogether(flag, read);
  return read;
}

/** The key of an option, and the field that it sets. */
function readKey(
  flag: Flag,
  field: string,
): {
  readonly key: string;
  readonly name: keyof MountOptions | 'readWrite';
  readonly value: string | undefined;
} {
  const { key, value } = splitField(field);
  const name = KEYS.get(key);
  if (name === undefined) {
    const near = didYouMean(key, KEYS.keys());
    if (value === undefined) throw wrong(flag, `"${field}" of a mount is not key=value`, near);
    throw wrong(
      flag,
      `unknown option "${key}" of a mount`,
      near ?? `known options are ${[...KEYS.keys()].join(', ')}`,
    );
  }
  if (value === undefined && !BARE_KEYS.includes(name))
    throw wrong(flag, `"${key}" of a mount needs a value`, `write ${key}=…`);
  return { key, name, value };
}

/** An option as written, its value expanded. */
interface WrittenOption {
  readonly flag: Flag;
  readonly key: string;
  readonly value: string;
}

function setOption(
  mount: UnfinishedMount,
  name: keyof MountOptions | 'readWrite',
  { flag, key, value }: WrittenOption,
): void {
  switch (name) {
    case 'type':
      mount.type = oneOf(flag, 'type', value, TYPES) as MountType;
      break;
    case 'sharing':
      mount.sharing = oneOf(flag, 'sharing', value, SHARINGS) as Sharing;
      break;
    case 'readOnly':
      mount.access = boolean(flag, key, value);
      break;
    case 'readWrite':
      mount.access = !boolean(flag, key, value);
      break;
    case 'required':
      onlyFor(flag, key, mount.type, ['secret', 'ssh']);
      mount.required = boolean(flag, key, value);
      break;
    case 'size':
      onlyFor(flag, key, mount.type, ['tmpfs']);
      mount.size = bytes(flag, value);
      break;
    case 'mode':
      mount.mode = wholeNumber(flag, key, value, 8);
      break;
    case 'uid':
    case 'gid':
      mount[name] = wholeNumber(flag, key, value, 10);
      break;
    default:
      mount[name] = value === '' ? undefined : value;
  }
}

/** Rules that involve several options. */
function checkTogether(flag: Flag, mount: MountOptions): void {
  for (const key of ['mode', 'uid', 'gid'] as const)
    if (mount[key] !== undefined) onlyFor(flag, key, mount.type, ['cache', 'secret', 'ssh']);
  if (mount.sharing !== undefined) onlyFor(flag, 'sharing', mount.type, ['cache']);
  if (mount.env !== undefined) onlyFor(flag, 'env', mount.type, ['secret']);
  if (mount.type !== 'secret') return;
  if (mount.from !== undefined) throw wrong(flag, 'a secret mount has no "from"');
  if (mount.id !== undefined && mount.source !== undefined)
    throw wrong(flag, 'a secret mount has "id" or "source", not both');
  if (mount.id === undefined && mount.source === undefined && mount.target === undefined) {
    throw wrong(
      flag,
      'the secret mount needs the id of a secret',
      'write id=…, the same as in --secret id=…',
    );
  }
}

function oneOf(flag: Flag, key: string, value: string, known: readonly string[]): string {
  if (known.includes(value.toLowerCase())) return value.toLowerCase();
  throw wrong(
    flag,
    `"${key}" of a mount cannot be "${value}"`,
    didYouMean(value, known) ?? `write one of ${known.join(', ')}`,
  );
}

function boolean(flag: Flag, key: string, value: string): boolean {
  const truth = readBoolean(value);
  if (truth === undefined)
    throw wrong(flag, `"${key}" of a mount must be true or false, not "${value}"`);
  return truth;
}

function wholeNumber(flag: Flag, key: string, value: string, radix: 8 | 10): number {
  const number = (radix === 8 ? /^[0-7]+$/ : /^\d+$/).test(value)
    ? Number.parseInt(value, radix)
    : Number.NaN;
  if (number <= 0xffffffff) return number;
  throw wrong(
    flag,
    `"${key}" of a mount must be ${radix === 8 ? 'an octal' : 'a whole'} number, not "${value}"`,
  );
}

function bytes(flag: Flag, value: string): number {
  const [, number, unit = ''] = SIZE.exec(value) ?? [];
  if (number === undefined)
    throw wrong(
      flag,
      `"size" of a mount cannot be "${value}"`,
      'write bytes, or a number with k, m, g',
    );
  return Math.trunc(
    Number(number) * 1024 ** ' kmgtp'.indexOf(unit === '' ? ' ' : unit.toLowerCase()),
  );
}

function onlyFor(flag: Flag, key: string, type: MountType, types: readonly MountType[]): void {
  if (!types.includes(type))
    throw wrong(
      flag,
      `a ${type} mount has no "${key}"`,
      `only ${types.join(' and ')} mounts have ${key}`,
    );
}

function wrong(flag: Flag, message: string, hint?: string): MbuildError {
  return new MbuildError('DOCKERFILE_SYNTAX', message, { range: flag.range, hint });
}
