import type { Reader } from './reader';
import {
  join,
  mistake,
  type BinaryOperator,
  type Expression,
  type ObjectItem,
  type Span,
  type SplatStep,
} from './syntax';
import { readHeredoc, readQuoted } from './template';

/** Binary operators, the loosest first (HCL native syntax specification, "Operations"). */
const OPERATORS: readonly (readonly BinaryOperator[])[] = [
  ['||'],
  ['&&'],
  ['==', '!='],
  ['<=', '>=', '<', '>'],
  ['+', '-'],
  ['*', '/', '%'],
];

/** Expressions inside of expressions are read so deep: deeper ones would exhaust the stack. */
const MAX_DEPTH = 200;
const depths = new WeakMap<Reader, number>();

/** Reads the expression that stands here. @throws MbuildError BAKE_INVALID. */
export function readExpression(reader: Reader): Expression {
  const depth = (depths.get(reader) ?? 0) + 1;
  if (depth > MAX_DEPTH)
    throw reader.unexpected(`expressions are nested more than ${MAX_DEPTH} levels deep`);
  depths.set(reader, depth);
  const expression = readConditional(reader);
  depths.set(reader, depth - 1);
  return expression;
}

function readConditional(reader: Reader): Expression {
  const condition = readBinary(reader, 0);
  if (!reader.take('?')) return condition;
  const yes = readExpression(reader);
  reader.expect(':', 'of a condition "a ? b : c"');
  const no = readExpression(reader);
  return { kind: 'conditional', condition, yes, no, span: join(condition.span, no.span) };
}

function readBinary(reader: Reader, level: number): Expression {
  const operators = OPERATORS[level];
  if (operators === undefined) return readUnary(reader);
  let left = readBinary(reader, level + 1);
  for (;;) {
    reader.skipSpace();
    const operator = operators.find((candidate) => reader.looksAt(candidate));
    if (operator === undefined) return left;
    reader.position += operator.length;
    const right = readBinary(reader, level + 1);
    left = { kind: 'binary', operator, left, right, span: join(left.span, right.span) };
  }
}

function readUnary(reader: Reader): Expression {
  reader.skipSpace();
  const start = reader.position;
  const operator = (['-', '!'] as const).find((candidate) => reader.looksAt(candidate));
  if (operator === undefined) return readPostfix(reader);
  reader.position += 1;
  const operand = readUnary(reader);
  return { kind: 'unary', operator, operand, span: reader.span(start) };
}

function readPostfix(reader: Reader): Expression {
  let value = readTerm(reader);
  for (;;) {
    const next = readStep(reader, value);
    if (next === undefined) return value;
    value = next;
  }
}

/** `.name`, `.0`, `[key]`, `.*` and `[*]` behind a value. */
function readStep(reader: Reader, of: Expression): Expression | undefined {
  if (reader.looksAt('...')) return undefined;
  if (reader.looksAt('.*')) {
    reader.position += 2;
    return readSplat(reader, of, false);
  }
  if (reader.match(/\[\s*\*\s*\]/y) !== undefined) return readSplat(reader, of, true);
  const step = readPlainStep(reader, of.span);
  if (step === undefined) return undefined;
  return step.kind === 'attribute'
    ? { kind: 'attribute', of, name: step.name, span: step.span }
    : { kind: 'index', of, key: step.key, span: step.span };
}

function readSplat(reader: Reader, of: Expression, full: boolean): Expression {
  const steps: SplatStep[] = [];
  for (;;) {
    // `.*` takes attributes alone, `[*]` indices too.
    if (!full && reader.looksAt('[')) break;
    const step = readPlainStep(reader, of.span);
    if (step === undefined) break;
    steps.push(step);
  }
  return { kind: 'splat', of, steps, span: { ...of.span, end: reader.position } };
}

function readPlainStep(reader: Reader, of: Span): SplatStep | undefined {
  const span = (): Span => ({ ...of, end: reader.position });
  const legacy = reader.match(/\.(\d+)/y);
  if (legacy !== undefined) {
    const key: Expression = { kind: 'literal', value: Number(legacy[1]), span: span() };
    return { kind: 'index', key, span: span() };
  }
  if (reader.looksAt('.')) {
    reader.position += 1;
    const name = reader.identifier();
    if (name === undefined) throw reader.unexpected('expected the name of an attribute after "."');
    return { kind: 'attribute', name, span: span() };
  }
  if (!reader.looksAt('[')) return undefined;
  reader.position += 1;
  const key = reader.bracketed(() => {
    const inner = readExpression(reader);
    reader.expect(']', 'after an index');
    return inner;
  });
  return { kind: 'index', key, span: span() };
}

function readTerm(reader: Reader): Expression {
  reader.skipSpace();
  if (reader.looksAt('"')) return readQuoted(reader, readExpression);
  if (reader.looksAt('<<')) return readHeredoc(reader, readExpression);
  if (reader.looksAt('(')) return readParentheses(reader);
  if (reader.looksAt('[')) return readTuple(reader);
  if (reader.looksAt('{')) return readObject(reader);
  const start = reader.position;
  const number = reader.match(/\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y);
  if (number !== undefined)
    return { kind: 'literal', value: Number(number[0]), span: reader.span(start) };
  const name = reader.identifier();
  if (name === undefined) throw reader.unexpected('expected a value');
  return readNamed(reader, name, start);
}

