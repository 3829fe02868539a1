import type { Flag, Pair } from './instruction';
import { skipSpace } from './statements';
import { isSpace } from './whitespace';

/** A flag and where it stands in the text it was read from. */
export interface FlagWord {
  readonly name: string;
  readonly value: Flag['value'];
  readonly start: number;
  readonly end: number;
}

/** A JSON array behind an instruction; `not-strings` when it is an array, but of something else. */
export type JsonWords =
  | { readonly form: 'strings'; readonly words: readonly string[] }
  | { readonly form: 'none' }
  | { readonly form: 'not-strings' };

/** What can be wrong with `name=value` words. */
export type PairProblem =
  | { readonly kind: 'no-value' }
  | { readonly kind: 'no-equals'; readonly word: string }
  | { readonly kind: 'no-name' };

/**
 * Reads the flags at `offset`: words that begin with `--`, up to the first other word or to `--`
 * alone. Quotes and backslashes of a flag are taken off here (always backslashes, whatever the
 * file's escape character is).
 */
export function readFlags(text: string, offset: number): { flags: FlagWord[]; end: number } {
  const flags: FlagWord[] = [];
  let position = skipSpace(text, offset);
  while (text.startsWith('--', position)) {
    const word = readQuotedWord(text, position);
    if (word.value === '--') return { flags, end: skipSpace(text, word.end) };
    const equals = word.value.indexOf('=');
    flags.push({
      name: word.value.slice(2, equals === -1 ? undefined : equals),
      value: equals === -1 ? undefined : word.value.slice(equals + 1),
      start: position,
      end: word.end,
    });
    position = skipSpace(text, word.end);
  }
  return { flags, end: position };
}

/**
 * The word at `start` without quotes and backslashes; a quote that is never closed reaches to the
 * end.
 */
function readQuotedWord(text: string, start: number): { value: string; end: number } {
  let value = '';
  let quote = '';
  let end = start;
  for (; end < text.length; end++) {
    let character = text.charAt(end);
    if (quote === '' && isSpace(character)) break;
    if (character === quote) {
      quote = '';
      continue;
    }
    if (quote === '' && (character === '"' || character === "'")) {
      quote = character;
      continue;
    }
    if (character === '\\') character = text.charAt(++end);
    value += character;
  }
  return { value, end: Math.min(end, text.length) };
}

/**
 * Words between ASCII blanks, quotes without meaning: FROM, EXPOSE, COPY. `text` must be trimmed.
 */
export function splitBlanks(text: string): string[] {
  return text === '' ? [] : text.split(/[\t\v\f\r ]+/);
}

/** Words as written, quotes and escapes kept but heeded: ENV, LABEL, ARG. */
export function splitQuoted(text: string, escape: string): string[] {
  const words: string[] = [];
  let position = skipSpace(text, 0);
  while (position < text.length) {
    const start = position;
    let quote = '';
    let skippedEscape = false;
    for (; position < text.length; position++) {
      const character = text.charAt(position);
      if (character === escape && quote !== "'") {
        // An escape at the very end stands for nothing.
        skippedEscape = position + 1 === text.length;
        position++;
      } else if (quote !== '') {
        if (character === quote) quote = '';
      } else if (character === '"' || character === "'") quote = character;
      else if (isSpace(character)) break;
    }
    const word = text.slice(start, skippedEscape ? -1 : position);
    if (word !== '') words.push(word);
    position = skipSpace(text, position);
  }
  return words;
}

/** `name=value …`, or the old `name value`; `[]` when nothing is there. */
export function readPairs(text: string, escape: string): readonly Pair[] | PairProblem {
  const words = splitQuoted(text, escape);
  const [first] = words;
  if (first === undefined) return [];
  if (!first.includes('=')) {
    const [, name, value] = /^([^\t\v\f\r ]*)[\t\v\f\r ]+(.*)$/su.exec(text) ?? [];
    if (name === undefined || value === undefined) return { kind: 'no-value' };
    return [{ name, value, separator: '' }];
  }
  const pairs: Pair[] = [];
  for (const word of words) {
    const equals = word.indexOf('=');
    if (equals === -1) return { kind: 'no-equals', word };
    if (equals === 0) return { kind: 'no-name' };
    pairs.push({ name: word.slice(0, equals), value: word.slice(equals + 1), separator: '=' });
  }
  return pairs;
}

/**
 * The strings of a JSON array. Text that is no JSON array at all is no error: it is the shell form.
 */
export function readJsonWords(text: string): JsonWords {
  if (!text.startsWith('[')) return { form: 'none' };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { form: 'none' };
  }
  if (!Array.isArray(value)) return { form: 'none' };
  if (!value.every((item): item is string => typeof item === 'string'))
    return { form: 'not-strings' };
  // A lone half of a surrogate pair is no character: it becomes U+FFFD, as in Go.
  return { form: 'strings', words: value.map((word) => word.replace(/\p{Surrogate}/gu, '\ufffd')) };
}
