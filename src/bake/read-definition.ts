import type { Diagnostic } from '../diagnostics/error';
import { LIBRARY } from './hcl/functions/library';
import { evaluate, placed, withNames, type HclFunction, type Scope } from './hcl/evaluate';
import { keywordOf } from './hcl/expression';
import { mistake, type Attribute, type Block, type Body, type Span } from './hcl/syntax';
import { toText } from './hcl/type';
import { isMapping, isSequence, object, type Value } from './hcl/value';
import { readAttributes, readTexts } from './read-target';
import {
  checkVariable,
  describeVariable,
  variableValue,
  type FindOverride,
} from './read-variables';
import type { Definition, Group, Target, Variable } from './target';

/** What the names of a definition stand for besides what its files say. */
export interface Surroundings {
  /** Variables that mbuild sets: `BAKE_LOCAL_PLATFORM`, … They cannot be overridden. */
  readonly builtins: Readonly<Record<string, string>>;
  /** A text that takes the place of a variable's default: of `--var`, or of the environment. */
  readonly lookup: (name: string) => string | undefined;
}

const BLOCK_TYPES = ['variable', 'function', 'group', 'target'];
const NAME = /^[a-zA-Z0-9_-]+$/;

/** Evaluates the HCL files of a bake, as one. @throws MbuildError BAKE_INVALID with the place. */
export function readDefinition(bodies: readonly Body[], surroundings: Surroundings): Definition {
  return new DefinitionReader(bodies, surroundings).read();
}

/** A target's block, as often as its matrix has it. */
interface Variant {
  readonly name: string;
  readonly scope: Scope;
}

/** Finds values out when they are asked for, so that the order of a file does not matter. */
class DefinitionReader {
  readonly #variables: ReadonlyMap<string, Block>;
  readonly #functions: ReadonlyMap<string, Block>;
  /** Names that are set outside of blocks. */
  readonly #globals: ReadonlyMap<string, Attribute>;
  readonly #blocks: readonly Block[];
  readonly #values = new Map<string, Value>();
  readonly #made = new Map<string, HclFunction>();
  readonly #underWay = new Set<string>();
  readonly #variants = new Map<Block, readonly Variant[]>();
  readonly #warnings: Diagnostic[] = [];
  readonly #scope: Scope;

