import { DockerfileParser } from 'dockerfile-ast';
import type { Directives } from './instruction';
import { trim } from './whitespace';
import { readFlags } from './words';
import type { FlagWord } from './words';

// dockerfile-ast reads the small pieces here: a directive's line, an instruction's keyword. Given a
// whole file it needs 130 ms for 2,000 lines, and follows an editor's rules where BuildKit has its
// own: comments and empty lines in continuations, bodies of heredocs, quotes, JSON, flags. So lines
// are joined before (statements.ts) and flags and arguments read after (words.ts); what follows
// puts it right where the two disagree about a piece.

/** The beginning of an instruction. */
export interface Head {
  /** As written. */
  readonly keyword: string;
  /** Offset behind the keyword. */
  readonly keywordEnd: number;
  readonly flags: readonly FlagWord[];
  /** Where the arguments begin. */
  readonly end: number;
}

/** A parser directive: `# name=value`. */
export interface DirectiveLine {
  readonly name: keyof Directives;
  readonly value: string;
}

const KEYWORD = /^[^\t\v\f\r ]*/;

/** Keywords without quotes and escapes: about those dockerfile-ast and BuildKit agree. */
const PLAIN_KEYWORD = /^[A-Za-z]{1,32}$/;

const DIRECTIVES: readonly string[] = ['escape', 'syntax', 'check'] satisfies (keyof Directives)[];

/**
 * Reads keyword and flags of the instruction that `text` begins with. `known` remembers keywords
 * within one file.
 */
export function readHead(text: string, known: Map<string, string>): Head {
  const [word = ''] = KEYWORD.exec(text) ?? [];
  const keyword = known.get(word) ?? readKeyword(word);
  known.set(word, keyword);
  const { flags, end } = readFlags(text, keyword.length);
  return { keyword, keywordEnd: keyword.length, flags, end };
}

function readKeyword(word: string): string {
  if (!PLAIN_KEYWORD.test(word)) return word;
  const [node] = DockerfileParser.parse(word).getInstructions();
  return node?.getInstruction() ?? word;
}

/**
 * Reads a line as a parser directive; `undefined` when it is none, which also ends the search for
 * more.
 */
export function readDirective(line: string): DirectiveLine | undefined {
  const text = trim(line);
  const [directive] = DockerfileParser.parse(text).getDirectives();
  if (directive === undefined) return undefined;
  const equals = text.indexOf('=');
  // `# a b=c` is a directive to dockerfile-ast, and of `# check=a; b` it takes the first word.
  if (trim(text.slice(1, equals)) !== directive.getName()) return undefined;
  const name = directive.getName().toLowerCase();
  const value = trim(text.slice(equals + 1));
  return isDirective(name) && value !== '' ? { name, value } : undefined;
}

function isDirective(name: string): name is keyof Directives {
  return DIRECTIVES.includes(name);
}
