import { LineCounter, isAlias, isMap, isScalar, isSeq, parseDocument, type Node } from 'yaml';
import { MbuildError } from '../../diagnostics/error';
import type { SourceFile } from '../../diagnostics/range';
import { mistake } from '../hcl/syntax';
import { placed } from '../hcl/evaluate';
import { interpolate, type Lookup } from './interpolate';

/** Data of a compose file, its variables put in. */
export type Data = null | boolean | number | string | readonly Data[] | DataMap;
export interface DataMap {
  readonly [name: string]: Data;
}

/** What `!reset` and `!override` leave behind for the merge with the files before. */
const RESET = Symbol('reset');
const OVERRIDE = Symbol('override');
type Marked = { readonly [RESET]?: true; readonly [OVERRIDE]?: true };

/** Nodes of one file: YAML's aliases can make many out of few. */
const MAX_NODES = 100_000;
const MAX_DEPTH = 100;

/**
 * Reads a YAML file and puts variables into its texts.
 * @throws MbuildError BAKE_INVALID with the line.
 */
export function readDocument(file: SourceFile, lookup: Lookup): DataMap {
  const document = parseDocument(file.text, {
    lineCounter: new LineCounter(),
    merge: true,
    uniqueKeys: true,
    logLevel: 'error',
  });
  const [error] = document.errors;
  if (error !== undefined) {
    const [start, end] = error.pos;
    throw mistake(
      { file, start, end },
      (error.message.split('\n')[0] ?? '').replace(/ at line .*$/, ''),
    );
  }
  let nodes = 0;
  const data = read(document.contents, 0);
  if (isDataMap(data)) return data;
  if (data === null) return {};
  throw new MbuildError('BAKE_INVALID', `${file.name} is not a compose file: it is not a map`);

  function read(node: unknown, depth: number): Data {
    nodes += 1;
    if (nodes > MAX_NODES || depth > MAX_DEPTH)
      throw new MbuildError('LIMIT_EXCEEDED', `${file.name} nests values too deeply`);
    if (isAlias(node)) return read(node.resolve(document), depth + 1);
    if (isScalar(node)) return scalar(node);
    if (isSeq(node))
      return mark(
        node.items.map((item) => read(item, depth + 1)),
        node,
      );
    if (isMap(node)) return readMap(node, depth);
    return null;
  }

  function scalar(node: Node & { readonly value: unknown }): Data {
    const { value, range } = node;
    if (node.tag === '!reset') return mark({}, node);
    if (typeof value !== 'string') return value as null | boolean | number;
    const [start = 0, end = start] = range ?? [];
    return placed({ file, start, end }, () => interpolate(value, lookup));
  }

  function readMap(node: Extract<Node, { items: unknown[] }>, depth: number): Data {
    const result: Record<string, Data> = {};
    for (const { key, value } of node.items as { key: unknown; value: unknown }[]) {
      const given = isScalar(key) ? key.value : key;
      const name = String(given);
      // The library's own mark of a merge key.
      if (typeof given === 'symbol' || name === '<<')
        Object.assign(result, merged(read(value, depth + 1)), { ...result });
      else result[name] = read(value, depth + 1);
    }
    return mark(result, node);
  }
}

function merged(data: Data): DataMap {
  if (Array.isArray(data)) return Object.assign({}, ...data.toReversed());
  return isDataMap(data) ? data : {};
}

function mark<T extends object>(data: T, { tag }: { readonly tag?: string | undefined }): T {
  if (tag === '!reset') Object.defineProperty(data, RESET, { value: true });
  if (tag === '!override') Object.defineProperty(data, OVERRIDE, { value: true });
  return data;
}

export function isDataMap(data: Data | undefined): data is DataMap {
  return typeof data === 'object' && data !== null && !Array.isArray(data);
}

/**
 * One file put over another: maps are merged, lists are joined, the rest is replaced
 * (Compose specification, "Merge"); `!reset` takes away and `!override` replaces.
 */
export function mergeData(below: Data | undefined, above: Data): Data {
  const marks = (typeof above === 'object' && above !== null ? above : {}) as Marked;
  if (below === undefined || marks[OVERRIDE] === true) return withoutResets(above);
  if (isDataMap(below) && isDataMap(above)) {
    const result: Record<string, Data> = { ...below };
    for (const [name, value] of Object.entries(above)) {
      if (isReset(value)) delete result[name];
      else result[name] = mergeData(below[name], value);
    }
    return result;
  }
  if (Array.isArray(below) && Array.isArray(above)) {
    const seen = new Map([...below, ...above].map((item: Data) => [JSON.stringify(item), item]));
    return [...seen.values()];
  }
  return above;
}

function isReset(data: Data): boolean {
  return typeof data === 'object' && data !== null && (data as Marked)[RESET] === true;
}

function withoutResets(data: Data): Data {
  if (!isDataMap(data)) return data;
  return Object.fromEntries(
    Object.entries(data)
      .filter(([, value]) => !isReset(value))
      .map(([name, value]) => [name, withoutResets(value)]),
  );
}
