import { parseTree, printParseErrorCode, type Node, type ParseError } from 'jsonc-parser';
import type { SourceFile } from '../../diagnostics/range';
import { readExpression } from './expression';
import { Reader } from './reader';
import {
  mistake,
  type Attribute,
  type Block,
  type Body,
  type Expression,
  type Span,
} from './syntax';
import { readPlainTemplate } from './template';

/** Blocks that a file may have; each with one label. */
const BLOCK_TYPES = ['variable', 'function', 'group', 'target'];
/** Blocks without a label, inside of others. */
const INNER_BLOCKS = ['validation'];
/** Attributes of JSON whose text is an expression and not a template. */
const EXPRESSIONS = ['type', 'params', 'variadic_params', 'condition'];

/** Reads a file in HCL's JSON syntax. @throws MbuildError BAKE_INVALID with the place. */
export function parseHclJson(file: SourceFile): Body {
  const errors: ParseError[] = [];
  const root = parseTree(file.text, errors, { disallowComments: true });
  const [error] = errors;
  if (error !== undefined)
    throw mistake(
      { file, start: error.offset, end: error.offset + error.length },
      `this is not JSON: ${words(printParseErrorCode(error.error))}`,
    );
  if (root?.type !== 'object')
    throw mistake({ file, start: 0, end: file.text.length }, 'a bake file in JSON is an object');
  return bodyOf(root, file, BLOCK_TYPES);
}

/** `CommaExpected` → `comma expected` */
function words(code: string): string {
  return code.replace(/\B[A-Z]/g, (letter) => ` ${letter}`).toLowerCase();
}

function bodyOf(node: Node, file: SourceFile, blockTypes: readonly string[]): Body {
  const attributes: Attribute[] = [];
  const blocks: Block[] = [];
  for (const { name, value, span } of membersOf(node, file)) {
    if (!blockTypes.includes(name))
      attributes.push({ name, value: attributeValue(name, value, file), span });
    else if (blockTypes === BLOCK_TYPES) blocks.push(...labelled(name, value, file));
    else
      for (const inner of each(value))
        blocks.push(blockOf({ type: name, labels: [] }, inner, file));
  }
  return { attributes, blocks, span: spanOf(node, file) };
}

/** `"target": { "a": { … } }`, or a list of such objects. */
function labelled(type: string, value: Node, file: SourceFile): Block[] {
  return each(value).flatMap((object) =>
    membersOf(object, file).flatMap(({ name, value: bodies }) =>
      each(bodies).map((body) => blockOf({ type, labels: [name] }, body, file)),
    ),
  );
}

function blockOf(head: Pick<Block, 'type' | 'labels'>, node: Node, file: SourceFile): Block {
  return { ...head, body: bodyOf(node, file, INNER_BLOCKS), span: spanOf(node, file) };
}

function each(node: Node): readonly Node[] {
  return node.type === 'array' ? (node.children ?? []) : [node];
}

interface Member {
  readonly name: string;
  readonly value: Node;
  readonly span: Span;
}

function membersOf(node: Node, file: SourceFile): Member[] {
  if (node.type !== 'object') throw mistake(spanOf(node, file), 'an object is needed here');
  return (node.children ?? []).flatMap((property) => {
    const [key, value] = property.children ?? [];
    if (key === undefined || value === undefined) return [];
    return [{ name: String(key.value), value, span: spanOf(property, file) }];
  });
}

function attributeValue(name: string, node: Node, file: SourceFile): Expression {
  if (!EXPRESSIONS.includes(name)) return valueOf(node, file);
  if (node.type === 'array') {
    const items = (node.children ?? []).map((item) => attributeValue(name, item, file));
    return { kind: 'tuple', items, span: spanOf(node, file) };
  }
  if (node.type !== 'string' || /[$%]\{/.test(String(node.value))) return valueOf(node, file);
  return inside(node, file, readExpression);
}

function valueOf(node: Node, file: SourceFile): Expression {
  const span = spanOf(node, file);
  switch (node.type) {
    case 'string':
      return inside(node, file, (reader) => readPlainTemplate(reader, readExpression));
    case 'array':
      return {
        kind: 'tuple',
        items: (node.children ?? []).map((item) => valueOf(item, file)),
        span,
      };
    case 'object':
      return {
        kind: 'object',
        items: (node.children ?? []).flatMap(({ children: [key, value] = [] }) =>
          key === undefined || value === undefined
            ? []
            : [{ key: valueOf(key, file), value: valueOf(value, file) }],
        ),
        span,
      };
    default:
      return { kind: 'literal', value: node.value as null | boolean | number, span };
  }
}

/**
 * Reads the text of a JSON string as HCL. Its places are those of the string's own characters,
 * which is so unless JSON's escapes stand before them.
 */
function inside(node: Node, file: SourceFile, read: (reader: Reader) => Expression): Expression {
  const before = file.text.slice(0, node.offset + 1);
  const reader = new Reader(file, before + String(node.value));
  reader.position = before.length;
  return read(reader);
}

function spanOf(node: Node, file: SourceFile): Span {
  return { file, start: node.offset, end: node.offset + node.length };
}
