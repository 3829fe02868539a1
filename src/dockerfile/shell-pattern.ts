/**
 * A pattern of `${x#p}`, `${x%p}` and `${x/p/r}`: `*` and `?` (neither matches a line end),
 * everything else for itself. Bracket expressions have no meaning here.
 */
export type ShellPattern = readonly PatternToken[];

type PatternToken =
  { readonly kind: 'any' | 'many' } | { readonly kind: 'literal'; readonly character: string };

/** Where a match lies in a text, counted in characters (code points). */
interface Match {
  readonly start: number;
  readonly end: number;
}

const ANY: PatternToken = { kind: 'any' };
const MANY: PatternToken = { kind: 'many' };

/**
 * Reads a pattern. `\*`, `\?` and `\\` stand for the character itself, as do `\}` and `\/` (which
 * had to be escaped to get into `${…}`).
 * @throws {RangeError} for any other escape, with the escape as its message.
 */
export function parseShellPattern(text: string): ShellPattern {
  const tokens: PatternToken[] = [];
  const characters = [...text];
  for (let i = 0; i < characters.length; i++) {
    let character = characters[i] ?? '';
    if (character === '*') {
      if (tokens.at(-1) !== MANY) tokens.push(MANY);
      continue;
    }
    if (character === '?') {
      tokens.push(ANY);
      continue;
    }
    if (character === '\\') {
      const next = characters[++i] ?? '';
      if (!'}/*?\\'.includes(next) || next === '') throw new RangeError(`\\${next}`);
      character = next;
    }
    tokens.push({ kind: 'literal', character });
  }
  return tokens;
}

/** `value` without the shortest (or longest) start that matches. */
export function removePrefix(pattern: ShellPattern, value: string, longest: boolean): string {
  const characters = [...value];
  const end = matchStart(pattern, characters, longest);
  return end === undefined ? value : characters.slice(end).join('');
}

/** `value` without the shortest (or longest) end that matches. */
export function removeSuffix(pattern: ShellPattern, value: string, longest: boolean): string {
  const characters = [...value];
  const end = matchStart(pattern.toReversed(), characters.toReversed(), longest);
  return end === undefined ? value : characters.slice(0, characters.length - end).join('');
}

/**
 * `value` with the first match, or every match, replaced. A match is the longest one at the
 * leftmost place.
 */
export function replacePattern(
  pattern: ShellPattern,
  value: string,
  replacement: string,
  all: boolean,
): string {
  const characters = [...value];
  const parts: string[] = [];
  let copied = 0;
  let searched = 0;
  let lastEnd = -1;
  while (searched <= characters.length) {
    const match = findMatch(pattern, characters, searched);
    if (match === undefined) break;
    const empty = match.start === match.end;
    // An empty match right behind another match is none: "a" with `*` gives one replacement, not
    // two.
    if (!empty || match.start !== lastEnd) {
      parts.push(characters.slice(copied, match.start).join(''), replacement);
      copied = match.end;
      lastEnd = match.end;
    }
    searched = empty ? match.end + 1 : match.end;
    if (!all) break;
  }
  parts.push(characters.slice(copied).join(''));
  return parts.join('');
}

/**
 * The end of the shortest or longest match at the beginning. Follows all states at once: time is
 * text × pattern, never more.
 */
function matchStart(
  pattern: ShellPattern,
  text: readonly string[],
  longest: boolean,
): number | undefined {
  let states = withSkippedStars(pattern, [0]);
  let end: number | undefined;
  for (let i = 0; ; i++) {
    if (states.at(-1) === pattern.length) {
      end = i;
      if (!longest) return end;
    }
    const character = text[i];
    if (character === undefined || states.length === 0) return end;
    states = advance(pattern, states, character);
  }
}

/**
 * The leftmost match from `from` on, the longest there. Each state remembers the leftmost start
 * that leads to it.
 */
function findMatch(
  pattern: ShellPattern,
  text: readonly string[],
  from: number,
): Match | undefined {
  // A literal that must come first lets most places be skipped at once.
  const first = pattern[0];
  let starts = new Map<number, number>();
  let found: Match | undefined;
  for (let i = from; ; i++) {
    if (found === undefined && (first?.kind !== 'literal' || first.character === text[i])) {
      for (const state of withSkippedStars(pattern, [0]))
        if (!starts.has(state)) starts.set(state, i);
    }
    const start = starts.get(pattern.length);
    if (start !== undefined && (found === undefined || start <= found.start))
      found = { start, end: i };
    const character = text[i];
    if (character === undefined) return found;
    const next = new Map<number, number>();
    for (const [state, began] of starts) {
      if (found !== undefined && began > found.start) continue;
      for (const reached of advance(pattern, [state], character)) {
        const known = next.get(reached);
        if (known === undefined || began < known) next.set(reached, began);
      }
    }
    starts = next;
    if (found !== undefined && starts.size === 0) return found;
  }
}

/** The states behind one more character, in ascending order. */
function advance(pattern: ShellPattern, states: readonly number[], character: string): number[] {
  const next: number[] = [];
  for (const state of states) {
    const token = pattern[state];
    if (token === undefined) continue;
    if (token.kind === 'literal' ? token.character === character : character !== '\n') {
      const reached = token.kind === 'many' ? state : state + 1;
      if (next.at(-1) !== reached) next.push(reached);
    }
  }
  return withSkippedStars(pattern, next);
}

/** A `*` matches nothing as well: with each state that stands before one, the state behind it. */
function withSkippedStars(pattern: ShellPattern, states: readonly number[]): number[] {
  const closed: number[] = [];
  for (const state of states) {
    if (closed.at(-1) !== state) closed.push(state);
    if (pattern[state]?.kind === 'many') closed.push(state + 1);
  }
  return closed;
}
