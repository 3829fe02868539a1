import { MbuildError, isMbuildError } from '../../diagnostics/error';
import { didYouMean } from '../../diagnostics/suggest';
import {
  mistake,
  type BinaryOperator,
  type Expression,
  type ForExpression,
  type ObjectItem,
  type Span,
  type SplatStep,
  type TemplatePart,
} from './syntax';
import { convert, readType, toBool, toNumber, toText } from './type';
import { equals, isMapping, isSequence, object, tuple, typeName, type Value } from './value';

/**
 * A function of the library or of the file. Throws MbuildError BAKE_INVALID without a place for
 * what it refuses.
 */
export type HclFunction = (args: readonly Value[]) => Value;

/** What the names in an expression stand for. */
export interface Scope {
  /** @returns `undefined` for a name that nothing has. */
  variable(name: string, span: Span): Value | undefined;
  function(name: string, span: Span): HclFunction | undefined;
  /** The names that could have been meant. */
  names(): readonly string[];
  functionNames(): readonly string[];
  /**
   * The value of `root.name.attribute` where `root` is a type of blocks, whose attributes are
   * found out when they are asked for; `undefined` where `root` is none.
   */
  blockAttribute?(path: readonly string[], span: Span): Value | undefined;
}

/** The scope with some more names, which hide its own. */
export function withNames(scope: Scope, names: ReadonlyMap<string, Value>): Scope {
  return {
    ...scope,
    variable: (name, span) => (names.has(name) ? names.get(name) : scope.variable(name, span)),
    names: () => [...names.keys(), ...scope.names()],
    blockAttribute: (path, span) =>
      names.has(path[0] ?? '') ? undefined : scope.blockAttribute?.(path, span),
  };
}

/** The value of an expression. @throws MbuildError BAKE_INVALID with the place. */
export function evaluate(expression: Expression, scope: Scope): Value {
  const { span } = expression;
  switch (expression.kind) {
    case 'literal':
      return expression.value;
    case 'wrapped':
      return evaluate(expression.inner, scope);
    case 'template':
      return expression.parts.map((part) => partText(part, scope)).join('');
    case 'variable':
      return valueOf(expression.name, span, scope);
    case 'attribute':
    case 'index':
      return traverse(expression, scope);
    case 'splat':
      return splat(expression, scope);
    case 'call':
      return call(expression, scope);
    case 'unary': {
      const operand = evaluate(expression.operand, scope);
      return placed(span, () =>
        expression.operator === '-' ? -toNumber(operand) : !toBool(operand),
      );
    }
    case 'binary':
      return binary(expression, scope);
    case 'conditional':
      return isTrue(expression.condition, scope)
        ? evaluate(expression.yes, scope)
        : evaluate(expression.no, scope);
    case 'tuple':
      return tuple(expression.items.map((item) => evaluate(item, scope)));
    case 'object':
      return object(expression.items.map((item) => entry(item, scope)));
    case 'for':
      return loop(expression, scope);
  }
}

/** Gives what is thrown without a place this one. */
export function placed<T>(span: Span, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (isMbuildError(error, 'BAKE_INVALID') && error.range === undefined)
      throw mistake(span, error.message, error.hint);
    throw error;
  }
}

function valueOf(name: string, span: Span, scope: Scope): Value {
  const value = scope.variable(name, span);
  if (value !== undefined) return value;
  throw mistake(
    span,
    `the variable "${name}" is not defined`,
    didYouMean(name, scope.names()) ?? `declare it: variable "${name}" {}`,
  );
}

function isTrue(condition: Expression, scope: Scope): boolean {
  const value = evaluate(condition, scope);
  return placed(condition.span, () => toBool(value));
}

function entry({ key, value }: ObjectItem, scope: Scope): [string, Value] {
  const name = evaluate(key, scope);
  return [placed(key.span, () => toText(name)), evaluate(value, scope)];
}

// Values inside of values

function traverse(
  expression: Extract<Expression, { kind: 'attribute' | 'index' }>,
  scope: Scope,
): Value {
  const path = namesOf(expression);
  const known = path === undefined ? undefined : scope.blockAttribute?.(path, expression.span);
  if (known !== undefined) return known;
  const of = evaluate(expression.of, scope);
  if (expression.kind === 'attribute') return attributeOf(of, expression.name, expression.span);
  return itemOf(of, evaluate(expression.key, scope), expression.span);
}

