import type { SourceFile } from '../../diagnostics/range';
import { readExpression } from './expression';
import { Reader } from './reader';
import { mistake, type Attribute, type Block, type Body } from './syntax';
import { readQuoted } from './template';

/** Bodies inside of bodies are read so deep. */
const MAX_DEPTH = 100;

/** Reads a file in HCL's native syntax. @throws MbuildError BAKE_INVALID with the place. */
export function parseHcl(file: SourceFile): Body {
  const reader = new Reader(file);
  if (reader.looksAt('\uFEFF')) reader.position = 1;
  return readBody(reader, 0);
}

function readBody(reader: Reader, depth: number): Body {
  const start = reader.position;
  const attributes: Attribute[] = [];
  const blocks: Block[] = [];
  for (;;) {
    reader.skipSpace(true);
    if (reader.atEnd() || reader.looksAt('}')) break;
    const item = readItem(reader, depth);
    if ('value' in item) addAttribute(attributes, item);
    else blocks.push(item);
  }
  return { attributes, blocks, span: reader.span(start) };
}

function addAttribute(attributes: Attribute[], attribute: Attribute): void {
  const earlier = attributes.find(({ name }) => name === attribute.name);
  if (earlier !== undefined)
    throw mistake(attribute.span, `"${attribute.name}" is set twice in this block`);
  attributes.push(attribute);
}

function readItem(reader: Reader, depth: number): Attribute | Block {
  const start = reader.position;
  const name = reader.identifier();
  if (name === undefined) throw reader.unexpected('expected the name of an attribute or a block');
  reader.skipSpace();
  if (reader.looksAt('=') && !reader.looksAt('==')) {
    reader.position += 1;
    const nameSpan = reader.span(start);
    const value = readExpression(reader);
    endLine(reader, 'after the value of an attribute');
    return { name, value, span: { ...nameSpan, end: value.span.end } };
  }
  return readBlock(reader, name, start, depth);
}

function readBlock(reader: Reader, type: string, start: number, depth: number): Block {
  const labels: string[] = [];
  for (;;) {
    reader.skipSpace();
    if (reader.looksAt('{')) break;
    const label = reader.looksAt('"') ? plainText(reader) : reader.identifier();
    if (label === undefined)
      throw reader.unexpected(`expected "=" or "{" after ${JSON.stringify(type)}`);
    labels.push(label);
  }
  const span = { file: reader.file, start, end: reader.position };
  if (depth >= MAX_DEPTH)
    throw mistake(span, `blocks are nested more than ${MAX_DEPTH} levels deep`);
  reader.position += 1;
  const body = readBody(reader, depth + 1);
  if (!reader.looksAt('}')) throw mistake(span, 'this block has no closing "}"');
  reader.position += 1;
  endLine(reader, 'after a block');
  return { type, labels, body, span };
}

/** A quoted label: text without interpolation. */
function plainText(reader: Reader): string {
  const template = readQuoted(reader, readExpression);
  if (template.kind === 'literal' && typeof template.value === 'string') return template.value;
  throw mistake(template.span, 'a label cannot hold ${…}');
}

function endLine(reader: Reader, where: string): void {
  reader.skipSpace();
  if (reader.atEnd() || reader.looksAt('\n') || reader.looksAt('}')) return;
  throw reader.unexpected(`expected a line feed ${where}`);
}
