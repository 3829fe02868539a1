// What counts as space differs by place: words are split at ASCII blanks, lines are trimmed of
// every Unicode space. JavaScript's own `\s` and `trim` differ from both (they take U+FEFF, and
// leave U+0085).

const SPACE = /[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;

/** True for one character that Unicode calls white space. */
export function isSpace(character: string): boolean {
  return character > ' ' && character < '\u0085' ? false : SPACE.test(character);
}

/** `text` without leading white space. */
export function trimStart(text: string): string {
  let start = 0;
  while (start < text.length && isSpace(text.charAt(start))) start++;
  return start === 0 ? text : text.slice(start);
}

/** `text` without trailing white space. */
export function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && isSpace(text.charAt(end - 1))) end--;
  return text.slice(0, end);
}

/** `text` without white space at either end. */
export function trim(text: string): string {
  return trimEnd(trimStart(text));
}
