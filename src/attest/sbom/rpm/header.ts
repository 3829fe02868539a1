import type { Package } from '../package';

/** Tags of a package's header (RPM, "Tags"), and the types that they have. */
const TAG = {
  name: 1000,
  version: 1001,
  release: 1002,
  epoch: 1003,
  license: 1014,
  architecture: 1022,
  source: 1044,
} as const;
const INT32 = 4;
const TEXTS = [6, 8, 9];
const MAX_ENTRIES = 65_536;
const ENTRY = 16;

/** The package that a header of rpm's database is about (RPM, "Header Structure", without its magic number). */
export function packageOfHeader(bytes: Buffer): Package | undefined {
  const values = readEntries(bytes);
  const name = values.get(TAG.name);
  const version = values.get(TAG.version);
  const release = values.get(TAG.release);
  if (name === undefined || version === undefined || release === undefined) return undefined;
  const license = values.get(TAG.license);
  return {
    type: 'rpm',
    name,
    version: `${version}-${release}`,
    epoch: values.get(TAG.epoch),
    architecture: values.get(TAG.architecture),
    licenses: license === undefined ? undefined : [license],
    source: sourceOf(values.get(TAG.source)),
  };
}

function readEntries(bytes: Buffer): ReadonlyMap<number, string> {
  const wanted: readonly number[] = Object.values(TAG);
  const count = bytes.length < 8 ? 0 : bytes.readUInt32BE(0);
  if (count > MAX_ENTRIES || bytes.length < 8 + count * ENTRY)
    throw new Error('a header of its packages is damaged');
  const data = 8 + count * ENTRY;
  const values = new Map<number, string>();
  for (let at = 8; at < data; at += ENTRY) {
    const tag = bytes.readUInt32BE(at);
    if (!wanted.includes(tag)) continue;
    const type = bytes.readUInt32BE(at + 4);
    const position = data + bytes.readUInt32BE(at + 8);
    if (type === INT32 && position + 4 <= bytes.length)
      values.set(tag, String(bytes.readUInt32BE(position)));
    else if (TEXTS.includes(type)) values.set(tag, textAt(bytes, position));
  }
  return values;
}

function textAt(bytes: Buffer, position: number): string {
  const end = bytes.indexOf(0, position);
  if (end < 0) throw new Error('a header of its packages is cut off');
  return bytes.toString('utf8', position, end);
}

/** `bash-5.2.15-3.el9.src.rpm` */
function sourceOf(file: string | undefined): Package['source'] {
  const [, name, version] = /^(.+)-([^-]+-[^-]+)\.(?:no)?src\.rpm$/.exec(file ?? '') ?? [];
  return name === undefined ? undefined : { name, version };
}
