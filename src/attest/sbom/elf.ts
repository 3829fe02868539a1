import type { LayerFile } from './package';

/** A section of an ELF file: where its bytes are. */
export interface Section {
  readonly name: string;
  readonly position: number;
  readonly size: number;
}

const MAGIC = 0x7f454c46;
const MAX_SECTIONS = 4096;
const MAX_NAMES = 1024 * 1024;

/** The sections of an ELF file (ELF specification, "Sections"); none for another file, or one without a section table. */
export function elfSections(file: Pick<LayerFile, 'readAt'>): Section[] {
  const header = file.readAt(0, 64);
  if (header.length < 52 || header.readUInt32BE(0) !== MAGIC) return [];
  const layout = layoutOf(header);
  const { count, entrySize, names, tableAt } = layout;
  if (count === 0 || count > MAX_SECTIONS || entrySize < (layout.wide ? 64 : 40)) return [];
  const table = file.readAt(tableAt, count * entrySize);
  const sections = Array.from({ length: Math.floor(table.length / entrySize) }, (_, i) =>
    layout.section(table.subarray(i * entrySize, (i + 1) * entrySize)),
  );
  const strings = sections[names];
  if (strings === undefined || strings.size > MAX_NAMES) return [];
  const text = file.readAt(strings.position, strings.size);
  return sections.map(({ name, position, size }) => ({ name: nameAt(text, name), position, size }));
}

interface Raw {
  readonly name: number;
  readonly position: number;
  readonly size: number;
}

interface Layout {
  readonly wide: boolean;
  readonly tableAt: number;
  readonly entrySize: number;
  readonly count: number;
  /** The index of the section with the names. */
  readonly names: number;
  readonly section: (bytes: Buffer) => Raw;
}

function layoutOf(header: Buffer): Layout {
  const wide = header[4] === 2;
  const little = header[5] === 1;
  const u16 = (bytes: Buffer, at: number): number =>
    little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at);
  const u32 = (bytes: Buffer, at: number): number =>
    little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at);
  const word = (bytes: Buffer, at: number): number => {
    if (!wide) return u32(bytes, at);
    return Number(little ? bytes.readBigUInt64LE(at) : bytes.readBigUInt64BE(at));
  };
  return {
    wide,
    tableAt: word(header, wide ? 40 : 32),
    entrySize: u16(header, wide ? 58 : 46),
    count: u16(header, wide ? 60 : 48),
    names: u16(header, wide ? 62 : 50),
    section: (bytes) => ({
      name: u32(bytes, 0),
      position: word(bytes, wide ? 24 : 16),
      size: word(bytes, wide ? 32 : 20),
    }),
  };
}

function nameAt(text: Buffer, at: number): string {
  const end = text.indexOf(0, at);
  return text.toString('latin1', at, end < 0 ? text.length : end);
}
