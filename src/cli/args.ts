import { MbuildError } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import { equalFlag } from './foreign-flags';

/** What every flag has. */
interface FlagBase {
  /** One letter. */
  readonly short?: string | undefined;
  /** For `--help`; one sentence without a full stop. */
  readonly help: string;
  /** Other names that mean the same, not shown. */
  readonly aliases?: readonly string[] | undefined;
  /** Variables that count after `MBUILD_…`, such as `BUILDKIT_PROGRESS`. */
  readonly env?: readonly string[] | undefined;
  /** Accepted, without effect; says why. A note is shown when it is used. */
  readonly ignored?: string | undefined;
  /** Known, but not there yet; using it is an error that says so. */
  readonly unsupported?: string | undefined;
  /** Means the same to every command, so that its variable has no command in its name. */
  readonly global?: boolean | undefined;
  /** Not shown in `--help`. */
  readonly hidden?: boolean | undefined;
}

/** One flag. `value` names what it takes in `--help`. */
export type Flag = FlagBase &
  (
    | { readonly kind: 'boolean' }
    | {
        readonly kind: 'string';
        readonly value: string;
        readonly choices?: readonly string[] | undefined;
        readonly fallback?: string | undefined;
      }
    /** May be given several times. */
    | { readonly kind: 'list'; readonly value: string }
    /** A whole number, not negative. */
    | { readonly kind: 'number'; readonly value: string }
    /** `--pull` means `--pull=implied`; the value is only ever taken from behind `=`. */
    | {
        readonly kind: 'optional';
        readonly value: string;
        readonly implied: string;
        readonly choices?: readonly string[] | undefined;
      }
  );

/** Flags by their long name. */
export type FlagTable = Readonly<Record<string, Flag>>;

/** The value that a flag has after reading. */
type ValueOf<F extends Flag> = F extends { readonly kind: 'boolean' }
  ? boolean
  : F extends { readonly kind: 'list' }
    ? readonly string[]
    : F extends { readonly kind: 'number' }
      ? number | undefined
      : F extends { readonly fallback: string }
        ? string
        : string | undefined;

/** The values of a table's flags. */
export type FlagValues<T extends FlagTable> = { readonly [K in keyof T]: ValueOf<T[K]> };

/** A command line, read. */
export interface ParsedArgs<T extends FlagTable> {
  readonly flags: FlagValues<T>;
  /** What is no flag, in order. */
  readonly positionals: readonly string[];
  /** Names of the flags that were written or came from the environment. */
  readonly given: ReadonlySet<string>;
  /** One line for each flag that was accepted without effect. */
  readonly notes: readonly string[];
  /** `--help` or `-h` was written. */
  readonly help: boolean;
}

/** How a command line is read. */
export interface ParseOptions {
  /** For the usage hint of errors, e.g. `mbuild build`. */
  readonly command: string;
  /** The first positional ends the flags: `run IMAGE COMMAND --flag-of-the-command`. */
  readonly stopAtPositional?: boolean | undefined;
  /**
   * What stands between `MBUILD_` and the flag in its variable; flags of the build have nothing
   * there.
   */
  readonly envPrefix?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Values as they are collected: texts in the order in which they came. */
type Collected = Map<string, string[]>;

/**
 * Reads a command line as docker's (pflag) does: `--flag=value`, `--flag value`, `-f value`,
 * `-fvalue`, `-f=value`, bundled `-it`, `--flag=false`, flags between positionals, `--` ends them.
 * Of a flag given twice the last counts, but for lists. What is not written is taken from the
 * environment ({@link envNames}; a list has one item per line there).
 * @throws MbuildError USAGE, with the nearest flag as hint; UNSUPPORTED.
 */
export function parseArgs<T extends FlagTable>(
  argv: readonly string[],
  table: T,
  options: ParseOptions,
): ParsedArgs<T> {
  const reader = new Reader(table, options);
  reader.read(argv);
  for (const name of Object.keys(table)) {
    const value = reader.collected.has(name) ? undefined : fromEnvironment(name, table, options);
    if (value !== undefined) reader.collected.set(name, value);
  }
  const flags = Object.fromEntries(
    Object.entries(table).map(([name, flag]) => [
      name,
      valueOf(name, flag, reader.collected.get(name), options),
    ]),
  );
  return {
    flags: flags as unknown as FlagValues<T>,
    positionals: reader.positionals,
    given: new Set(reader.collected.keys()),
    notes: [...reader.collected.keys()].flatMap((name) => noteOf(name, table[name])),
    help: reader.help,
  };
}

/** The variables that stand for a flag, ours first. */
export function envNames(name: string, flag: Flag, prefix?: string): string[] {
  const own = ['MBUILD', ...(prefix === undefined || flag.global === true ? [] : [prefix]), name]
    .join('_')
    .replace(/-/g, '_')
    .toUpperCase();
  return [own, ...(flag.env ?? [])];
}

/** An error about the command line; the hint names the way to the help. */
export function usageError(command: string, message: string, hint?: string): MbuildError {
  return new MbuildError('USAGE', message, {
    hint: hint === undefined ? `see '${command} --help'` : hint,
  });
}

class Reader {
  readonly collected: Collected = new Map();
  readonly positionals: string[] = [];
  help = false;
  readonly #long = new Map<string, string>();
  readonly #short = new Map<string, string>();

  constructor(
    readonly table: FlagTable,
    readonly options: ParseOptions,
  ) {
    for (const [name, flag] of Object.entries(table)) {
      for (const known of [name, ...(flag.aliases ?? [])]) this.#long.set(known, name);
      if (flag.short !== undefined) this.#short.set(flag.short, name);
    }
  }