/** `a.b["c"]` as its names; `undefined` where the path is not made of names alone. */
function namesOf(expression: Expression): string[] | undefined {
  if (expression.kind === 'variable') return [expression.name];
  if (expression.kind === 'attribute') {
    const before = namesOf(expression.of);
    return before === undefined ? undefined : [...before, expression.name];
  }
  if (expression.kind !== 'index' || expression.key.kind !== 'literal') return undefined;
  const before = namesOf(expression.of);
  return before === undefined ? undefined : [...before, String(expression.key.value)];
}

function attributeOf(of: Value, name: string, span: Span): Value {
  if (!isMapping(of)) throw mistake(span, `a ${typeName(of)} has no attributes`);
  const value = of.entries.get(name);
  if (value !== undefined) return value;
  throw mistake(
    span,
    `this ${of.kind} has no attribute "${name}"`,
    didYouMean(name, of.entries.keys()),
  );
}

function itemOf(of: Value, key: Value, span: Span): Value {
  if (isMapping(of))
    return attributeOf(
      of,
      placed(span, () => toText(key)),
      span,
    );
  if (!isSequence(of) || of.kind === 'set')
    throw mistake(span, `a ${typeName(of)} has no items that an index names`);
  const index = placed(span, () => toNumber(key));
  const item = of.items[index];
  if (item !== undefined) return item;
  throw mistake(span, `item ${index} does not exist: the ${of.kind} has ${of.items.length} items`);
}

/** `x[*].y`: a value that is no sequence counts as one of one item, null as one of none. */
function splat({ of, steps, span }: Extract<Expression, { kind: 'splat' }>, scope: Scope): Value {
  const value = evaluate(of, scope);
  if (value === null) return tuple([]);
  const items = isSequence(value) ? value.items : [value];
  return tuple(items.map((item) => steps.reduce((inner, step) => take(inner, step), item)));

  function take(inner: Value, step: SplatStep): Value {
    if (step.kind === 'attribute') return attributeOf(inner, step.name, span);
    return itemOf(inner, evaluate(step.key, scope), span);
  }
}

// Calls

/** Functions whose arguments are evaluated, or not, by themselves. */
const SPECIAL: Readonly<
  Record<string, (call: Extract<Expression, { kind: 'call' }>, scope: Scope) => Value>
> = {
  try: (expression, scope) => {
    for (const argument of expression.args) {
      const outcome = attempt(argument, scope);
      if (outcome !== undefined) return outcome.value;
    }
    throw mistake(expression.span, 'try could not evaluate any of its arguments');
  },
  can: ({ args: [argument] }, scope) =>
    argument !== undefined && attempt(argument, scope) !== undefined,
  convert: ({ args: [value, type], span }, scope) => {
    if (value === undefined || type === undefined)
      throw mistake(span, 'convert takes a value and a type');
    const given = evaluate(value, scope);
    return placed(value.span, () => convert(given, readType(type)));
  },
};

/** The names of the functions that are evaluated here. */
export const SPECIAL_FUNCTIONS: readonly string[] = Object.keys(SPECIAL);

function attempt(expression: Expression, scope: Scope): { readonly value: Value } | undefined {
  try {
    return { value: evaluate(expression, scope) };
  } catch (error) {
    if (isMbuildError(error, 'BAKE_INVALID')) return undefined;
    throw error;
  }
}

function call(expression: Extract<Expression, { kind: 'call' }>, scope: Scope): Value {
  const { name, span } = expression;
  const special = Object.hasOwn(SPECIAL, name) ? SPECIAL[name] : undefined;
  if (special !== undefined) return special(expression, scope);
  const called = scope.function(name, span);
  if (called === undefined) {
    const hint = didYouMean(name, [...scope.functionNames(), ...SPECIAL_FUNCTIONS]);
    throw mistake(span, `the function "${name}" does not exist`, hint);
  }
  const args = argumentsOf(expression, scope);
  try {
    return called(args);
  } catch (error) {
    if (!isMbuildError(error, 'BAKE_INVALID') || error.range !== undefined) throw error;
    throw mistake(span, `${name}: ${error.message}`, error.hint);
  }
}

