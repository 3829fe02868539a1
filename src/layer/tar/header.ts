import { toText, type RawPath } from '../../linux/paths';
import { BLOCK, FIELD, type TarEntry, type TarEntryType } from './entry';
import { invalid, numeric, text, untilNul } from './field';
import { numberRecord, xattrsOf, type PaxRecords } from './pax';

/** What came before a header and is about it. */
export interface NextEntry {
  readonly expected?: boolean;
  readonly records?: PaxRecords;
  readonly longName?: RawPath;
  readonly longLink?: RawPath;
}

/** The fields of one header block. */
export interface Header extends Omit<TarEntry, 'type' | 'xattrs'> {
  readonly flag: string;
}

/** @throws MbuildError ARCHIVE_INVALID for a block that is no header. */
export function parseHeader(block: Buffer, at: number): Header {
  checkSum(block, at);
  const magic = block.toString('latin1', FIELD.magic[0], FIELD.magic[0] + FIELD.magic[1]);
  const isUstar = magic.startsWith('ustar\0');
  const hasDevice = isUstar || magic === 'ustar  \0';
  const isStar = isUstar && block.toString('latin1', 508, 512) === 'tar\0';
  const name = text(block, FIELD.name);
  const prefix = isUstar
    ? untilNul(block, FIELD.prefix[0], FIELD.prefix[0] + (isStar ? 131 : FIELD.prefix[1]))
    : '';
  return {
    flag: String.fromCharCode(block[FIELD.type[0]] ?? 0),
    path: prefix === '' ? name : `${prefix}/${name}`,
    linkPath: text(block, FIELD.linkName),
    mode: numeric(block, FIELD.mode, 'mode', at) & 0o7777,
    uid: numeric(block, FIELD.uid, 'uid', at),
    gid: numeric(block, FIELD.gid, 'gid', at),
    size: natural(numeric(block, FIELD.size, 'size', at), 'size', at),
    mtime: numeric(block, FIELD.mtime, 'mtime', at),
    device: hasDevice
      ? {
          major: numeric(block, FIELD.major, 'devmajor', at),
          minor: numeric(block, FIELD.minor, 'devminor', at),
        }
      : { major: 0, minor: 0 },
  };
}

/** The entry that a header makes, with what the records before it said. */
export function assemble(header: Header, next: NextEntry, at: number): TarEntry {
  const { records } = next;
  const named = next.longName ?? records?.get('path') ?? header.path;
  const linkPath = next.longLink ?? records?.get('linkpath') ?? header.linkPath;
  if (named.includes('\0') || linkPath.includes('\0')) throw invalid('a name holds a NUL', at);
  // V7 has no type for directories: a slash at the end stands for it.
  const type =
    named.endsWith('/') && (header.flag === '0' || header.flag === '\0')
      ? 'directory'
      : typeOf(header.flag, named, at);
  const isLink = type === 'symlink' || type === 'link';
  return {
    type,
    path: withoutSlash(named),
    mode: header.mode,
    uid: numberRecord(records, 'uid', header.uid, at),
    gid: numberRecord(records, 'gid', header.gid, at),
    // Docker and containerd know no time before the epoch either.
    mtime: Math.max(0, numberRecord(records, 'mtime', header.mtime, at)),
    size: type === 'file' ? numberRecord(records, 'size', header.size, at) : 0,
    linkPath: isLink ? linkPath : '',
    device: header.device,
    xattrs: xattrsOf(records),
  };
}

function withoutSlash(name: RawPath): RawPath {
  let end = name.length;
  while (end > 1 && name[end - 1] === '/') end--;
  return name.slice(0, end);
}

function typeOf(flag: string, name: RawPath, at: number): TarEntryType {
  switch (flag) {
    case '0':
    case '\0':
    case '7':
    case 'S':
      return 'file';
    case '1':
      return 'link';
    case '2':
      return 'symlink';
    case '3':
      return 'char';
    case '4':
      return 'block';
    case '5':
    case 'D':
      return 'directory';
    case '6':
      return 'fifo';
    default:
      throw invalid(`${toText(name)} is of an unknown type ${JSON.stringify(flag)}`, at);
  }
}

function natural(value: number, what: string, at: number): number {
  if (value < 0) throw invalid(`the ${what} of an entry is negative`, at);
  return value;
}

function checkSum(block: Buffer, at: number): void {
  let unsigned = 0;
  let high = 0;
  for (let i = 0; i < BLOCK; i++) {
    const byte = block[i] ?? 0;
    unsigned += byte;
    high += byte >> 7;
  }
  for (let i = FIELD.checksum[0]; i < FIELD.checksum[0] + FIELD.checksum[1]; i++) {
    const byte = block[i] ?? 0;
    unsigned += 0x20 - byte;
    high -= byte >> 7;
  }
  const stated = numeric(block, FIELD.checksum, 'checksum', at);
  // Old tars of machines with signed characters summed those.
  if (stated !== unsigned && stated !== unsigned - 256 * high)
    throw invalid(
      'the checksum of a header is wrong, so this is not a tar archive, or it is damaged',
      at,
    );
}
