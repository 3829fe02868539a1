import { list, object, tuple, type Value } from '../value';
import { define, defineVariadic, refuse, type Library } from './define';
import { formatText } from './format';

/** Functions on text. */
export const STRINGS: Library = {
  chomp: define(['string'], (text) => text.replace(/(\r?\n)+$/, '')),
  format: defineVariadic(['string'], 'any', ([pattern], values) => formatText(pattern, values)),
  formatlist: defineVariadic(['string'], 'any', ([pattern], values) => formatEach(pattern, values)),
  indent: define(['number', 'string'], (spaces, text) =>
    text.replaceAll('\n', `\n${' '.repeat(spaces)}`),
  ),
  join: defineVariadic(['string'], 'sequence', ([separator], lists) =>
    lists.flatMap(({ items }) => items.map(textOf)).join(separator),
  ),
  lower: define(['string'], (text) => text.toLowerCase()),
  upper: define(['string'], (text) => text.toUpperCase()),
  title: define(['string'], (text) =>
    text.replace(/(?<![\p{L}\p{N}_])\p{L}/gu, (letter) => letter.toUpperCase()),
  ),
  regex: define(['string', 'string'], (pattern, text) => {
    const found = expression(pattern, '').exec(text);
    if (found === null) throw refuse('nothing matches the pattern');
    return matchOf(found);
  }),
  regexall: define(['string', 'string'], (pattern, text) =>
    list([...text.matchAll(expression(pattern, 'g'))].map(matchOf)),
  ),
  regex_replace: define(['string', 'string', 'string'], (text, pattern, replacement) =>
    text.replace(expression(pattern, 'g'), goReplacement(replacement)),
  ),
  replace: define(['string', 'string', 'string'], (text, what, replacement) =>
    text.replaceAll(what, () => replacement),
  ),
  reverse: define(['string'], (text) => graphemes(text).reverse().join('')),
  sanitize: define(['string'], (text) => text.replace(/[^a-zA-Z0-9_-]/gu, '_')),
  split: define(['string', 'string'], (separator, text) =>
    list(text === '' ? [] : text.split(separator)),
  ),
  strlen: define(['string'], (text) => graphemes(text).length),
  substr: define(['string', 'number', 'number'], substring),
  trim: define(['string', 'string'], (text, cutset) => {
    const cut = new Set(cutset);
    const characters = [...text];
    while (cut.has(characters[0] ?? '')) characters.shift();
    while (cut.has(characters.at(-1) ?? '')) characters.pop();
    return characters.join('');
  }),
  trimprefix: define(['string', 'string'], (text, prefix) =>
    text.startsWith(prefix) ? text.slice(prefix.length) : text,
  ),
  trimsuffix: define(['string', 'string'], (text, suffix) =>
    suffix !== '' && text.endsWith(suffix) ? text.slice(0, -suffix.length) : text,
  ),
  trimspace: define(['string'], (text) => text.trim()),
};

const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' });

function graphemes(text: string): string[] {
  return [...segmenter.segment(text)].map(({ segment }) => segment);
}

/** A negative offset counts from the end; a length of -1 takes the rest. */
function substring(text: string, offset: number, length: number): string {
  const all = graphemes(text);
  const start = offset < 0 ? Math.max(0, all.length + offset) : offset;
  return all.slice(start, length < 0 ? undefined : start + length).join('');
}

function textOf(value: Value): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return formatText('%v', [value]);
  throw refuse('the items must be strings');
}

/** Go's syntax of expressions (RE2) as JavaScript has it: `(?P<name>…)`, and flags at the start. */
function expression(pattern: string, flags: string): RegExp {
  const [, set = '', body = pattern] = /^\(\?([ims]+)\)(.*)$/s.exec(pattern) ?? [];
  try {
    return new RegExp(body.replaceAll('(?P<', '(?<'), `u${flags}${set}`);
  } catch (error) {
    throw refuse(error instanceof Error ? error.message : String(error));
  }
}

/** The match itself, or its groups: a tuple, or an object where they have names. */
function matchOf(found: RegExpExecArray): Value {
  const groups = Object.entries(found.groups ?? {});
  if (groups.length > 0) return object(groups.map(([name, text]) => [name, text ?? null]));
  if (found.length > 1) return tuple(found.slice(1).map((text) => text ?? null));
  return found[0];
}

/** `$1` and `${name}` of Go's templates; `$1x` is the group named `1x` there, and so nothing. */
function goReplacement(replacement: string): (...found: string[]) => string {
  return (...found) => {
    const last = found.at(-1) as unknown;
    const groups = (typeof last === 'object' ? last : {}) as Record<string, string | undefined>;
    return replacement.replace(
      /\$(?:\$|(\w+)|\{(\w+)\})/g,
      (whole, bare?: string, braced?: string) => {
        const name = bare ?? braced;
        if (name === undefined) return whole === '$$' ? '$' : whole;
        const group = /^\d+$/.test(name) ? found[Number(name)] : groups[name];
        return typeof group === 'string' ? group : '';
      },
    );
  };
}

/**
 * As many texts as the longest list among the values has items; what is not a list stands in all.
 */
function formatEach(pattern: string, values: readonly Value[]): Value {
  const lengths = values.flatMap((value) =>
    typeof value === 'object' && value !== null && 'items' in value ? [value.items.length] : [],
  );
  const [length = 1] = lengths;
  if (lengths.some((other) => other !== length))
    throw refuse('the lists must have the same length');
  const at = (value: Value, i: number): Value =>
    typeof value === 'object' && value !== null && 'items' in value
      ? (value.items[i] ?? null)
      : value;
  return list(
    Array.from({ length }, (_, i) =>
      formatText(
        pattern,
        values.map((value) => at(value, i)),
      ),
    ),
  );
}
