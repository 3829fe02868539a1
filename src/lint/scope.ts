import { expandHeredoc, expandWord, expandWords, type Escape } from '../dockerfile/expand';
import type { Instruction } from '../dockerfile/instruction';
import { DEFAULT_PATH, splitEnv } from '../oci/env';
import type { StageBase } from './base';
import type { GlobalValues } from './options';

/** What a scope is made from besides its stage's base. */
interface ScopeSources {
  readonly escape: Escape;
  readonly globals: GlobalValues;
  readonly buildArgs: Readonly<Record<string, string>>;
}

/**
 * What is known at a point of a stage: its variables, and whether SHELL and an absolute WORKDIR
 * were there before.
 */
export class StageScope {
  /** Those with a value, in order of their last assignment. */
  readonly #values: Map<string, string>;
  /**
   * What ENV says, of the base and here: a stage on this one has it, whatever ARG stands over it.
   */
  readonly #env: Map<string, string>;
  /** ARGs that have no value. */
  readonly #declared: Set<string>;
  /** False when the stage stands on an image whose variables are not known. */
  readonly knowsBase: boolean;
  hasShell: boolean;
  /** A WORKDIR was set, whether relative or not: what follows starts from it. */
  hasWorkdir: boolean;

  /** @param below the end of the stage that this one begins with. */
  constructor(
    base: StageBase | undefined,
    below: StageScope | undefined,
    private readonly sources: ScopeSources,
  ) {
    const image = base?.kind === 'image' ? base.known : undefined;
    this.#env = new Map(
      below === undefined
        ? [['PATH', DEFAULT_PATH], ...(image?.env ?? []).map(splitEnv)]
        : below.#env,
    );
    this.#values = new Map([...(below === undefined ? [] : below.#values), ...this.#env]);
    this.#declared = new Set(below === undefined ? [] : below.#declared);
    this.knowsBase = below?.knowsBase ?? (base?.kind === 'scratch' || image !== undefined);
    this.hasShell = below?.hasShell ?? (image?.shell ?? []).length > 0;
    this.hasWorkdir = below?.hasWorkdir ?? false;
  }

  /** Names of the variables that have a value. */
  variables(): Iterable<string> {
    return this.#values.keys();
  }

  /** The value of a variable. */
  valueOf(name: string): string | undefined {
    return this.#values.get(name);
  }

  /** A word, expanded; `undefined` when that is not possible. */
  expand(word: string): string | undefined {
    if (!/[$'"\\`]/.test(word)) return word;
    return attempt(() => expandWord(word, this.#lookup, this.sources.escape).value);
  }

  /** A word that may become several. */
  expandWords(word: string): string[] {
    return attempt(() => expandWords(word, this.#lookup, this.sources.escape)) ?? [];
  }

  /** Variables of a word that are not set here. */
  undefinedIn(word: string): string[] {
    if (!word.includes('$')) return [];
    return this.#unknown(
      attempt(() => expandWord(word, this.#lookup, this.sources.escape).unmatched),
    );
  }

  /** The same for the body of a heredoc. */
  undefinedInHeredoc(body: string): string[] {
    return body.includes('$')
      ? this.#unknown(attempt(() => expandHeredoc(body, this.#lookup).unmatched))
      : [];
  }

  /** What is known behind an instruction. */
  apply(instruction: Instruction): void {
    switch (instruction.keyword) {
      case 'ENV': {
        const pairs = instruction.pairs.map(
          ({ name, value }) => [this.expand(name), this.expand(value) ?? ''] as const,
        );
        for (const [name, value] of pairs) {
          if (name === undefined) continue;
          this.#set(name, value);
          this.#env.set(name, value);
        }
        return;
      }
      case 'ARG':
        for (const { name, value } of instruction.args)
          this.#declare(this.expand(name) ?? name, value);
        return;
      case 'SHELL':
        this.hasShell = true;
        return;
      case 'WORKDIR':
        this.hasWorkdir = true;
        return;
      default:
    }
  }

  #declare(name: string, fallback: string | undefined): void {
    const { buildArgs, globals } = this.sources;
    const given = Object.hasOwn(buildArgs, name) ? buildArgs[name] : undefined;
    const value = given ?? (fallback === undefined ? globals.value(name) : this.expand(fallback));
    if (value === undefined) this.#declared.add(name);
    else this.#set(name, value);
  }

  #set(name: string, value: string): void {
    this.#values.delete(name);
    this.#values.set(name, value);
  }

  #unknown(names: readonly string[] | undefined): string[] {
    return (names ?? []).filter((name) => !this.#declared.has(name));
  }

  readonly #lookup = (name: string): string | undefined => this.#values.get(name);
}

/** What an expansion gives; `undefined` where the word has a mistake, which planning reports. */
function attempt<T>(expand: () => T): T | undefined {
  try {
    return expand();
  } catch {
    return undefined;
  }
}
