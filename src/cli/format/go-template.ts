import type { MbuildError } from '../../diagnostics/error';
import { goString, goType, isTrue, sortedEntries, type GoValue } from './go-value';
import { builtins, wrongCount } from './go-functions';
import { Parser, type Functions, type Node, type Operand, type Pipeline } from './go-parse';
import { failure } from './go-tokens';

/** A parsed template; `execute` may be called any number of times. */
export interface Template {
  /**
   * `show` makes what the data holds safe to print; the template's own text stays as it is.
   * @throws MbuildError USAGE where the data does not have what the template asks for.
   */
  execute(data: GoValue, show?: (text: string) => string): string;
}

/** Templates that call each other end here. */
const MAX_DEPTH = 200;

/**
 * Reads a template of Go's text/template: actions, pipelines, variables, if, with, range, break,
 * continue, define, template, block, comments, trimming, and the functions of {@link builtins} with
 * `extra` beside or instead of them.
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

/** What is executed, and how what it prints of the data is made safe. */
interface Program {
  readonly functions: Functions;
  readonly templates: ReadonlyMap<string, readonly Node[]>;
  readonly source: string;
  readonly show: (text: string) => string;
}

/**
 * What a function is called with: the operands behind its name, and the value that is piped into
 * it.
 */
interface Call {
  readonly dot: GoValue;
  readonly rest: readonly Operand[];
  readonly piped: readonly GoValue[];
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

  /**
   * A pipeline that makes line feeds itself (`println .`, `join . "\n"`) keeps its lines; any other
   * value is one line.
   */
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
    if (first.kind === 'function') return this.#invoke(first, { dot, rest, piped });
    if (rest.length > 0 || piped.length > 0)
      throw this.#at(first, `can't give argument to non-function ${first.text}`);
    if (first.kind === 'nil') throw this.#at(first, 'nil is not a command');
    return this.#operand(first, dot);
  }

  #invoke(operand: Operand & { readonly kind: 'function' }, { dot, rest, piped }: Call): GoValue {
    const { name } = operand;
    const last = rest.at(-1) ?? operand;
    const end = last.at + last.text.length;
    const whole = { ...operand, text: this.program.source.slice(operand.at, end) };
    if (name === 'and' || name === 'or')
      return this.#shortCircuit(name, { dot, rest, piped }, whole);
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

  #shortCircuit(name: 'and' | 'or', { dot, rest, piped }: Call, whole: Operand): GoValue {
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
        return this.#invoke(operand, { dot, rest: [], piped: [] });
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

function textOf(pipeline: Pipeline): string {
  return pipeline.commands
    .map((command) => command.map((operand) => operand.text).join(' '))
    .join(' | ');
}
