import { isMbuildError } from '../diagnostics/error';
import { expandWords } from './expand';
import type { ExpandMode } from './expand';
import type { Heredoc } from './instruction';

/** A heredoc as its first line announces it: the body has not been read. */
export type HeredocMark = Pick<Heredoc, 'name' | 'expand' | 'chomp' | 'fd'>;

const MARK = /^(\d*)<<(-?)[\t-\r ]*([^<]*)$/;
const BARE_MARK = /^\d*<<-?$/;

// Heredocs are looked for in the words as a shell would see them, with everything that is not split
// left as written.
const AS_WRITTEN: ExpandMode = { rawQuotes: true, rawEscapes: true, keepUnset: true };

/**
 * The heredocs that one instruction announces, in the order in which their bodies follow. Always
 * with `\` as the escape, for the line is the shell's. A line that is no shell (an unclosed quote,
 * `${x^^}`) announces none.
 */
export function heredocMarks(line: string): HeredocMark[] {
  if (!line.includes('<<')) return [];
  const words = wordsOrNone(line, AS_WRITTEN);
  const marks: HeredocMark[] = [];
  for (let i = 0; i < words.length; i++) {
    let word = words[i] ?? '';
    // `<< EOF` is as good as `<<EOF`.
    if (BARE_MARK.test(word) && i + 1 < words.length) word += ` ${words[++i] ?? ''}`;
    const mark = parseHeredocMark(word);
    if (mark !== undefined) marks.push(mark);
  }
  return marks;
}

/** Reads `<<EOF`, `<<-"EOF"`, `3<<EOF`; `undefined` for any other word. */
export function parseHeredocMark(word: string): HeredocMark | undefined {
  if (!word.includes('<<')) return undefined;
  const [, fd, dash, rest] = MARK.exec(word) ?? [];
  if (fd === undefined || rest === undefined || rest === '') return undefined;
  const [name, ...more] = wordsOrNone(rest, { keepUnset: true });
  const [quoted] = wordsOrNone(rest, { keepUnset: true, rawQuotes: true });
  if (name === undefined || quoted === undefined || more.length > 0) return undefined;
  return { name, expand: quotesIn(name) === quotesIn(quoted), chomp: dash === '-', fd: Number(fd) };
}

/**
 * The heredoc that a source of COPY or ADD stands for; `undefined` when it is a path. In JSON form
 * a source that only looks like one has no body: BuildKit makes an empty file of it.
 */
export function heredocOfSource(source: string, heredocs: readonly Heredoc[]): Heredoc | undefined {
  const mark = parseHeredocMark(source);
  if (mark === undefined) return undefined;
  return (
    heredocs.findLast((heredoc) => heredoc.name === mark.name) ?? { ...mark, content: '', raw: '' }
  );
}

/** `content` without the tabs that its lines begin with: what `<<-` asks for. */
export function chompHeredoc(content: string): string {
  return content.replace(/^\t+/gm, '');
}

function wordsOrNone(text: string, mode: ExpandMode): string[] {
  try {
    return expandWords(text, () => undefined, '\\', mode);
  } catch (error) {
    if (isMbuildError(error, 'DOCKERFILE_SYNTAX')) return [];
    throw error;
  }
}

function quotesIn(text: string): number {
  return text.replace(/[^'"]/g, '').length;
}
