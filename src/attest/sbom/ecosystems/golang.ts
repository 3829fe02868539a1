import { elfSections } from '../elf';
import type { Ecosystem, LayerFile, Package } from '../package';

/** Magic, size of a pointer, flags; then the strings (Go, debug/buildinfo). */
const HEADER = 32;
const MAGIC = Buffer.from('\xff Go buildinf:', 'latin1');
/** The strings stand right behind the header: since Go 1.18. */
const INLINE = 2;
/** What the linker puts around the text of the modules. */
const SENTINEL = 16;
const MAX_INFO = 16 * 1024 * 1024;

/** Programs that Go builds say what they are made of. */
export const GOLANG: Ecosystem = {
  name: 'go',
  claims: ({ executable, size }) => executable && size > 64 * 1024,
  read: (file) => {
    const section = elfSections(file).find(({ name }) => name === '.go.buildinfo');
    if (section === undefined) return [];
    const [version, modules] = readInfo(file, section);
    return [
      { type: 'golang', name: 'stdlib', version: version.replace(/^go/, '').replace(/ .*$/, '') },
      ...readModules(modules),
    ];
  },
};

/** The version of Go, and the lines about modules. */
function readInfo(
  file: LayerFile,
  { position, size }: { readonly position: number; readonly size: number },
): readonly [string, string] {
  const bytes = file.readAt(position, Math.min(size, MAX_INFO));
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw new Error('its build info is damaged');
  if (((bytes[15] ?? 0) & INLINE) === 0) throw new Error('it was built by a Go before 1.18');
  const version = stringAt(bytes, HEADER);
  const modules = stringAt(bytes, version.end);
  const text = modules.bytes.subarray(
    SENTINEL,
    Math.max(SENTINEL, modules.bytes.length - SENTINEL),
  );
  return [version.bytes.toString(), text.toString()];
}

/** A string behind its length, which is a varint. */
function stringAt(bytes: Buffer, at: number): { readonly bytes: Buffer; readonly end: number } {
  let length = 0;
  let shift = 1;
  let position = at;
  for (;;) {
    const byte = bytes[position];
    if (byte === undefined || shift > 2 ** 42) throw new Error('its build info is cut off');
    position += 1;
    length += (byte & 0x7f) * shift;
    if (byte < 0x80) break;
    shift *= 128;
  }
  return { bytes: bytes.subarray(position, position + length), end: position + length };
}

/** `mod` and `dep` lines; `=>` replaces the one before it. */
function readModules(text: string): Package[] {
  const found: Package[] = [];
  for (const line of text.split('\n')) {
    const [kind, path, version = ''] = line.split('\t');
    if (path === undefined || (kind !== 'mod' && kind !== 'dep' && kind !== '=>')) continue;
    if (kind === '=>') found.pop();
    const [namespace, name] = splitPath(path);
    // A replacement by a directory has no version.
    if (name !== '') found.push({ type: 'golang', namespace, name, version: version || '(devel)' });
  }
  return found;
}

function splitPath(path: string): [string | undefined, string] {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? [undefined, path] : [path.slice(0, slash), path.slice(slash + 1)];
}
