import { inflateSync } from 'node:zlib';
import { elfSections } from '../elf';
import { listIn, objectIn } from '../json';
import { textIn, type Ecosystem } from '../package';

const MAX_INFO = 8 * 1024 * 1024;

/** Programs that cargo-auditable builds hold the list of their crates (rust-secure-code/cargo-auditable, PARSING.md). */
export const CARGO: Ecosystem = {
  name: 'cargo',
  claims: ({ executable, size }) => executable && size > 4 * 1024,
  read: (file) => {
    const section = elfSections(file).find(({ name }) => name === '.dep-v0');
    if (section === undefined) return [];
    const packed = file.readAt(section.position, Math.min(section.size, MAX_INFO));
    const text = inflateSync(packed, { maxOutputLength: MAX_INFO }).toString();
    return listIn(objectIn(JSON.parse(text))['packages']).flatMap((each) => {
      const { name, version, kind } = objectIn(each);
      const crate = textIn(name);
      const number = textIn(version);
      // What only builds the program is not in it.
      if (crate === undefined || number === undefined || kind === 'build') return [];
      return [{ type: 'cargo', name: crate, version: number }];
    });
  },
};
