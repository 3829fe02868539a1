import { toText } from '../../linux/paths';
import { BLOCK, paddingOf, type TarEntry } from './entry';
import { invalid, untilNul } from './field';
import { assemble, parseHeader, type Header, type NextEntry } from './header';
import { merged, numberRecord, parsePax } from './pax';
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
    const entry = assemble(header, next, at);
    const stored = entry.type === 'file' ? numberRecord(records, 'size', header.size, at) : 0;
    if (entry.type !== 'file') {
      this.sink.entry(entry);
      this.sink.end();
      // A link's, directory's or device's size means nothing, and no bytes follow it (archive/tar:
      // isHeaderOnlyType).
      return;
    }
    if (sparse !== undefined) {
      const file = { ...entry, size: sparse.size };
      this.#oldSparse({ entry: file, stored, at }, sparse.pieces, sparse.more);
      return;
    }
    const map = paxSparse(records, at);
    if (map === undefined) return this.#file(entry, stored);
    const file = {
      entry: { ...entry, path: map.name ?? entry.path, size: map.size },
      stored,
      at,
    };
    if (map.pieces !== undefined) this.#sparseFile(file, map.pieces);
    else this.#sparseMapInData(file, '');
  }

  #file(entry: TarEntry, size: number): void {
    this.sink.entry(entry);
    this.#data([{ data: size }], paddingOf(size));
  }

  /**
   * PAX sparse format 1.0: the map stands before the data, decimal numbers a line, filled up to a
   * block.
   */
  #sparseMapInData(file: SparseFile, text: string): void {
    const { entry, stored, at } = file;
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
          return this.#sparseMapInData(file, all);
        const numbers = lines.slice(1, 1 + 2 * count).map(Number);
        const pieces = Array.from({ length: count }, (_, i) => ({
          offset: numbers[2 * i] ?? NaN,
          length: numbers[2 * i + 1] ?? NaN,
        }));
        this.#sparseFile({ entry, stored: stored - all.length, at }, pieces);
      },
    };
  }

  /** Old GNU sparse format: the map goes on in further header blocks. */
  #oldSparse(file: SparseFile, pieces: SparseMap['pieces'], more: boolean): void {
    if (!more) return this.#sparseFile(file, pieces);
    if (pieces.length * 24 > MAX_RECORDS)
      throw invalid(`the sparse map of ${toText(file.entry.path)} is too long`, file.at);
    this.#state = {
      kind: 'collect',
      size: BLOCK,
      length: BLOCK,
      done: (bytes) => {
        const further = oldSparseMap(bytes, true);
        this.#oldSparse(file, [...pieces, ...further.pieces], further.more);
      },
    };
  }

  #sparseFile({ entry, stored, at }: SparseFile, pieces: SparseMap['pieces']): void {
    const parts: Part[] = [];
    let end = 0;
    let data = 0;
    for (const { offset, length } of pieces) {
      if (!(offset >= end && length >= 0 && offset + length <= entry.size))
        throw invalid(`the sparse map of ${toText(entry.path)} is damaged`, at);
      if (offset > end) parts.push({ hole: offset - end });
      if (length > 0) parts.push({ data: length });
      end = offset + length;
      data += length;
    }
    if (data !== stored) throw invalid(`the sparse map of ${toText(entry.path)} is damaged`, at);
    if (entry.size > end) parts.push({ hole: entry.size - end });
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

/** A file of which the archive holds some pieces. */
interface SparseFile {
  /** With the size of the whole file. */
  readonly entry: TarEntry;
  /** Bytes of the archive that are its pieces, and its map where that stands before them. */
  readonly stored: number;
  /** Of its header in the archive. */
  readonly at: number;
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

function isZero(block: Buffer): boolean {
  for (let i = 0; i < BLOCK; i++) if (block[i] !== 0) return false;
  return true;
}
