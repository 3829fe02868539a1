import { toText, type RawPath } from '../../linux/paths';
import type { Xattrs } from '../../linux/xattr';
import {
  BLOCK,
  FIELD,
  NO_XATTRS,
  XATTR_RECORD,
  paddingOf,
  type TarEntry,
  type TarEntryType,
} from './entry';
import { invalid, numeric, text, untilNul } from './field';
import { oldSparseMap, paxSparse, type SparseMap } from './sparse';

/**
 * Takes what is in an archive, in its order. A file's bytes come between its `entry` and `end`;
 * every entry ends.
 */
export interface TarSink {
  entry(entry: TarEntry): void;
  /** The next bytes of a file. They are the reader's input: copy what must outlive the call. */
  data(bytes: Buffer): void;
  /** The next `length` bytes of a sparse file are zeros that the archive leaves out. */
  hole(length: number): void;
  end(): void;
}

/** How strict to be where archives in the wild differ. */
export interface TarReadOptions {
  /**
   * Refuse an archive that just stops between entries. Without it that is an end, as for other
   * readers.
   */
  readonly endRequired?: boolean | undefined;
}

// Names, links and records longer than this are an attack or damage; Go's reader has the same limit
// for most of them.
const MAX_RECORDS = 4 * 1024 * 1024;
const MAX_SPARSE_MAP = 512 * 1024;

/**
 * Reads a tar archive that is pushed in pieces of any size: V7, ustar, PAX, GNU (long names, large
 * numbers, sparse files) and star. Names stay bytes. Where dialects contradict each other, Go's
 * archive/tar decides, for Docker, containerd and podman read so. Every method throws MbuildError
 * ARCHIVE_INVALID for what is no tar, is damaged, or stops early.
 */
export class TarReader {
  /** Bytes that were pushed. */
  offset = 0;
  /** Headers and small pieces that came in parts are put together here. */
  #pending: Buffer[] = [];
  #pendingLength = 0;
  #state: State = { kind: 'header' };
  #next: NextEntry = {};
  #zeroBlocks = 0;

  constructor(
    private readonly sink: TarSink,
    private readonly options: TarReadOptions = {},
  ) {}

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      const state = this.#state;
      switch (state.kind) {
        case 'data': {
          const taken = Math.min(state.left, chunk.length - at);
          this.sink.data(taken === chunk.length ? chunk : chunk.subarray(at, at + taken));
          at += taken;
          state.left -= taken;
          if (state.left === 0) this.#afterData(state);
          break;
        }
        case 'skip': {
          const taken = Math.min(state.left, chunk.length - at);
          at += taken;
          state.left -= taken;
          if (state.left === 0) this.#state = state.then;
          break;
        }
        case 'finished':
          at = chunk.length;
          break;
        case 'header':
        case 'collect': {
          const size = state.kind === 'header' ? BLOCK : state.size;
          if (this.#pendingLength === 0 && chunk.length - at >= size) {
            at += size;
            this.#take(state, chunk.subarray(at - size, at), this.offset + at - size);
            break;
          }
          const taken = Math.min(size - this.#pendingLength, chunk.length - at);
          // A copy, for the caller may fill the same buffer again.
          this.#pending.push(Buffer.from(chunk.subarray(at, at + taken)));
          this.#pendingLength += taken;
          at += taken;
          if (this.#pendingLength === size) {
            const whole = Buffer.concat(this.#pending);
            this.#pending = [];
            this.#pendingLength = 0;
            this.#take(state, whole, this.offset + at - size);
          }
          break;
        }
      }
    }
    this.offset += chunk.length;
  }

  /** Call when there is no more. */
  finish(): void {
    const state = this.#state;
    // Writers that never close their archive, umoci among them, leave out even the padding of the
    // last file; Go's reader minds neither.
    const inPadding =
      state.kind === 'skip' && state.left < BLOCK && this.options.endRequired !== true;
    const clean =
      state.kind === 'finished' ||
      inPadding ||
      (state.kind === 'header' && this.#pendingLength === 0 && !this.#next.expected);
    if (!clean) throw invalid('it ends in the middle of an entry', this.offset);
    if (this.options.endRequired === true && this.#zeroBlocks === 0) {
      throw invalid(this.offset === 0 ? 'it is empty' : 'it has no end mark', this.offset);
    }
  }

  #take(state: HeaderState | CollectState, bytes: Buffer, at: number): void {
    if (state.kind === 'header') this.#header(bytes, at);
    else state.done(bytes.subarray(0, state.length));
  }

