import { MbuildError } from '../../diagnostics/error';
import { goString, goType, isTrue, sortedEntries, type GoValue } from './go-value';
import { builtins, wrongCount, type TemplateFunction } from './go-functions';

/** A parsed template; `execute` may be called any number of times. */
export interface Template {
  /**
   * `show` makes what the data holds safe to print; the template's own text stays as it is.
   * @throws MbuildError USAGE where the data does not have what the template asks for.
   */
  execute(data: GoValue, show?: (text: string) => string): string;
}

type Functions = Readonly<Record<string, TemplateFunction>>;

/** A value or how to get at one. `at` is where it stands in the text, `text` how it is written. */
type Operand = {
  readonly at: number;
  readonly text: string;
  readonly fields: readonly string[];
} & (
  | { readonly kind: 'dot' }
  | { readonly kind: 'variable'; readonly name: string }
  | { readonly kind: 'literal'; readonly value: GoValue }
  | { readonly kind: 'nil' }
  | { readonly kind: 'function'; readonly name: string }
  | { readonly kind: 'pipeline'; readonly pipeline: Pipeline }
);

interface Pipeline {
  readonly variables: readonly string[];
  readonly assign: boolean;
  readonly commands: readonly (readonly Operand[])[];
}

type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'action'; readonly pipeline: Pipeline }
  | {
      readonly kind: 'if' | 'with' | 'range';
      readonly pipeline: Pipeline;
      readonly body: readonly Node[];
      readonly otherwise: readonly Node[];
    }
  | { readonly kind: 'template'; readonly name: string; readonly pipeline: Pipeline | undefined }
  | { readonly kind: 'break' | 'continue' };

interface Token {
  readonly kind:
    'text' | 'open' | 'close' | 'field' | 'variable' | 'word' | 'string' | 'number' | 'punctuation';
  readonly text: string;
  readonly at: number;
  /** White space stands before it: `a .b` are two operands, `(a).b` is one. */
  readonly spaced: boolean;
}

/** Templates that call each other end here. */
const MAX_DEPTH = 200;

/**
 * Reads a template of Go's text/template: actions, pipelines, variables, if, with, range, break, continue, define,
 * template, block, comments, trimming, and the functions of {@link builtins} with `extra` beside or instead of them.
 * @throws MbuildError USAGE with the message that docker prints.
 */