const WORDS: Readonly<Record<string, null | boolean>> = { true: true, false: false, null: null };

function readNamed(reader: Reader, first: string, start: number): Expression {
  let name = first;
  for (let more; (more = reader.match(/::([\p{ID_Start}_][\p{ID_Continue}-]*)/uy));)
    name += more[0];
  if (reader.looksAt('(')) return readCall(reader, name, start);
  const span = reader.span(start);
  if (Object.hasOwn(WORDS, name)) return { kind: 'literal', value: WORDS[name] ?? null, span };
  return { kind: 'variable', name, span };
}

function readCall(reader: Reader, name: string, start: number): Expression {
  reader.position += 1;
  const args: Expression[] = [];
  let expand = false;
  reader.bracketed(() => {
    while (!reader.take(')')) {
      args.push(readExpression(reader));
      expand = reader.take('...');
      if (reader.take(')')) return;
      if (expand) throw reader.unexpected('expected ")" after "..."');
      reader.expect(',', `between the arguments of ${name}`);
    }
  });
  return { kind: 'call', name, args, expand, span: reader.span(start) };
}

function readParentheses(reader: Reader): Expression {
  const start = reader.position;
  reader.position += 1;
  const inner = reader.bracketed(() => {
    const expression = readExpression(reader);
    reader.expect(')', 'at the end of an expression');
    return expression;
  });
  return { kind: 'wrapped', inner, span: reader.span(start) };
}

function readTuple(reader: Reader): Expression {
  const start = reader.position;
  reader.position += 1;
  return reader.bracketed(() => {
    const loop = readFor(reader, start, ']');
    if (loop !== undefined) return loop;
    const items: Expression[] = [];
    while (!reader.take(']')) {
      items.push(readExpression(reader));
      if (reader.take(']')) break;
      reader.expect(',', 'between the items of a list');
    }
    return { kind: 'tuple', items, span: reader.span(start) };
  });
}

function readObject(reader: Reader): Expression {
  const start = reader.position;
  reader.position += 1;
  const loop = reader.bracketed(() => readFor(reader, start, '}'));
  if (loop !== undefined) return loop;
  return reader.lined(() => {
    const items: ObjectItem[] = [];
    for (;;) {
      reader.skipSpace(true);
      if (reader.take('}')) break;
      items.push(readObjectItem(reader));
      endItem(reader);
    }
    return { kind: 'object', items, span: reader.span(start) };
  });
}

function readObjectItem(reader: Reader): ObjectItem {
  const key = readKey(reader);
  reader.skipSpace();
  if (!reader.take('=') && !reader.take(':'))
    throw reader.unexpected('expected "=" between a key and its value');
  return { key, value: readExpression(reader) };
}

/** A bare word before `=` is the key itself. */
function readKey(reader: Reader): Expression {
  const start = reader.position;
  const word = reader.identifier();
  const span = reader.span(start);
  reader.skipSpace();
  if (word !== undefined && (reader.looksAt('=') || reader.looksAt(':')))
    return { kind: 'literal', value: word, span };
  reader.position = start;
  return readExpression(reader);
}

function endItem(reader: Reader): void {
  reader.skipSpace();
  if (reader.take(',') || reader.looksAt('\n') || reader.looksAt('}')) return;
  throw reader.unexpected('expected a comma or a line feed between the entries of an object');
}

/** A `for` expression, when one begins here, behind its opening bracket. */
function readFor(reader: Reader, start: number, close: ']' | '}'): Expression | undefined {
  const before = reader.position;
  if (!reader.keyword('for')) return undefined;
  const first = reader.identifier();
  // `{ for = 1 }` is an object.
  if (first === undefined) {
    reader.position = before;
    return undefined;
  }
  const second = reader.take(',') ? needName(reader) : undefined;
  if (!reader.keyword('in')) throw reader.unexpected('expected "in" after the names of "for"');
  const collection = readExpression(reader);
  reader.expect(':', 'after the collection of "for"');
  const head = readExpression(reader);
  const key = close === '}' ? head : undefined;
  if (key !== undefined) reader.expect('=>', 'between the key and the value of "for"');
  const value = key === undefined ? head : readExpression(reader);
  const grouped = key !== undefined && reader.take('...');
  const condition = reader.keyword('if') ? readExpression(reader) : undefined;
  reader.expect(close, 'at the end of "for"');
  const span = reader.span(start);
  const names = { keyName: second === undefined ? undefined : first, valueName: second ?? first };
  return { kind: 'for', ...names, collection, key, value, grouped, condition, span };
}

function needName(reader: Reader): string {
  const name = reader.identifier();
  if (name === undefined) throw reader.unexpected('expected a name');
  return name;
}

/** The word that an expression is, as in `params = [a, b]`. @throws MbuildError BAKE_INVALID. */
export function keywordOf(expression: Expression, what: string): string {
  if (expression.kind === 'variable') return expression.name;
  throw mistake(expression.span, `${what} must be a plain word`);
}
