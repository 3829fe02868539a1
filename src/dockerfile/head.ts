import { DockerfileParser } from 'dockerfile-ast';
import type { Flag as AstFlag, Instruction as AstInstruction } from 'dockerfile-ast';
import type { Directives } from './instruction';
import { trim } from './whitespace';
import { readFlags } from './words';
import type { FlagWord } from './words';

// dockerfile-ast reads the small pieces here: a directive's line, the keyword and flags of an instruction. Given a whole
// file it needs 130 ms for 2,000 lines, and follows an editor's rules where BuildKit has its own: comments and empty lines
// in continuations, bodies of heredocs, quotes, JSON. So lines are joined before (statements.ts) and arguments read after
// (words.ts); what follows puts it right where the two disagree about a piece.

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

const HEAD = /^([^\t\v\f\r ]*)((?:[\t\v\f\r ]+--[^\t\v\f\r ]*)*)/;

/** Keyword and flags without quotes, escapes and a lone `--`: about those dockerfile-ast and BuildKit agree. */
const PLAIN_HEAD = /^\w+(?:[ \t]+--[\w-]+(?:=[\w:.,/$%*@+=-]*)?)*$/;

/** dockerfile-ast's time is quadratic in the number of flags (100,000 take 20 s): longer heads are read without it. */
const MAX_AST_HEAD = 4096;

const DIRECTIVES: readonly string[] = ['escape', 'syntax', 'check'] satisfies (keyof Directives)[];

/**
 * Reads keyword and flags of the instruction that `text` begins with. `known` remembers heads within one file: most lines
 * of a long file begin like another one (`RUN`, `COPY --from=build`), and dockerfile-ast takes its time.
 */
export function readHead(text: string, known: Map<string, Head> = new Map()): Head {
  const [head = '', keyword = '', written = ''] = HEAD.exec(text) ?? [];
  const before = known.get(head);
  if (before !== undefined) return before;
  const plain = head.length <= MAX_AST_HEAD && PLAIN_HEAD.test(head) ? readPlainHead(head, written !== '') : undefined;
  if (plain !== undefined) {
    known.set(head, plain);
    return plain;
  }
  const { flags, end } = readFlags(text, keyword.length);
  return { keyword, keywordEnd: keyword.length, flags, end };
}

function readPlainHead(head: string, hasFlags: boolean): Head | undefined {
  const [node] = DockerfileParser.parse(head).getInstructions();
  const flags = node === undefined ? undefined : flagsOf(node);
  if (node === undefined || (hasFlags && (flags === undefined || flags.length === 0))) return undefined;
  return { keyword: node.getInstruction(), keywordEnd: node.getInstructionRange().end.character, flags: flags ?? [], end: head.length };
}

/** None or `undefined` for instructions that dockerfile-ast looks for no flags in. */
function flagsOf(node: AstInstruction): FlagWord[] | undefined {
  if (!('getFlags' in node)) return undefined;
  const { getFlags } = node as { getFlags(): AstFlag[] };
  return getFlags.call(node).map((flag) => ({
    name: flag.getName(),
    value: flag.getValue() ?? undefined,
    start: flag.getRange().start.character,
    end: flag.getRange().end.character,
  }));
}

/** Reads a line as a parser directive; `undefined` when it is none, which also ends the search for more. */
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