export function parseTemplate(text: string, extra: Functions = {}): Template {
  const functions = { ...builtins, ...extra };
  const templates = new Map<string, readonly Node[]>();
  const main = new Parser(text, functions, templates).parse();
  return {
    execute: (data, show = (value) => value) =>
      new Run({ functions, templates, source: text, show }).execute(main, data),
  };
}

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #loops = 0;

  constructor(
    readonly source: string,
    readonly functions: Functions,
    readonly templates: Map<string, readonly Node[]>,
  ) {
    this.#tokens = tokenize(source);
  }

  parse(): readonly Node[] {
    const { nodes, end } = this.#list();
    if (end !== 'eof') throw failure(`unexpected {{${end}}}`);
    return nodes;
  }

  /** Nodes up to the `end` or `else` (consumed with its opening) that closes the list. */
  #list(): { readonly nodes: readonly Node[]; readonly end: 'end' | 'else' | 'eof' } {
    const nodes: Node[] = [];
    for (;;) {
      const token = this.#take();
      if (token === undefined) return { nodes, end: 'eof' };
      if (token.kind === 'text') {
        nodes.push({ kind: 'text', text: token.text });
        continue;
      }
      const word = this.#peek()?.kind === 'word' ? this.#peek()?.text : undefined;
      if (word === 'end' || word === 'else') {
        this.#at += 1;
        if (word === 'end') this.#close(`{{end}}`);
        return { nodes, end: word };
      }
      const node = this.#action(word);
      if (node !== undefined) nodes.push(node);
    }
  }

  #action(word: string | undefined): Node | undefined {
    switch (word) {
      case 'if':
      case 'with':
      case 'range':
        this.#at += 1;
        return this.#control(word);
      case 'break':
      case 'continue':
        if (this.#loops === 0) throw failure(`{{${word}}} outside {{range}}`);
        this.#at += 1;
        this.#close(`{{${word}}}`);
        return { kind: word };
      case 'define':
      case 'block':
      case 'template':
        this.#at += 1;
        return this.#named(word);
      default: {
        const pipeline = this.#pipeline('command');
        this.#close('command');
        return { kind: 'action', pipeline };
      }
    }
  }

  #control(kind: 'if' | 'with' | 'range'): Node {
    const pipeline = this.#pipeline(kind);
    this.#close(kind);
    if (kind === 'range') this.#loops += 1;
    const { nodes: body, end } = this.#list();
    if (kind === 'range') this.#loops -= 1;
    if (end === 'eof') throw failure('unexpected EOF');
    return { kind, pipeline, body, otherwise: end === 'else' ? this.#otherwise() : [] };
  }

  /** Behind `{{else`: either `}}` and a list up to `{{end}}`, or a further `if` or `with` that shares the `{{end}}`. */
  #otherwise(): readonly Node[] {
    const next = this.#peek();
    if (next?.kind === 'word' && (next.text === 'if' || next.text === 'with')) {
      this.#at += 1;
      return [this.#control(next.text)];
    }
    this.#close('{{else}}');
    const { nodes, end } = this.#list();
    if (end === 'else') throw failure('expected end; found {{else}}');
    if (end === 'eof') throw failure('unexpected EOF');
    return nodes;
  }

  #named(word: 'define' | 'block' | 'template'): Node | undefined {
    const token = this.#take();
    if (token?.kind !== 'string') throw failure(`unexpected ${describe(token)} in ${word} clause`);
    const name = String(literal(token));
    const pipeline =
      word !== 'define' && this.#peek()?.kind !== 'close' ? this.#pipeline(word) : undefined;
    this.#close(word);
    if (word === 'template') return { kind: 'template', name, pipeline };
    const { nodes, end } = this.#list();
    if (end !== 'end') throw failure('unexpected EOF');
    this.templates.set(name, nodes);
    return word === 'block' ? { kind: 'template', name, pipeline } : undefined;
  }

  /** Up to, and not including, the token that ends it. */
  #pipeline(context: string): Pipeline {
    const { variables, assign } = this.#declaration(context);
    const commands: Operand[][] = [[]];
    for (;;) {
      const token = this.#peek();
      if (token === undefined) throw failure('unclosed action');
      const command = commands.at(-1) ?? [];
      if (token.kind === 'close' || (token.kind === 'punctuation' && token.text === ')')) {
        if (command.length === 0)
          throw failure(
            commands.length === 1 ? `missing value for ${context}` : `missing value after pipe`,
          );
        return { variables, assign, commands };
      }
      if (token.kind === 'punctuation' && token.text === '|') {
        if (command.length === 0) throw failure(`missing value for ${context}`);
        this.#at += 1;
        commands.push([]);
      } else {
        command.push(this.#operand(context));
      }
    }
  }

  #declaration(context: string): {
    readonly variables: readonly string[];
    readonly assign: boolean;
  } {
    const start = this.#at;
    const variables: string[] = [];
    for (;;) {
      const token = this.#take();
      const mark = this.#take();
      if (token?.kind !== 'variable' || mark?.kind !== 'punctuation') break;
      variables.push(token.text);
      if (mark.text === ':=' || mark.text === '=') return { variables, assign: mark.text === '=' };
      if (mark.text !== ',' || context !== 'range' || variables.length > 1) break;
    }
    this.#at = start;
    return { variables: [], assign: false };
  }

  #operand(context: string): Operand {
    const token = this.#take();
    if (token === undefined) throw failure('unclosed action');
    const first = this.#base(token, context);
    const fields = [...first.fields];
    let end = token.at + token.text.length;
    for (
      let next = this.#peek();
      next?.kind === 'field' && !next.spaced && next.text !== '.';
      next = this.#peek()
    ) {
      fields.push(next.text.slice(1));
      end = next.at + next.text.length;
      this.#at += 1;
    }
    return {
      ...first,
      fields,
      text: first.kind === 'pipeline' ? first.text : this.source.slice(token.at, end),
    };
  }

  #base(token: Token, context: string): Operand {
    const place = { at: token.at, text: token.text, fields: [] };
    switch (token.kind) {
      case 'field':
        return { ...place, kind: 'dot', fields: token.text === '.' ? [] : [token.text.slice(1)] };
      case 'variable':
        return { ...place, kind: 'variable', name: token.text };
      case 'string':
      case 'number':
        return { ...place, kind: 'literal', value: literal(token) };
      case 'word':
        if (token.text === 'true' || token.text === 'false')
          return { ...place, kind: 'literal', value: token.text === 'true' };
        if (token.text === 'nil') return { ...place, kind: 'nil' };
        if (!Object.hasOwn(this.functions, token.text))
          throw failure(`function "${token.text}" not defined`);
        return { ...place, kind: 'function', name: token.text };
      default: {
        if (token.text !== '(') throw failure(`unexpected ${describe(token)} in ${context}`);
        const pipeline = this.#pipeline('parenthesized pipeline');
        const close = this.#take();
        if (close?.text !== ')') throw failure('unclosed left paren');
        return {
          ...place,
          kind: 'pipeline',
          pipeline,
          text: this.source.slice(token.at, close.at + 1),
        };
      }
    }
  }

  #close(context: string): void {
    const token = this.#take();
    if (token === undefined) throw failure('unclosed action');
    if (token.kind !== 'close') throw failure(`unexpected ${describe(token)} in ${context}`);
  }

  #peek(): Token | undefined {
    return this.#tokens[this.#at];
  }

  #take(): Token | undefined {
    const token = this.#tokens[this.#at];
    this.#at += 1;
    return token;
  }
}

