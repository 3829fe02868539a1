/** Ways in which an archive's names try to leave the place that it is unpacked to. */
export type HostileName =
  | 'parent-name'
  | 'parent-in-the-middle'
  | 'absolute-name'
  | 'through-a-symlink'
  | 'through-an-absolute-symlink'
  | 'hard-link-outside';

/**
 * A ustar archive that tries to write a file `mbuild-hostile` outside; symlinks lead to `outside`,
 * an empty directory of the host.
 */
export function hostileTar(kind: HostileName, outside: string): Buffer {
  const up = '../'.repeat(20);
  switch (kind) {
    case 'parent-name':
      return archive(file(`${up}mbuild-hostile`));
    case 'parent-in-the-middle':
      return archive(file(`a/${up}mbuild-hostile`));
    case 'absolute-name':
      return archive(file('/mbuild-hostile'));
    case 'through-a-symlink':
      return archive(
        link('2', 'escape', `${up.slice(0, -1)}${outside}`),
        file('escape/mbuild-hostile'),
      );
    case 'through-an-absolute-symlink':
      return archive(link('2', 'escape', outside), file('escape/mbuild-hostile'));
    case 'hard-link-outside':
      return archive(link('1', 'passwd', `${up}etc/passwd`));
  }
}

function archive(...entries: Buffer[]): Buffer {
  return Buffer.concat([...entries, Buffer.alloc(1024)]);
}

function file(name: string): Buffer {
  const content = Buffer.alloc(512);
  content.write('hostile\n');
  return Buffer.concat([header(name, '0', 8, ''), content]);
}

function link(type: '1' | '2', name: string, target: string): Buffer {
  return header(name, type, 0, target);
}

/** POSIX.1-1988 ustar header. */
function header(name: string, type: string, size: number, target: string): Buffer {
  const block = Buffer.alloc(512);
  const octal = (value: number, digits: number): string =>
    `${value.toString(8).padStart(digits, '0')}\0`;
  block.write(name, 0, 100);
  block.write(octal(0o644, 7), 100);
  block.write(octal(0, 7), 108);
  block.write(octal(0, 7), 116);
  block.write(octal(size, 11), 124);
  block.write(octal(1_700_000_000, 11), 136);
  block.write(' '.repeat(8), 148);
  block.write(type, 156);
  block.write(target, 157, 100);
  block.write('ustar\x0000', 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}
