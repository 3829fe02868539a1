/** What the stars of a pattern stood for: the whole text first. */
export type Match = readonly string[];

/**
 * Matches a text against a pattern in which `*` stands for any characters, in linear time.
 * BuildKit, util/wildcard: each star takes as little as it can.
 */
export function matchWildcard(pattern: string, text: string): Match | undefined {
  const [first = '', ...rest] = pattern.split('*');
  if (rest.length === 0) return text === pattern ? [text] : undefined;
  if (!text.startsWith(first)) return undefined;
  const last = rest.pop() ?? '';
  const taken: string[] = [text];
  let at = first.length;
  for (const piece of rest) {
    const found = text.indexOf(piece, at);
    if (found < 0) return undefined;
    taken.push(text.slice(at, found));
    at = found + piece.length;
  }
  const end = text.length - last.length;
  if (end < at || !text.endsWith(last)) return undefined;
  return [...taken, text.slice(at, end)];
}

/**
 * A text with `$1` and `${1}` replaced by what the first star stood for, and so on; `$$` is a
 * dollar. `undefined` where there are fewer stars.
 */
export function fillIn(template: string, match: Match): string | undefined {
  let isWhole = true;
  const filled = template.replace(
    /\$(?:(\$)|(\d{1,3})|\{(\d{1,3})\})/g,
    (_, dollar?: string, plain?: string, braced?: string) => {
      if (dollar !== undefined) return '$';
      const taken = match[Number(plain ?? braced)];
      isWhole &&= taken !== undefined;
      return taken ?? '';
    },
  );
  return isWhole ? filled : undefined;
}
