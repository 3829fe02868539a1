import type { Xattrs } from '../../linux/xattr';
import { NO_XATTRS, XATTR_RECORD } from './entry';
import { invalid } from './field';

/** What a PAX header says of the entry that follows, by keyword; pax(1), "pax Extended Header". */
export type PaxRecords = ReadonlyMap<string, string>;

/**
 * PAX records in order: `<length> <key>=<value>\n`. Strings are bytes; hdrcharset needs no regard.
 */
export function parsePax(bytes: Buffer, at: number): Map<string, string> {
  const records = new Map<string, string>();
  for (let start = 0; start < bytes.length;) {
    const space = bytes.indexOf(0x20, start);
    const digits = space < 0 || space - start > 10 ? '' : bytes.toString('latin1', start, space);
    const end = /^[1-9][0-9]*$/.test(digits) ? start + Number(digits) : NaN;
    const equals = bytes.indexOf(0x3d, space + 1);
    if (!(end <= bytes.length) || bytes[end - 1] !== 0x0a || equals <= space + 1 || equals >= end)
      throw invalid('a PAX record is damaged', at);
    addRecord(
      records,
      bytes.toString('latin1', space + 1, equals),
      bytes.toString('latin1', equals + 1, end - 1),
    );
    start = end;
  }
  return records;
}

/** Sparse format 0.0 repeats its keys, so their values are collected as the one record of 0.1. */
function addRecord(records: Map<string, string>, key: string, value: string): void {
  if (key !== 'GNU.sparse.offset' && key !== 'GNU.sparse.numbytes') {
    records.set(key, value);
    return;
  }
  const before = records.get('GNU.sparse.map');
  records.set('GNU.sparse.map', before === undefined ? value : `${before},${value}`);
}

/** Later records win; an empty one takes an earlier one away. */
export function merged(earlier: PaxRecords, later: PaxRecords): PaxRecords {
  const both = new Map([...earlier, ...later]);
  for (const [key, value] of both)
    if (value === '' && !key.startsWith(XATTR_RECORD)) both.delete(key);
  return both;
}

/**
 * A number of the header, or of the record that stands for it; only a time may be negative or have
 * a fraction.
 */
export function numberRecord(
  records: PaxRecords | undefined,
  key: 'uid' | 'gid' | 'size' | 'mtime',
  otherwise: number,
  at: number,
): number {
  const record = records?.get(key);
  const value = record === undefined ? otherwise : Number(record);
  const valid =
    record === undefined ||
    (/^-?[0-9]+(\.[0-9]*)?$/.test(record) &&
      Math.abs(value) <= Number.MAX_SAFE_INTEGER &&
      (key === 'mtime' || Number.isInteger(value)));
  if (!valid || (key !== 'mtime' && value < 0))
    throw invalid(`a PAX record ${key}=${record ?? otherwise} makes no sense`, at);
  return value;
}

/** The extended attributes that records hold. */
export function xattrsOf(records: PaxRecords | undefined): Xattrs {
  if (records === undefined) return NO_XATTRS;
  const xattrs = [...records].filter(([key]) => key.startsWith(XATTR_RECORD));
  return new Map(
    xattrs.map(([key, value]) => [
      key.slice(XATTR_RECORD.length).replaceAll('%3D', '='),
      Buffer.from(value, 'latin1'),
    ]),
  );
}