  constructor(
    bodies: readonly Body[],
    private readonly surroundings: Surroundings,
  ) {
    this.#blocks = bodies.flatMap(({ blocks }) => blocks);
    for (const block of this.#blocks) checkBlock(block);
    this.#variables = this.#named('variable');
    this.#functions = this.#named('function');
    const globals = bodies.flatMap(({ attributes }) => attributes);
    this.#globals = new Map(globals.map((attribute) => [attribute.name, attribute]));
    this.#scope = {
      variable: (name, span) => this.#variable(name, span),
      function: (name, span) => this.#function(name, span),
      names: () => [
        ...this.#variables.keys(),
        ...this.#globals.keys(),
        ...Object.keys(surroundings.builtins),
      ],
      functionNames: () => [...this.#functions.keys(), ...Object.keys(LIBRARY)],
      blockAttribute: (path, span) => this.#blockAttribute(path, span),
    };
  }

  read(): Definition {
    const variables = this.#readVariables();
    for (const [name, { span }] of this.#functions) this.#function(name, span);
    for (const [name, { span }] of this.#globals) this.#variable(name, span);
    const groups: Group[] = [];
    const targets: Target[] = [];
    for (const block of this.#blocks) {
      if (block.type === 'group') groups.push(this.#readGroup(block));
      if (block.type !== 'target') continue;
      const variants = this.#variantsOf(block);
      targets.push(...variants.map((variant) => this.#readTarget(block, variant)));
      groups.push(...groupOfVariants(block, variants));
    }
    return { groups, targets, variables, warnings: this.#warnings };
  }

  #named(type: string): ReadonlyMap<string, Block> {
    const blocks = this.#blocks.filter((block) => block.type === type);
    return new Map(blocks.map((block) => [block.labels[0] ?? '', block]));
  }

  #readVariables(): Variable[] {
    return [...this.#variables].map(([name, block]) => {
      const value = this.#variable(name, block.span) ?? null;
      checkVariable(block, this.#scope);
      return describeVariable(block, value, this.#scope);
    });
  }

  #readTarget(block: Block, { name, scope }: Variant): Target {
    const inherits = block.body.attributes.find((attribute) => attribute.name === 'inherits');
    return {
      name,
      inherits: readTexts(inherits, scope),
      attributes: readAttributes(block.body, scope, (warning) => this.#warnings.push(warning)),
      span: block.span,
    };
  }

  #readGroup(block: Block): Group {
    const name = block.labels[0] ?? '';
    const attribute = (wanted: string): Attribute | undefined =>
      block.body.attributes.find((candidate) => candidate.name === wanted);
    for (const { name: given, span } of block.body.attributes)
      if (given !== 'targets' && given !== 'description')
        throw mistake(
          span,
          `a group has no attribute "${given}"`,
          'groups have targets and description',
        );
    if (attribute('targets') === undefined)
      throw mistake(block.span, `group "${name}" has no targets`, 'add targets = [ … ]');
    const description = attribute('description');
    return {
      name,
      description:
        description === undefined ? undefined : toText(evaluate(description.value, this.#scope)),
      targets: readTexts(attribute('targets'), this.#scope),
      span: block.span,
    };
  }

  // Variables and functions

  #variable(name: string, span: Span): Value | undefined {
    const builtin = this.surroundings.builtins[name];
    if (builtin !== undefined) return builtin;
    if (BLOCK_TYPES.slice(2).includes(name))
      throw mistake(span, `"${name}" is a block type, not a value`, `write ${name}.NAME.ATTRIBUTE`);
    if (!this.#values.has(name)) {
      const value = this.#guarded(`variable "${name}"`, span, () => this.#compute(name));
      if (value === undefined) return undefined;
      this.#values.set(name, value);
    }
    return this.#values.get(name);
  }

  #compute(name: string): Value | undefined {
    const global = this.#globals.get(name);
    if (global !== undefined) return evaluate(global.value, this.#scope);
    const block = this.#variables.get(name);
    if (block === undefined) return undefined;
    return variableValue(block, this.#scope, this.#findOverride);
  }

  /**
   * NAME, or NAME_JSON where no variable has that name; for a declared type the JSON goes first.
   */
  readonly #findOverride: FindOverride = (name, preferJson) => {
    const { lookup, builtins } = this.surroundings;
    const text = lookup(name);
    const jsonName = `${name}_JSON`;
    const isOwn = this.#variables.has(jsonName) || Object.hasOwn(builtins, jsonName);
    const json = isOwn || (text !== undefined && !preferJson) ? undefined : lookup(jsonName);
    if (json !== undefined) return { text: json, json: true };
    return text === undefined ? undefined : { text, json: false };
  };

  #function(name: string, span: Span): HclFunction | undefined {
    if (Object.hasOwn(LIBRARY, name)) return LIBRARY[name];
    const block = this.#functions.get(name);
    if (block === undefined) return undefined;
    const made = this.#made.get(name) ?? this.#makeFunction(block);
    this.#made.set(name, made);
    return (args) => this.#guarded(`function "${name}"`, span, () => made(args));
  }

  #makeFunction(block: Block): HclFunction {
    const find = (name: string): Attribute | undefined =>
      block.body.attributes.find((attribute) => attribute.name === name);
    const params = find('params')?.value;
    const result = find('result')?.value;
    const variadic = find('variadic_params')?.value;
    const title = `function "${block.labels[0] ?? ''}"`;
    if (params === undefined) throw mistake(block.span, `${title} has no params`);
    if (result === undefined) throw mistake(block.span, `${title} has no result`);
    if (params.kind !== 'tuple') throw mistake(params.span, 'params are a list of plain words');
    const names = params.items.map((item) => keywordOf(item, 'a parameter'));
    const rest = variadic === undefined ? undefined : keywordOf(variadic, 'a parameter');
    return (args) => {
      if (args.length < names.length || (rest === undefined && args.length > names.length))
        throw mistake(
          block.span,
          `${title} takes ${names.length} arguments, but ${args.length} are given`,
        );
      const given = new Map(names.map((name, i) => [name, args[i] ?? null]));
      if (rest !== undefined) given.set(rest, { kind: 'tuple', items: args.slice(names.length) });
      return evaluate(result, withNames(this.#scope, given));
    };
  }

  /** Runs what finds a value out; what needs itself for that is refused. */
  #guarded<T>(what: string, span: Span, work: () => T): T {
    if (this.#underWay.has(what)) throw mistake(span, `${what} depends on itself`);
    this.#underWay.add(what);
    try {
      return work();
    } finally {
      this.#underWay.delete(what);
    }
  }

  // Targets

  /** `target.NAME.ATTRIBUTE`, found out alone. */
  #blockAttribute(path: readonly string[], span: Span): Value | undefined {
    const [type = '', name, attribute] = path;
    if (!BLOCK_TYPES.slice(2).includes(type) || name === undefined) return undefined;
    // What lies deeper is taken out of the attribute's value.
    if (path.length > 3) return undefined;
    if (attribute === undefined)
      return object(
        this.#attributesOf(type, name, span).map((each) => [
          each,
          this.#blockValue({ type, name, attribute: each }, span) ?? null,
        ]),
      );
    return this.#blockValue({ type, name, attribute }, span);
  }

  #attributesOf(type: string, name: string, span: Span): string[] {
    const found = this.#instances(type, name).flatMap(({ block }) =>
      block.body.attributes.map((each) => each.name),
    );
    if (found.length === 0 && this.#instances(type, name).length === 0)
      throw mistake(span, `the ${type} "${name}" does not exist`);
    return found;
  }

  #blockValue(
    {
      type,
      name,
      attribute,
    }: { readonly type: string; readonly name: string; readonly attribute: string },
    span: Span,
  ): Value | undefined {
    const instances = this.#instances(type, name);
    if (instances.length === 0) throw mistake(span, `the ${type} "${name}" does not exist`);
    for (const { block, scope } of instances.toReversed()) {
      const found = block.body.attributes.find((candidate) => candidate.name === attribute);
      if (found !== undefined)
        return this.#guarded(`${type}.${name}.${attribute}`, span, () =>
          evaluate(found.value, scope),
        );
    }
    return null;
  }

  #instances(type: string, name: string): { readonly block: Block; readonly scope: Scope }[] {
    return this.#blocks
      .filter((block) => block.type === type)
      .flatMap((block) =>
        this.#variantsOf(block)
          .filter((variant) => variant.name === name)
          .map(({ scope }) => ({ block, scope })),
      );
  }

