import { readFileSync } from 'node:fs';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import { JsonError, isObject, parseJson } from '../oci/json';

/**
 * Which sources a build may use, and what is used instead of some: BuildKit,
 * sourcepolicy/pb/policy.proto. What cannot be evaluated is refused when the file is read.
 */
export interface SourcePolicy {
  readonly file: string;
  readonly rules: readonly PolicyRule[];
}

/** One rule; the last one that matches decides. */
export interface PolicyRule {
  /** From 1, as messages count. */
  readonly number: number;
  readonly action: 'ALLOW' | 'DENY' | 'CONVERT';
  readonly identifier: string;
  readonly matchType: 'WILDCARD' | 'EXACT';
  readonly constraints: readonly Constraint[];
  /** Of CONVERT: what is used instead; the selector's identifier when absent. */
  readonly updates?: {
    readonly identifier?: string | undefined;
    readonly attrs: Readonly<Record<string, string>>;
  };
}

/** What an attribute of a source must be. */
export interface Constraint {
  readonly key: string;
  readonly value: string;
  readonly condition: 'EQUAL' | 'NOTEQUAL';
}

/** Attributes of sources that mbuild knows: BuildKit, solver/pb/attr.go. */
const ATTRIBUTES = ['http.checksum'];

/** Words of an enumeration in the order of their numbers; those that are refused have a reason. */
const ACTIONS = ['ALLOW', 'DENY', 'CONVERT'] as const;
const MATCH_TYPES = ['WILDCARD', 'EXACT', 'REGEX'] as const;
const CONDITIONS = ['EQUAL', 'NOTEQUAL', 'MATCHES'] as const;
const NO_REGEX = 'uses regular expressions, which mbuild does not evaluate';

/** @throws MbuildError USAGE for what is not a policy, UNSUPPORTED for what cannot be evaluated. */
export function readSourcePolicy(file: string): SourcePolicy {
  return parseSourcePolicy(readText(file), file);
}

/** The same for the text of the file. */
export function parseSourcePolicy(text: Uint8Array | string, file: string): SourcePolicy {
  const reader = new PolicyReader(file);
  const top = reader.members(parsed(text, reader), 'the policy', ['version', 'rules']);
  if (![undefined, 0, 1].includes(top['version'] as number | undefined))
    throw reader.unsupported(`it has version ${JSON.stringify(top['version'])}`);
  const { rules = [] } = top;
  if (!Array.isArray(rules)) throw reader.wrong('its rules are not a list');
  return { file, rules: rules.map((rule: unknown, i) => reader.rule(rule, i + 1)) };
}

function readText(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new MbuildError(
      'USAGE',
      `cannot read the source policy ${file} (${errnoOf(cause) ?? 'error'})`,
      { cause, hint: 'it is named by --source-policy-file or EXPERIMENTAL_BUILDKIT_SOURCE_POLICY' },
    );
  }
}

function parsed(text: Uint8Array | string, reader: PolicyReader): unknown {
  try {
    return parseJson(typeof text === 'string' ? Buffer.from(text) : text);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw reader.wrong(`it ${error.message}`);
  }
}

type Members = Readonly<Record<string, unknown>>;

/** Reads the parts of one policy. A member that is not known could forbid something, so it is refused. */
class PolicyReader {
  constructor(private readonly file: string) {}

  rule(value: unknown, number: number): PolicyRule {
    const what = `rule ${number}`;
    const rule = this.members(value, what, ['action', 'selector', 'updates']);
    const selector = this.members(rule['selector'], `the selector of ${what}`, [
      'identifier',
      'matchType',
      'match_type',
      'constraints',
    ]);
    const type = selector['matchType'] ?? selector['match_type'];
    const matchType = this.#word(type, MATCH_TYPES, `the match type of ${what}`);
    if (matchType === 'REGEX') throw this.unsupported(`${what} ${NO_REGEX}`, 'use WILDCARD');
    const action = this.#word(rule['action'], ACTIONS, `the action of ${what}`);
    return {
      ...{ number, action, matchType },
      identifier: this.#text(selector['identifier'], `the identifier of ${what}`),
      constraints: this.#list(selector['constraints'], `the constraints of ${what}`).map((one) =>
        this.#constraint(one, what),
      ),
      ...(action === 'CONVERT' ? { updates: this.#updates(rule['updates'], what) } : {}),
    };
  }

  #constraint(value: unknown, what: string): Constraint {
    const read = this.members(value, `a constraint of ${what}`, ['key', 'value', 'condition']);
    const condition = this.#word(read['condition'], CONDITIONS, `a condition of ${what}`);
    if (condition === 'MATCHES') throw this.unsupported(`${what} ${NO_REGEX}`, 'use EQUAL');
    const key = this.#attribute(this.#text(read['key'], `a key of ${what}`), what);
    return { key, value: this.#text(read['value'] ?? '', `a value of ${what}`), condition };
  }

  #updates(value: unknown, what: string): NonNullable<PolicyRule['updates']> {
    if (value === undefined || value === null)
      throw this.wrong(`${what} converts, and does not say to what`);
    const read = this.members(value, `the updates of ${what}`, ['identifier', 'attrs']);
    const attrs = read['attrs'] ?? {};
    if (!isObject(attrs)) throw this.wrong(`the attrs of ${what} are not an object`);
    const pairs = Object.entries(attrs).map(([key, item]) => [
      this.#attribute(key, what),
      this.#text(item, `${key} of ${what}`),
    ]);
    const identifier = read['identifier'] ?? '';
    const text = this.#text(identifier, `the new identifier of ${what}`);
    return { identifier: text === '' ? undefined : text, attrs: Object.fromEntries(pairs) };
  }

  #attribute(key: string, what: string): string {
    if (ATTRIBUTES.includes(key)) return key;
    throw this.unsupported(
      `${what} is about the attribute ${JSON.stringify(key)}, which mbuild does not know`,
      `known is ${ATTRIBUTES.join(', ')}`,
    );
  }

  /** A word, or its number; absent is the first one. */
  #word<const W extends string>(value: unknown, words: readonly W[], what: string): W {
    const index = typeof value === 'number' ? value : 0;
    const word = typeof value === 'string' ? words.find((one) => one === value) : words[index];
    if (word !== undefined && ['string', 'number', 'undefined'].includes(typeof value)) return word;
    const hint = didYouMean(String(value), words) ?? `known are ${words.join(', ')}`;
    throw this.unsupported(`${what} is ${JSON.stringify(value)}`, hint);
  }

  #text(value: unknown, what: string): string {
    if (typeof value === 'string') return value;
    throw this.wrong(`${what} is not a text`);
  }

  #list(value: unknown, what: string): readonly unknown[] {
    if (value === undefined || value === null) return [];
    if (Array.isArray(value)) return value as readonly unknown[];
    throw this.wrong(`${what} are not a list`);
  }

  members(value: unknown, what: string, known: readonly string[]): Members {
    if (!isObject(value)) throw this.wrong(`${what} is not an object`);
    const other = Object.keys(value).find((key) => !known.includes(key));
    if (other === undefined) return value;
    throw this.unsupported(
      `${what} has a member ${JSON.stringify(other)}`,
      didYouMean(other, known) ?? `known are ${known.join(', ')}`,
    );
  }

  wrong(why: string): MbuildError {
    return new MbuildError('USAGE', `the source policy ${this.file} cannot be used: ${why}`);
  }

  unsupported(why: string, hint?: string): MbuildError {
    return new MbuildError(
      'UNSUPPORTED',
      `the source policy ${this.file} cannot be evaluated: ${why}`,
      { hint },
    );
  }
}