  #header(block: Buffer, at: number): void {
    if (block[0] === 0 && isZero(block)) {
      this.#zeroBlocks++;
      if (this.#zeroBlocks === 2) this.#state = { kind: 'finished' };
      return;
    }
    if (this.#zeroBlocks === 1) throw invalid('an entry follows a block of zeros', at);
    const header = parseHeader(block, at);
    switch (header.flag) {
      case 'x':
      case 'g':
        this.#collect(header.size, at, (bytes) => {
          const records = parsePax(bytes, at);
          // Records for all that follows, which Go's reader does not apply.
          if (header.flag === 'x')
            this.#next = {
              ...this.#next,
              expected: true,
              records: merged(this.#next.records ?? new Map(), records),
            };
        });
        return;
      case 'L':
        this.#collect(
          header.size,
          at,
          (bytes) =>
            (this.#next = {
              ...this.#next,
              expected: true,
              longName: untilNul(bytes, 0, bytes.length),
            }),
        );
        return;
      case 'K':
        this.#collect(
          header.size,
          at,
          (bytes) =>
            (this.#next = {
              ...this.#next,
              expected: true,
              longLink: untilNul(bytes, 0, bytes.length),
            }),
        );
        return;
      case 'V': // The volume's label, which is no file.
        this.#skip(header.size + paddingOf(header.size), { kind: 'header' });
        return;
      default:
        this.#entry(header, block, at);
    }
  }

  /** A header that makes something, with what the records before it said. */
  #entry(header: Header, block: Buffer, at: number): void {
    const next = this.#next;
    this.#next = {};
    const { records } = next;
    const sparse = header.flag === 'S' ? oldSparseMap(block) : undefined;
    const entry = assemble(header, next, records, at);
    const stored = entry.type === 'file' ? numberRecord(records, 'size', header.size, at, 0) : 0;
    if (entry.type !== 'file') {
      this.sink.entry(entry);
      this.sink.end();
      // A link's, directory's or device's size means nothing, and no bytes follow it (archive/tar:
      // isHeaderOnlyType).
      return;
    }
    if (sparse !== undefined) {
      this.#oldSparse(entry, stored, sparse.pieces, sparse.more, sparse.size, at);
      return;
    }
    const map = paxSparse(records, at);
    if (map === undefined) return this.#file(entry, stored);
    const file = { ...entry, path: map.name ?? entry.path, size: map.size };
    if (map.pieces !== undefined)
      return this.#sparseFile(file, { pieces: map.pieces, size: map.size }, stored, at);
    this.#sparseMapInData(file, stored, map.size, '', at);
  }

  #file(entry: TarEntry, size: number): void {
    this.sink.entry(entry);
    this.#data([{ data: size }], paddingOf(size));
  }

  /**
   * PAX sparse format 1.0: the map stands before the data, decimal numbers a line, filled up to a
   * block.
   */
  #sparseMapInData(entry: TarEntry, stored: number, size: number, text: string, at: number): void {
    if (text.length + BLOCK > Math.min(stored, MAX_SPARSE_MAP))
      throw invalid(`the sparse map of ${toText(entry.path)} is damaged`, at);
    this.#state = {
      kind: 'collect',
      size: BLOCK,
      length: BLOCK,
      done: (bytes) => {
        const all = text + bytes.toString('latin1');
        const lines = all.split('\n');
        const count = Number(lines[0]);
        if (lines.length - 1 < 1 + 2 * count || lines.length < 2)
          return this.#sparseMapInData(entry, stored, size, all, at);
        const numbers = lines.slice(1, 1 + 2 * count).map(Number);
        const pieces = Array.from({ length: count }, (_, i) => ({
          offset: numbers[2 * i] ?? NaN,
          length: numbers[2 * i + 1] ?? NaN,
        }));
        this.#sparseFile(entry, { pieces, size }, stored - all.length, at);
      },
    };
  }

  /** Old GNU sparse format: the map goes on in further header blocks. */
  #oldSparse(
    entry: TarEntry,
    stored: number,
    pieces: SparseMap['pieces'],
    more: boolean,
    size: number,
    at: number,
  ): void {
    if (!more) return this.#sparseFile({ ...entry, size }, { pieces, size }, stored, at);
    if (pieces.length * 24 > MAX_RECORDS)
      throw invalid(`the sparse map of ${toText(entry.path)} is too long`, at);
    this.#state = {
      kind: 'collect',
      size: BLOCK,
      length: BLOCK,
      done: (bytes) => {
        const further = oldSparseMap(bytes, true);
        this.#oldSparse(entry, stored, [...pieces, ...further.pieces], further.more, size, at);
      },
    };
  }

  #sparseFile(entry: TarEntry, map: SparseMap, stored: number, at: number): void {
    const parts: Part[] = [];
    let end = 0;
    let data = 0;
    for (const { offset, length } of map.pieces) {
      if (!(offset >= end && length >= 0 && offset + length <= map.size))
        throw invalid(`the sparse map of ${toText(entry.path)} is damaged`, at);
      if (offset > end) parts.push({ hole: offset - end });
      if (length > 0) parts.push({ data: length });
      end = offset + length;
      data += length;
    }
    if (data !== stored) throw invalid(`the sparse map of ${toText(entry.path)} is damaged`, at);
    if (map.size > end) parts.push({ hole: map.size - end });
    this.sink.entry(entry);
    this.#data(parts, paddingOf(stored));
  }

  #data(parts: Part[], padding: number): void {
    this.#afterData({ kind: 'data', left: 0, parts, padding });
  }

  #afterData(state: DataState): void {
    for (;;) {
      const part = state.parts.shift();
      if (part === undefined) break;
      if ('hole' in part) this.sink.hole(part.hole);
      else if (part.data > 0) {
        state.left = part.data;
        this.#state = state;
        return;
      }
    }
    this.sink.end();
    this.#skip(state.padding, { kind: 'header' });
  }

  #collect(length: number, at: number, done: (bytes: Buffer) => void): void {
    if (length > MAX_RECORDS) throw invalid(`a header of ${length} bytes is too long`, at);
    const finish = (bytes: Buffer): void => {
      this.#state = { kind: 'header' };
      done(bytes);
    };
    if (length === 0) finish(Buffer.alloc(0));
    else this.#state = { kind: 'collect', size: length + paddingOf(length), length, done: finish };
  }

  #skip(left: number, then: HeaderState): void {
    this.#state = left === 0 ? then : { kind: 'skip', left, then };
  }
}