/** What is executed, and how what it prints of the data is made safe. */
interface Program {
  readonly functions: Functions;
  readonly templates: ReadonlyMap<string, readonly Node[]>;
  readonly source: string;
  readonly show: (text: string) => string;
}

/** One execution: the variables, the output, and what ends a loop. */
class Run {
  #output: string[] = [];
  #variables: { readonly name: string; value: GoValue }[] = [];
  #depth = 0;

  constructor(readonly program: Program) {}

  execute(nodes: readonly Node[], data: GoValue): string {
    this.#variables = [{ name: '$', value: data }];
    this.#walk(nodes, data);
    return this.#output.join('');
  }

  /** Tells whether a loop around the nodes is to be left or continued. */
  #walk(nodes: readonly Node[], dot: GoValue): 'break' | 'continue' | undefined {
    for (const node of nodes) {
      switch (node.kind) {
        case 'text':
          this.#output.push(node.text);
          break;
        case 'action': {
          const value = this.#pipe(node.pipeline, dot);
          if (node.pipeline.variables.length === 0)
            this.#output.push(this.#shown(goString(value), node.pipeline));
          break;
        }
        case 'template':
          this.#call(node, dot);
          break;
        case 'break':
        case 'continue':
          return node.kind;
        default: {
          const mark = this.#variables.length;
          const left = node.kind === 'range' ? this.#range(node, dot) : this.#branch(node, dot);
          this.#variables.length = mark;
          if (left !== undefined) return left;
        }
      }
    }
    return undefined;
  }

  /** A pipeline that makes line feeds itself (`println .`, `join . "\n"`) keeps its lines; any other value is one line. */
  #shown(text: string, pipeline: Pipeline): string {
    const { show } = this.program;
    if (makesLines(pipeline)) return text.split('\n').map(show).join('\n');
    return show(text);
  }

  #branch(
    node: Extract<Node, { kind: 'if' | 'with' | 'range' }>,
    dot: GoValue,
  ): 'break' | 'continue' | undefined {
    const value = this.#pipe(node.pipeline, dot);
    if (!isTrue(value)) return this.#walk(node.otherwise, dot);
    return this.#walk(node.body, node.kind === 'with' ? value : dot);
  }

  #range(
    node: Extract<Node, { kind: 'if' | 'with' | 'range' }>,
    dot: GoValue,
  ): 'break' | 'continue' | undefined {
    const { variables, assign } = node.pipeline;
    const value = this.#pipe({ ...node.pipeline, variables: [] }, dot);
    const items = itemsOf(value);
    if (items === undefined)
      throw failure(
        `executing "" at <${textOf(node.pipeline)}>: range can't iterate over ${goString(value)}`,
      );
    if (items.length === 0) return this.#walk(node.otherwise, dot);
    for (const [key, item] of items) {
      const mark = this.#variables.length;
      const [first, second] = variables;
      if (first !== undefined && second === undefined) this.#set(first, item, assign);
      if (first !== undefined && second !== undefined) {
        this.#set(first, key, assign);
        this.#set(second, item, assign);
      }
      const left = this.#walk(node.body, item);
      this.#variables.length = mark;
      if (left === 'break') break;
    }
    return undefined;
  }

  #call(node: Extract<Node, { kind: 'template' }>, dot: GoValue): void {
    const body = this.program.templates.get(node.name);
    if (body === undefined)
      throw failure(
        `executing "" at <{{template "${node.name}"}}>: template "${node.name}" not defined`,
      );
    if (this.#depth >= MAX_DEPTH) throw failure(`exceeded maximum template depth (${MAX_DEPTH})`);
    const data = node.pipeline === undefined ? undefined : this.#pipe(node.pipeline, dot);
    const variables = this.#variables;
    this.#variables = [{ name: '$', value: data }];
    this.#depth += 1;
    this.#walk(body, data);
    this.#depth -= 1;
    this.#variables = variables;
  }

  #pipe(pipeline: Pipeline, dot: GoValue): GoValue {
    let value: GoValue;
    pipeline.commands.forEach((command, i) => {
      value = this.#command(command, dot, i === 0 ? [] : [value]);
    });
    for (const name of pipeline.variables) this.#set(name, value, pipeline.assign);
    return value;
  }

  #command(command: readonly Operand[], dot: GoValue, piped: readonly GoValue[]): GoValue {
    const [first, ...rest] = command;
    if (first === undefined) return undefined;
    if (first.kind === 'function') return this.#invoke(first, rest, dot, piped, command);
    if (rest.length > 0 || piped.length > 0)
      throw this.#at(first, `can't give argument to non-function ${first.text}`);
    if (first.kind === 'nil') throw this.#at(first, 'nil is not a command');
    return this.#operand(first, dot);
  }

  #invoke(
    operand: Operand & { readonly kind: 'function' },
    rest: readonly Operand[],
    dot: GoValue,
    piped: readonly GoValue[],
    command: readonly Operand[],
  ): GoValue {
    const { name } = operand;
    const last = command.at(-1) ?? operand;
    const whole = {
      ...operand,
      text: this.program.source.slice(operand.at, last.at + last.text.length),
    };
    if (name === 'and' || name === 'or') return this.#shortCircuit(name, rest, dot, piped, whole);
    const call = this.program.functions[name];
    if (call === undefined) throw failure(`function "${name}" not defined`);
    const values = [...rest.map((argument) => this.#operand(argument, dot)), ...piped];
    const { min, max } = call;
    if (values.length < min || (max !== undefined && values.length > max))
      throw this.#at(whole, wrongCount(name, call, values.length));
    try {
      return this.#fields(call.apply(values), operand);
    } catch (error) {
      if (error instanceof RangeError || error instanceof TypeError)
        throw this.#at(whole, `error calling ${name}: ${error.message}`);
      throw error;
    }
  }

  #shortCircuit(
    name: 'and' | 'or',
    rest: readonly Operand[],
    dot: GoValue,
    piped: readonly GoValue[],
    whole: Operand,
  ): GoValue {
    if (rest.length + piped.length === 0)
      throw this.#at(whole, `wrong number of args for ${name}: want at least 1 got 0`);
    let value: GoValue;
    for (const argument of rest) {
      value = this.#operand(argument, dot);
      if (isTrue(value) === (name === 'or')) return value;
    }
    return piped.length > 0 ? piped[0] : value;
  }

  #operand(operand: Operand, dot: GoValue): GoValue {
    switch (operand.kind) {
      case 'dot':
        return this.#fields(dot, operand);
      case 'variable':
        return this.#fields(this.#get(operand.name), operand);
      case 'literal':
        return operand.value;
      case 'nil':
        return undefined;
      case 'pipeline':
        return this.#fields(this.#pipe(operand.pipeline, dot), operand);
      case 'function':
        return this.#invoke(operand, [], dot, [], [operand]);
    }
  }

  #fields(start: GoValue, operand: Operand): GoValue {
    let value = start;
    for (const name of operand.fields) {
      if (value instanceof Map) value = value.get(name);
      else if (value === undefined || value === null)
        throw this.#at(operand, `nil pointer evaluating interface {}.${name}`);
      else if (typeof value !== 'object' || Array.isArray(value))
        throw this.#at(operand, `can't evaluate field ${name} in type ${goType(value)}`);
      else if (!Object.hasOwn(value, name))
        throw this.#at(operand, `map has no entry for key "${name}"`);
      else value = (value as Record<string, GoValue>)[name];
    }
    return value;
  }

  #set(name: string, value: GoValue, assign: boolean): void {
    if (!assign) {
      this.#variables.push({ name, value });
      return;
    }
    const variable = this.#variables.findLast((candidate) => candidate.name === name);
    if (variable === undefined) throw failure(`undefined variable "${name}"`);
    variable.value = value;
  }

  #get(name: string): GoValue {
    const variable = this.#variables.findLast((candidate) => candidate.name === name);
    if (variable === undefined) throw failure(`undefined variable "${name}"`);
    return variable.value;
  }

  #at(operand: Operand, message: string): MbuildError {
    const before = this.program.source.slice(0, operand.at).split('\n');
    return failure(
      `executing "" at <${operand.text}>: ${message}`,
      `:${before.length}:${before.at(-1)?.length ?? 0}`,
    );
  }
}