  read(argv: readonly string[]): void {
    const rest = [...argv];
    for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
      if (word === '--') {
        this.positionals.push(...rest.splice(0));
      } else if (word.startsWith('--')) {
        this.#longFlag(word, rest);
      } else if (word.startsWith('-') && word !== '-') {
        this.#shortFlags(word, rest);
      } else {
        this.positionals.push(word);
        if (this.options.stopAtPositional === true) this.positionals.push(...rest.splice(0));
      }
    }
  }

  #longFlag(word: string, rest: string[]): void {
    const equals = word.indexOf('=');
    const written = equals < 0 ? word.slice(2) : word.slice(2, equals);
    const name = this.#long.get(written);
    if (name === undefined) {
      if (written === 'help') {
        this.help = true;
        return;
      }
      throw this.#unknown(
        `--${written}`,
        [...this.#long.keys()].map((known) => `--${known}`),
        written,
      );
    }
    this.#put(name, `--${written}`, equals < 0 ? undefined : word.slice(equals + 1), rest);
  }

  #shortFlags(word: string, rest: string[]): void {
    for (let at = 1; at < word.length; at += 1) {
      const letter = word[at] ?? '';
      const name = this.#short.get(letter);
      if (name === undefined) {
        if (letter === 'h') {
          this.help = true;
          continue;
        }
        const long = this.#long.get(word.slice(1).split('=')[0] ?? '');
        const hint = long === undefined ? undefined : `did you mean "--${long}"?`;
        throw usageError(
          this.options.command,
          `unknown shorthand flag: '${letter}' in ${word}`,
          hint,
        );
      }
      const behind = word.slice(at + 1);
      const takesValue =
        this.table[name]?.kind !== 'boolean' && this.table[name]?.kind !== 'optional';
      if (behind.startsWith('=')) return this.#put(name, `-${letter}`, behind.slice(1), rest);
      if (takesValue)
        return this.#put(name, `-${letter}`, behind === '' ? undefined : behind, rest);
      this.#put(name, `-${letter}`, undefined, rest);
    }
  }

  #put(name: string, written: string, attached: string | undefined, rest: string[]): void {
    const flag = this.table[name];
    if (flag === undefined) return;
    if (flag.unsupported !== undefined) throw unsupported(written, flag.unsupported);
    const values = this.collected.get(name) ?? [];
    this.collected.set(name, values);
    if (attached !== undefined) values.push(attached);
    else if (flag.kind === 'boolean') values.push('true');
    else if (flag.kind === 'optional') values.push(flag.implied);
    else {
      const value = rest.shift();
      if (value === undefined)
        throw usageError(this.options.command, `flag needs an argument: ${written}`);
      values.push(value);
    }
  }

  #unknown(flag: string, candidates: readonly string[], written: string): MbuildError {
    const short =
      written.length === 1 && this.#short.has(written) ? `did you mean "-${written}"?` : undefined;
    // Only who builds has flags that other builders have, too.
    const equal = this.table['build-arg'] === undefined ? undefined : equalFlag(written);
    return usageError(
      this.options.command,
      `unknown flag: ${flag}`,
      short ?? equal ?? didYouMean(flag, candidates),
    );
  }
}

function fromEnvironment(
  name: string,
  table: FlagTable,
  { env, envPrefix }: ParseOptions,
): string[] | undefined {
  const flag = table[name];
  if (flag === undefined) return undefined;
  for (const variable of envNames(name, flag, envPrefix)) {
    const value = env[variable];
    if (value === undefined || value === '') continue;
    if (flag.unsupported !== undefined) throw unsupported(variable, flag.unsupported);
    return flag.kind === 'list' ? value.split('\n').filter((line) => line !== '') : [value];
  }
  return undefined;
}

function valueOf(
  name: string,
  flag: Flag,
  texts: readonly string[] | undefined,
  options: ParseOptions,
): boolean | string | number | readonly string[] | undefined {
  const text = texts?.at(-1);
  switch (flag.kind) {
    case 'boolean':
      return text === undefined ? false : readBoolean(name, text, options);
    case 'list':
      return texts ?? [];
    case 'number':
      if (text !== undefined && !/^\d{1,15}$/.test(text))
        throw usageError(
          options.command,
          `invalid argument ${JSON.stringify(text)} for --${name}: not a whole number`,
        );
      return text === undefined ? undefined : Number(text);
    case 'string':
      return chosen(name, text ?? flag.fallback, flag.choices, options);
    case 'optional':
      return chosen(name, text, flag.choices, options);
  }
}

// Go's strconv.ParseBool, and the words that people put into variables.
function readBoolean(name: string, text: string, options: ParseOptions): boolean {
  const word = text.toLowerCase();
  if (['1', 't', 'true', 'yes', 'on'].includes(word)) return true;
  if (['0', 'f', 'false', 'no', 'off'].includes(word)) return false;
  throw usageError(
    options.command,
    `invalid argument ${JSON.stringify(text)} for --${name}: neither true nor false`,
  );
}

function chosen(
  name: string,
  text: string | undefined,
  choices: readonly string[] | undefined,
  options: ParseOptions,
): string | undefined {
  if (text === undefined || choices === undefined || choices.includes(text)) return text;
  throw usageError(
    options.command,
    `invalid argument ${JSON.stringify(text)} for --${name}: one of ${choices.join(', ')}`,
    didYouMean(text, choices),
  );
}

function noteOf(name: string, flag: Flag | undefined): string[] {
  return flag?.ignored === undefined ? [] : [`--${name} is accepted and ignored: ${flag.ignored}`];
}

function unsupported(written: string, why: string): MbuildError {
  return new MbuildError('UNSUPPORTED', `${written} is not supported: ${why}`);
}
