import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { linkOwner, setLinkOwner } from '../../src/linux/link-owners';
import { getXattr, listXattrs, setXattr } from '../../src/linux/xattr';

describe('owners of symbolic links, kept in their directory', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'links-'));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  const link = (name: string): void => symlinkSync('x', join(dir, name));

  test('nothing is said of a link until somebody says it', () =>
    expect(linkOwner(dir, 'a')).toBeUndefined());

  test('each name has its owner, and giving all back to root leaves nothing', () => {
    for (const name of ['a', 'b', 'c']) link(name);
    setLinkOwner(dir, 'a', { uid: 5, gid: 6 });
    setLinkOwner(dir, 'b', { uid: 7, gid: 8 });
    expect([linkOwner(dir, 'a'), linkOwner(dir, 'b'), linkOwner(dir, 'c')]).toEqual([
      { uid: 5, gid: 6 },
      { uid: 7, gid: 8 },
      { uid: 0, gid: 0 },
    ]);
    setLinkOwner(dir, 'a', { uid: 0, gid: 0 });
    setLinkOwner(dir, 'b', { uid: 0, gid: 0 });
    expect(listXattrs(dir)).toEqual([]);
  });

  test('a directory of thousands of links needs little room, whoever owns them', () => {
    const names = Array.from({ length: 2000 }, (_, i) => `a-long-name-of-a-program-${i}`);
    for (const name of names) {
      link(name);
      setLinkOwner(dir, name, { uid: 1000, gid: 1000 });
    }
    setLinkOwner(dir, 'a-long-name-of-a-program-7', { uid: 0, gid: 0 });
    expect(names.filter((name) => linkOwner(dir, name)?.uid !== 1000)).toEqual([
      'a-long-name-of-a-program-7',
    ]);
    expect(getXattr(dir, 'user.mbuild.links')?.length).toBeLessThan(1100);
  });

  test('too many owners for an attribute are an error that names the directory', () => {
    const all = Array.from({ length: 300 }, (_, i) => i);
    for (const i of all) link(`name-of-a-link-that-has-an-owner-of-its-own-${i}`);
    expect(() => {
      for (const i of all)
        setLinkOwner(dir, `name-of-a-link-that-has-an-owner-of-its-own-${i}`, {
          uid: i % 20,
          gid: 0,
        });
    }).toThrow(`the symbolic links in ${dir} have too many owners`);
  });

  test.each(['', 'nonsense', '1:2:3', '-1:0', '99999999999:0//1:x/a', '0:0//5:6'])(
    'what a step wrote there that is not valid counts as nothing: %j',
    (text) => {
      setXattr(dir, 'user.mbuild.links', Buffer.from(text));
      expect(linkOwner(dir, 'a') ?? { uid: 0, gid: 0 }).toEqual({ uid: 0, gid: 0 });
    },
  );
});