function makesLines(pipeline: Pipeline): boolean {
  return pipeline.commands.flat().some((operand) => {
    if (operand.kind === 'function') return operand.name === 'println';
    if (operand.kind === 'literal') return String(operand.value).includes('\n');
    return operand.kind === 'pipeline' && makesLines(operand.pipeline);
  });
}

function itemsOf(value: GoValue): readonly (readonly [GoValue, GoValue])[] | undefined {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value.map((item: GoValue, i) => [i, item] as const);
  if (value instanceof Map) return sortedEntries(value);
  if (typeof value === 'number' && Number.isInteger(value) && value <= 1e6)
    return Array.from({ length: Math.max(0, value) }, (_, i) => [i, i] as const);
  return undefined;
}

/** Text, and between `{{` and `}}` tokens. Trim marks and comments have had their effect. */
function tokenize(source: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let trim = false;
  for (;;) {
    const open = source.indexOf('{{', at);
    const end = open < 0 ? source.length : open;
    const trimRight = open >= 0 && /^\{\{-\s/.test(source.slice(open, open + 4));
    let text = source.slice(at, end);
    if (trim) text = text.trimStart();
    if (trimRight) text = text.trimEnd();
    if (text !== '') tokens.push({ kind: 'text', text, at, spaced: false });
    if (open < 0) return tokens;
    const start = open + 2 + (trimRight ? 2 : 0);
    const comment = /^\s*\/\*[^]*?\*\/\s*?(\s-)?\}\}/.exec(source.slice(start));
    if (comment !== null) {
      at = start + comment[0].length;
      trim = comment[1] !== undefined;
      continue;
    }
    tokens.push({ kind: 'open', text: '{{', at: open, spaced: false });
    ({ at, trim } = tokenizeAction(source, start, tokens));
  }
}

