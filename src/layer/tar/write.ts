import type { RawPath } from '../../linux/paths';
import { BLOCK, FIELD, XATTR_RECORD, paddingOf, type TarEntry, type TarEntryType } from './entry';
import type { Field } from './field';

/** The end of an archive: two blocks of zeros, and nothing to fill a record with. */
export const END_OF_ARCHIVE: Buffer = Buffer.alloc(2 * BLOCK);

const TYPE_FLAG: Readonly<Record<TarEntryType, string>> = {
  file: '0',
  link: '1',
  symlink: '2',
  char: '3',
  block: '4',
  directory: '5',
  fifo: '6',
};
const ASCII = /^[\x00-\x7f]*$/;
const ZERO = 0x30;

/**
 * Writes the header block of an entry at `at`; the same entry always gives the same bytes. Plain
 * ustar without names of users, as Go's archive/tar writes it; what does not fit stands in the
 * records of {@link encodePax}, which come before.
 */
export function writeHeader(entry: TarEntry, into: Buffer, at: number): void {
  into.fill(0, at, at + BLOCK);
  const name = headerName(entry);
  const split = splitName(name);
  writeText(
    into,
    at,
    FIELD.name,
    split === undefined ? withoutSlash(name.slice(0, FIELD.name[1])) : split.name,
  );
  writeText(into, at, FIELD.prefix, split?.prefix ?? '');
  writeText(
    into,
    at,
    FIELD.linkName,
    fitsLink(entry.linkPath) ? entry.linkPath : entry.linkPath.slice(0, FIELD.linkName[1]),
  );
  writeOctal(into, at, FIELD.mode, entry.mode & 0o7777);
  writeOctal(into, at, FIELD.uid, fitsOctal(FIELD.uid, entry.uid) ? entry.uid : 0);
  writeOctal(into, at, FIELD.gid, fitsOctal(FIELD.gid, entry.gid) ? entry.gid : 0);
  writeOctal(into, at, FIELD.size, fitsOctal(FIELD.size, entry.size) ? entry.size : 0);
  const mtime = Math.floor(entry.mtime);
  writeOctal(into, at, FIELD.mtime, fitsOctal(FIELD.mtime, mtime) ? mtime : 0);
  writeOctal(into, at, FIELD.major, entry.device.major);
  writeOctal(into, at, FIELD.minor, entry.device.minor);
  seal(TYPE_FLAG[entry.type], into, at);
}

/**
 * The PAX header and records of an entry, whole blocks; `undefined` when the ustar header says it
 * all, as it nearly always does.
 */
export function encodePax(entry: TarEntry): Buffer | undefined {
  const records: [string, string][] = [];
  const name = headerName(entry);
  if (splitName(name) === undefined) records.push(['path', name]);
  if (!fitsLink(entry.linkPath)) records.push(['linkpath', entry.linkPath]);
  if (!fitsOctal(FIELD.uid, entry.uid)) records.push(['uid', String(entry.uid)]);
  if (!fitsOctal(FIELD.gid, entry.gid)) records.push(['gid', String(entry.gid)]);
  if (!fitsOctal(FIELD.size, entry.size)) records.push(['size', String(entry.size)]);
  if (!fitsOctal(FIELD.mtime, Math.floor(entry.mtime)))
    records.push(['mtime', String(Math.floor(entry.mtime))]);
  // A key ends at its first `=`; GNU tar writes one that belongs to it so.
  for (const [key, value] of entry.xattrs)
    records.push([XATTR_RECORD + key.replaceAll('=', '%3D'), value.toString('latin1')]);
  return records.length === 0 ? undefined : paxBlocks(records);
}

function paxBlocks(records: [string, string][]): Buffer {
  const text = records
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => paxRecord(key, value))
    .join('');
  const blocks = Buffer.alloc(BLOCK + text.length + paddingOf(text.length));
  writeText(blocks, 0, FIELD.name, 'PaxHeaders.0');
  writeOctal(blocks, 0, FIELD.mode, 0o644);
  for (const field of [FIELD.uid, FIELD.gid, FIELD.mtime, FIELD.major, FIELD.minor])
    writeOctal(blocks, 0, field, 0);
  writeOctal(blocks, 0, FIELD.size, text.length);
  seal('x', blocks, 0);
  blocks.write(text, BLOCK, 'latin1');
  return blocks;
}

/** `<length> <key>=<value>\n`, where the length counts its own digits. */
function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length)
    length = String(length).length + rest.length;
  return `${length}${rest}`;
}

function headerName(entry: TarEntry): RawPath {
  return entry.type === 'directory' ? `${entry.path}/` : entry.path;
}

/**
 * The ustar fields of a name; `undefined` when it fits neither alone nor cut at a slash, or is not
 * ASCII.
 */
function splitName(name: RawPath): { readonly prefix: string; readonly name: string } | undefined {
  if (!ASCII.test(name)) return undefined;
  if (name.length <= FIELD.name[1]) return { prefix: '', name };
  const slash = name.lastIndexOf('/', Math.min(FIELD.prefix[1], name.length - 2));
  if (slash <= 0 || name.length - slash - 1 > FIELD.name[1]) return undefined;
  return { prefix: name.slice(0, slash), name: name.slice(slash + 1) };
}

/** Some readers take what ends in a slash for a directory, whatever its type. */
function withoutSlash(name: string): string {
  return name.replace(/\/+$/, '');
}

function fitsLink(linkPath: RawPath): boolean {
  return linkPath.length <= FIELD.linkName[1] && ASCII.test(linkPath);
}

function fitsOctal([, length]: Field, value: number): boolean {
  return value >= 0 && value < 8 ** (length - 1);
}

function writeText(into: Buffer, at: number, [offset, length]: Field, text: string): void {
  into.write(text, at + offset, length, 'latin1');
}

/** Octal digits to the width of the field and a NUL. */
function writeOctal(into: Buffer, at: number, [offset, length]: Field, value: number): void {
  let rest = value;
  for (let i = at + offset + length - 2; i >= at + offset; i--) {
    into[i] = ZERO + (rest % 8);
    rest = Math.floor(rest / 8);
  }
}

/** Type, magic and, last, the checksum over all of the block with spaces in its own place. */
function seal(type: string, into: Buffer, at: number): void {
  writeText(into, at, FIELD.type, type);
  writeText(into, at, FIELD.magic, 'ustar\x0000');
  into.fill(0x20, at + FIELD.checksum[0], at + FIELD.checksum[0] + FIELD.checksum[1]);
  let sum = 0;
  for (let i = at; i < at + BLOCK; i++) sum += into[i] ?? 0;
  // Six digits, NUL, space: the one field of another form.
  writeOctal(into, at, [FIELD.checksum[0], 7], sum);
  into[at + FIELD.checksum[0] + 6] = 0;
}
