import { MbuildError } from '../../diagnostics/error';
import type { SourceFile, SourceRange } from '../../diagnostics/range';

/** A part of a file: offsets of its first character and of the one behind its last. */
export interface Span {
  readonly file: SourceFile;
  readonly start: number;
  readonly end: number;
}

/** What a file or a block holds. */
export interface Body {
  readonly attributes: readonly Attribute[];
  readonly blocks: readonly Block[];
  readonly span: Span;
}

/** `name = value` */
export interface Attribute {
  readonly name: string;
  readonly value: Expression;
  readonly span: Span;
}

/** `type "label" { … }` */
export interface Block {
  readonly type: string;
  readonly labels: readonly string[];
  readonly body: Body;
  /** Of the type and the labels. */
  readonly span: Span;
}

/** An expression (HCL native syntax specification, "Expressions"). */
export type Expression = { readonly span: Span } & (
  | { readonly kind: 'literal'; readonly value: null | boolean | number | string }
  | { readonly kind: 'template'; readonly parts: readonly TemplatePart[] }
  /** `"${x}"`: the value itself, whatever its type. */
  | { readonly kind: 'wrapped'; readonly inner: Expression }
  | { readonly kind: 'variable'; readonly name: string }
  | { readonly kind: 'attribute'; readonly of: Expression; readonly name: string }
  | { readonly kind: 'index'; readonly of: Expression; readonly key: Expression }
  | { readonly kind: 'splat'; readonly of: Expression; readonly steps: readonly SplatStep[] }
  | {
      readonly kind: 'call';
      readonly name: string;
      readonly args: readonly Expression[];
      /** The last argument is a sequence whose items are arguments: `f(list...)`. */
      readonly expand: boolean;
    }
  | { readonly kind: 'unary'; readonly operator: '-' | '!'; readonly operand: Expression }
  | {
      readonly kind: 'binary';
      readonly operator: BinaryOperator;
      readonly left: Expression;
      readonly right: Expression;
    }
  | {
      readonly kind: 'conditional';
      readonly condition: Expression;
      readonly yes: Expression;
      readonly no: Expression;
    }
  | { readonly kind: 'tuple'; readonly items: readonly Expression[] }
  | { readonly kind: 'object'; readonly items: readonly ObjectItem[] }
  | ({ readonly kind: 'for' } & ForExpression)
);

export type BinaryOperator =
  '||' | '&&' | '==' | '!=' | '<' | '<=' | '>' | '>=' | '+' | '-' | '*' | '/' | '%';

/** `key = value` of an object; the key is an expression, a bare word is a literal. */
export interface ObjectItem {
  readonly key: Expression;
  readonly value: Expression;
}

/** `[for k, v in x : v if c]`, `{for k, v in x : k => v... if c}` */
export interface ForExpression {
  readonly keyName: string | undefined;
  readonly valueName: string;
  readonly collection: Expression;
  /** Of an object; absent for a tuple. */
  readonly key: Expression | undefined;
  readonly value: Expression;
  /** `...`: values of one key are gathered into a tuple. */
  readonly grouped: boolean;
  readonly condition: Expression | undefined;
}

/** What is done with each item of a splat. */
export type SplatStep =
  | { readonly kind: 'attribute'; readonly name: string; readonly span: Span }
  | { readonly kind: 'index'; readonly key: Expression; readonly span: Span };

/** A part of a template: text, a value, or a directive. */
export type TemplatePart =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'value'; readonly value: Expression }
  | {
      readonly kind: 'if';
      readonly condition: Expression;
      readonly yes: readonly TemplatePart[];
      readonly no: readonly TemplatePart[];
    }
  | {
      readonly kind: 'for';
      readonly keyName: string | undefined;
      readonly valueName: string;
      readonly collection: Expression;
      readonly parts: readonly TemplatePart[];
    };

/** Lines and columns of a span. */
export function rangeOf({ file, start, end }: Span): SourceRange {
  return { start: positionAt(file.text, start), end: positionAt(file.text, end) };
}

function positionAt(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset);
  const lineStart = before.lastIndexOf('\n') + 1;
  return { line: before.split('\n').length, column: [...before.slice(lineStart)].length + 1 };
}

/** A mistake at a place of a bake file: code BAKE_INVALID. */
export function mistake(span: Span, message: string, hint?: string): MbuildError {
  return new MbuildError('BAKE_INVALID', message, { file: span.file, range: rangeOf(span), hint });
}

/** The span from the start of one to the end of another. */
export function join(first: Span, last: Span): Span {
  return { file: first.file, start: first.start, end: last.end };
}