const TOKEN =
  /(\s*)(?:(-?\}\})|("(?:[^"\\\n]|\\.)*"|`[^`]*`|'(?:[^'\\\n]|\\.)+')|(\$[\w]*)|(\.[A-Za-z_]\w*|\.(?!\d))|([+-]?(?:0[xXbBoO][\da-fA-F_]+|\d[\d_]*\.?\d*(?:[eE][+-]?\d+)?|\.\d+))|([A-Za-z_]\w*)|(:=|[=,|()]))/y;

function tokenizeAction(
  source: string,
  start: number,
  tokens: Token[],
): { readonly at: number; readonly trim: boolean } {
  TOKEN.lastIndex = start;
  for (;;) {
    const from = TOKEN.lastIndex;
    const match = TOKEN.exec(source);
    if (match === null) throw badToken(source.slice(from));
    const [whole, space = '', close, string, variable, field, number, word] = match;
    const at = from + space.length;
    const token = { text: whole.slice(space.length), at, spaced: space !== '' };
    if (close !== undefined) {
      tokens.push({ ...token, kind: 'close' });
      return { at: TOKEN.lastIndex, trim: close.startsWith('-') && space !== '' };
    }
    const kind =
      string !== undefined
        ? 'string'
        : variable !== undefined
          ? 'variable'
          : field !== undefined
            ? 'field'
            : number !== undefined
              ? 'number'
              : word !== undefined
                ? 'word'
                : 'punctuation';
    tokens.push({ ...token, kind });
  }
}

