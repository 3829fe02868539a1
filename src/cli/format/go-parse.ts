import type { TemplateFunction } from './go-functions';
import { describe, failure, literal, tokenize, type Token } from './go-tokens';
import type { GoValue } from './go-value';

/** The functions that a template may call, by their names. */
export type Functions = Readonly<Record<string, TemplateFunction>>;

/** A value or how to get at one. `at` is where it stands in the text, `text` how it is written. */
export type Operand = {
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

/** Commands that hand their values on: `a | b`, and the variables that take the last one. */
export interface Pipeline {
  readonly variables: readonly string[];
  readonly assign: boolean;
  readonly commands: readonly (readonly Operand[])[];
}

/** A part of a template. */
export type Node =
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

/** Reads a template; named templates in it are added to `templates`. @throws MbuildError USAGE. */
export class Parser {
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

  /**
   * Behind `{{else`: either `}}` and a list up to `{{end}}`, or a further `if` or `with` that
   * shares the `{{end}}`.
   */
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