type Part = { readonly data: number } | { readonly hole: number };

interface HeaderState {
  readonly kind: 'header';
}
/** `size` bytes are put together, the first `length` of them handed over. */
interface CollectState {
  readonly kind: 'collect';
  readonly size: number;
  readonly length: number;
  readonly done: (bytes: Buffer) => void;
}
interface DataState {
  readonly kind: 'data';
  left: number;
  readonly parts: Part[];
  readonly padding: number;
}
interface SkipState {
  readonly kind: 'skip';
  left: number;
  readonly then: HeaderState;
}
type State = HeaderState | CollectState | DataState | SkipState | { readonly kind: 'finished' };

/** What came before a header and is about it. */
interface NextEntry {
  readonly expected?: boolean;
  readonly records?: ReadonlyMap<string, string>;
  readonly longName?: RawPath;
  readonly longLink?: RawPath;
}

/** The fields of one header block. */
interface Header extends Omit<TarEntry, 'type' | 'xattrs'> {
  readonly flag: string;
}

function parseHeader(block: Buffer, at: number): Header {
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

function assemble(
  header: Header,
  next: NextEntry,
  records: ReadonlyMap<string, string> | undefined,
  at: number,
): TarEntry {
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
    uid: numberRecord(records, 'uid', header.uid, at, 0),
    gid: numberRecord(records, 'gid', header.gid, at, 0),
    // Docker and containerd know no time before the epoch either.
    mtime: Math.max(0, numberRecord(records, 'mtime', header.mtime, at)),
    size: type === 'file' ? numberRecord(records, 'size', header.size, at, 0) : 0,
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

function xattrsOf(records: ReadonlyMap<string, string> | undefined): Xattrs {
  if (records === undefined) return NO_XATTRS;
  const xattrs = [...records].filter(([key]) => key.startsWith(XATTR_RECORD));
  return new Map(
    xattrs.map(([key, value]) => [
      key.slice(XATTR_RECORD.length).replaceAll('%3D', '='),
      Buffer.from(value, 'latin1'),
    ]),
  );
}

/**
 * PAX records in order: `<length> <key>=<value>\n`. Strings are bytes; hdrcharset needs no regard.
 */
function parsePax(bytes: Buffer, at: number): Map<string, string> {
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
function merged(
  earlier: ReadonlyMap<string, string>,
  later: ReadonlyMap<string, string>,
): ReadonlyMap<string, string> {
  const both = new Map([...earlier, ...later]);
  for (const [key, value] of both)
    if (value === '' && !key.startsWith(XATTR_RECORD)) both.delete(key);
  return both;
}

function numberRecord(
  records: ReadonlyMap<string, string> | undefined,
  key: string,
  otherwise: number,
  at: number,
  least?: number,
): number {
  const record = records?.get(key);
  const value = record === undefined ? otherwise : Number(record);
  const valid =
    record === undefined ||
    (/^-?[0-9]+(\.[0-9]*)?$/.test(record) &&
      Math.abs(value) <= Number.MAX_SAFE_INTEGER &&
      (key === 'mtime' || Number.isInteger(value)));
  if (!valid || (least !== undefined && value < least))
    throw invalid(`a PAX record ${key}=${record ?? otherwise} makes no sense`, at);
  return value;
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

function isZero(block: Buffer): boolean {
  for (let i = 0; i < BLOCK; i++) if (block[i] !== 0) return false;
  return true;
}