function badToken(rest: string): MbuildError {
  const character = rest.trimStart()[0];
  if (character === undefined) return failure('unclosed action');
  if (character === '"') return failure('unterminated quoted string');
  if (character === '`') return failure('unterminated raw quoted string');
  return failure(`unexpected ${JSON.stringify(character)} in command`);
}

function literal(token: Token): GoValue {
  const { text } = token;
  if (token.kind === 'number') {
    const number = Number(text.replace(/_/g, ''));
    if (Number.isNaN(number)) throw failure(`bad number syntax: ${JSON.stringify(text)}`);
    return number;
  }
  if (text.startsWith('`')) return text.slice(1, -1);
  const value = unquote(text.slice(1, -1));
  return text.startsWith("'") ? (value.codePointAt(0) ?? 0) : value;
}

const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  a: '\x07',
  b: '\b',
  f: '\f',
  v: '\v',
};

function unquote(text: string): string {
  return text.replace(
    /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{3})|(.))/g,
    (_, hex?: string, short?: string, long?: string, octal?: string, other?: string) => {
      const code = hex ?? short ?? long;
      if (code !== undefined) return String.fromCodePoint(Math.min(parseInt(code, 16), 0x10ffff));
      if (octal !== undefined) return String.fromCharCode(parseInt(octal, 8));
      return ESCAPES[other ?? ''] ?? other ?? '';
    },
  );
}

function describe(token: Token | undefined): string {
  if (token === undefined || token.kind === 'text') return 'EOF';
  return token.kind === 'close' ? '"}}"' : `<${token.text}>`;
}

function textOf(pipeline: Pipeline): string {
  return pipeline.commands
    .map((command) => command.map((operand) => operand.text).join(' '))
    .join(' | ');
}

function failure(message: string, place = ':1'): MbuildError {
  return new MbuildError('USAGE', `template parsing error: template: ${place}: ${message}`);
}
