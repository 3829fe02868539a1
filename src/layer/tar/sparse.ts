import type { RawPath } from '../../linux/paths';
import { invalid, numeric } from './field';

/** Where the stored bytes of a sparse file belong; all else are zeros. */
export interface SparseMap {
  readonly pieces: readonly { readonly offset: number; readonly length: number }[];
  /** Bytes of the whole file. */
  readonly size: number;
}

/**
 * What PAX records say of a sparse file; without `pieces` the map stands before the data (format
 * 1.0).
 */
export interface PaxSparse extends Partial<Pick<SparseMap, 'pieces'>> {
  readonly size: number;
  /** The name, for the one in the header is made up. */
  readonly name: RawPath | undefined;
}

// GNU tar manual, "Sparse Formats": four pieces in the header and twenty-one in each further block,
// 12 bytes a number.
const NUMBER = 12;
const IN_HEADER = { start: 386, pieces: 4, more: 482, size: 483 };
const FURTHER = { start: 0, pieces: 21, more: 504 };

/** The map in a header of the old GNU format, or in a block that follows one. */
export function oldSparseMap(
  block: Buffer,
  further = false,
): SparseMap & { readonly more: boolean } {
  const form = further ? FURTHER : IN_HEADER;
  const read = (at: number): number => numeric(block, [at, NUMBER], 'sparse map', 0);
  const pieces = [];
  for (
    let at = form.start;
    at < form.start + form.pieces * 2 * NUMBER && block[at] !== 0;
    at += 2 * NUMBER
  ) {
    pieces.push({ offset: read(at), length: read(at + NUMBER) });
  }
  return {
    pieces,
    more: block[form.more] === 1 || block[form.more] === 0x31,
    size: further ? 0 : read(IN_HEADER.size),
  };
}

/**
 * The sparse records of the PAX formats 0.0, 0.1 and 1.0; `undefined` for a file that is not
 * sparse.
 */
export function paxSparse(
  records: ReadonlyMap<string, string> | undefined,
  at: number,
): PaxSparse | undefined {
  if (records === undefined) return undefined;
  const name = records.get('GNU.sparse.name');
  if (records.get('GNU.sparse.major') === '1')
    return { name, size: count(records.get('GNU.sparse.realsize'), at) };
  const map = records.get('GNU.sparse.map');
  if (map === undefined) return undefined;
  const numbers = map.split(',').map((number) => count(number, at));
  if (numbers.length % 2 !== 0) throw invalid('a sparse map is damaged', at);
  const pieces = Array.from({ length: numbers.length / 2 }, (_, i) => ({
    offset: numbers[2 * i] ?? NaN,
    length: numbers[2 * i + 1] ?? NaN,
  }));
  return { name, size: count(records.get('GNU.sparse.size'), at), pieces };
}

function count(text: string | undefined, at: number): number {
  if (text === undefined || !/^[0-9]{1,15}$/.test(text))
    throw invalid('a sparse map is damaged', at);
  return Number(text);
}