  #variantsOf(block: Block): readonly Variant[] {
    const known = this.#variants.get(block);
    if (known !== undefined) return known;
    const label = block.labels[0] ?? '';
    const find = (name: string): Attribute | undefined =>
      block.body.attributes.find((attribute) => attribute.name === name);
    const variants = this.#guarded(`the matrix of target "${label}"`, block.span, () => {
      const scopes = this.#matrixScopes(block.type === 'target' ? find('matrix') : undefined);
      return scopes.map((scope) => ({ name: variantName(block, find, scope), scope }));
    });
    const names = variants.map(({ name }) => name);
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (twice !== undefined)
      throw mistake(
        block.span,
        `the matrix of target "${label}" makes the name "${twice}" twice`,
        'use every variable of the matrix in "name"',
      );
    this.#variants.set(block, variants);
    return variants;
  }

  /** A scope for each combination of the matrix's values. */
  #matrixScopes(matrix: Attribute | undefined): Scope[] {
    if (matrix === undefined) return [this.#scope];
    const value = evaluate(matrix.value, this.#scope);
    if (!isMapping(value)) throw mistake(matrix.span, 'a matrix is a map of lists');
    let combinations: ReadonlyMap<string, Value>[] = [new Map()];
    for (const [name, values] of value.entries) {
      if (!isSequence(values)) throw mistake(matrix.span, `"${name}" of the matrix must be a list`);
      combinations = values.items.flatMap((item) =>
        combinations.map((names) => new Map([...names, [name, item]])),
      );
    }
    return combinations.map((names) => withNames(this.#scope, names));
  }
}

function checkBlock({ type, labels, span }: Block): void {
  if (!BLOCK_TYPES.includes(type))
    throw mistake(
      span,
      `unknown block type "${type}"`,
      `block types are ${BLOCK_TYPES.join(', ')}`,
    );
  if (labels.length !== 1)
    throw mistake(
      span,
      `a ${type} has one name, but this one has ${labels.length}`,
      `${type} "NAME" { … }`,
    );
  const [name = ''] = labels;
  if (type === 'target' || type === 'group') checkName(name, span);
}

function checkName(name: string, span: Span): void {
  if (NAME.test(name)) return;
  throw mistake(
    span,
    `"${name}" is not a valid name`,
    'use letters, digits, "_" and "-"; sanitize() turns any text into such a name',
  );
}

function variantName(
  block: Block,
  find: (name: string) => Attribute | undefined,
  scope: Scope,
): string {
  const attribute = find('name');
  const label = block.labels[0] ?? '';
  if (attribute === undefined) return label;
  if (find('matrix') === undefined)
    throw mistake(
      attribute.span,
      '"name" needs a matrix',
      'without a matrix, the label of the block is the name',
    );
  const value = evaluate(attribute.value, scope);
  const name = placed(attribute.value.span, () => toText(value));
  checkName(name, attribute.value.span);
  return name;
}

/** The label of a target with a matrix names all its variants. */
function groupOfVariants(
  { labels: [label = ''], span }: Block,
  variants: readonly Variant[],
): Group[] {
  const [only] = variants;
  if (variants.length === 1 && only?.name === label) return [];
  return [{ name: label, targets: variants.map(({ name }) => name), span }];
}