function argumentsOf(
  { args, expand }: Extract<Expression, { kind: 'call' }>,
  scope: Scope,
): Value[] {
  const values = args.map((argument) => evaluate(argument, scope));
  if (!expand) return values;
  const last = values.pop() ?? null;
  if (isSequence(last)) return [...values, ...last.items];
  throw new MbuildError('BAKE_INVALID', `"..." needs a list, but this is a ${typeName(last)}`);
}

// Operators

const ARITHMETIC: Readonly<Partial<Record<BinaryOperator, (a: number, b: number) => number>>> = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '/': (a, b) => a / notZero(b),
  '%': (a, b) => a % notZero(b),
};

const COMPARISONS: Readonly<Partial<Record<BinaryOperator, (a: number, b: number) => boolean>>> = {
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
};

function binary(
  { operator, left, right, span }: Extract<Expression, { kind: 'binary' }>,
  scope: Scope,
): Value {
  if (operator === '&&') return isTrue(left, scope) && isTrue(right, scope);
  if (operator === '||') return isTrue(left, scope) || isTrue(right, scope);
  const a = evaluate(left, scope);
  const b = evaluate(right, scope);
  if (operator === '==') return equals(a, b);
  if (operator === '!=') return !equals(a, b);
  const work = ARITHMETIC[operator] ?? COMPARISONS[operator];
  if (work === undefined) throw new MbuildError('INTERNAL', `unknown operator ${operator}`);
  return placed(span, () => work(toNumber(a), toNumber(b)));
}

function notZero(divisor: number): number {
  if (divisor === 0) throw new MbuildError('BAKE_INVALID', 'division by zero');
  return divisor;
}

// Templates and loops

function partText(part: TemplatePart, scope: Scope): string {
  switch (part.kind) {
    case 'text':
      return part.text;
    case 'value': {
      const value = evaluate(part.value, scope);
      return placed(part.value.span, () => toText(value));
    }
    case 'if': {
      const chosen = isTrue(part.condition, scope) ? part.yes : part.no;
      return chosen.map((inner) => partText(inner, scope)).join('');
    }
    case 'for':
      return iterate(part, scope)
        .flatMap((inner) => part.parts.map((each) => partText(each, inner)))
        .join('');
  }
}

function loop(expression: ForExpression & { readonly span: Span }, scope: Scope): Value {
  const { key, value, grouped, condition, span } = expression;
  const scopes = iterate(expression, scope).filter(
    (inner) => condition === undefined || isTrue(condition, inner),
  );
  if (key === undefined) return tuple(scopes.map((inner) => evaluate(value, inner)));
  const gathered = new Map<string, Value[]>();
  for (const inner of scopes) {
    const given = evaluate(key, inner);
    const name = placed(key.span, () => toText(given));
    const earlier = gathered.get(name);
    if (earlier !== undefined && !grouped)
      throw mistake(
        span,
        `two items have the key "${name}"`,
        'write "..." after the value to collect them in a list',
      );
    gathered.set(name, [...(earlier ?? []), evaluate(value, inner)]);
  }
  return object(
    [...gathered].map(([name, values]) => [name, grouped ? tuple(values) : (values[0] ?? null)]),
  );
}

/** A scope for each item of what a loop goes over. */
function iterate(
  { keyName, valueName, collection }: Pick<ForExpression, 'keyName' | 'valueName' | 'collection'>,
  scope: Scope,
): Scope[] {
  const value = evaluate(collection, scope);
  return pairsOf(value, collection.span).map(([key, item]) => {
    const names = new Map<string, Value>([[valueName, item]]);
    if (keyName !== undefined) names.set(keyName, key);
    return withNames(scope, names);
  });
}

function pairsOf(value: Value, span: Span): readonly (readonly [Value, Value])[] {
  if (isMapping(value)) return [...value.entries];
  if (!isSequence(value)) throw mistake(span, `a ${typeName(value)} has no items to loop over`);
  // A set's items are their own keys.
  return value.items.map((item, i) => [value.kind === 'set' ? item : i, item]);
}
