import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { toRaw } from '../../src/linux/paths';
import { setXattr } from '../../src/linux/xattr';
import { smallBase } from '../support/bases';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp } from '../support/temp';

/** Entries of `system.posix_acl_default`: tag, permissions, id; linux/posix_acl_xattr.h. */
const DEFAULT_ACL = [
  [0x01, 7, -1],
  [0x02, 7, 1234],
  [0x04, 5, -1],
  [0x10, 7, -1],
  [0x20, 5, -1],
] as const;

function aclOf(entries: readonly (readonly [number, number, number])[]): Buffer {
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(2, 0);
  entries.forEach(([tag, permissions, id], i) => {
    bytes.writeUInt16LE(tag, 4 + 8 * i);
    bytes.writeUInt16LE(permissions, 6 + 8 * i);
    bytes.writeInt32LE(id, 8 + 8 * i);
  });
  return bytes;
}

const DOCKERFILE = `FROM small-base
RUN mkdir -p /made/deeper && touch /made/file && echo more >> /etc/group
COPY file /copied/file
WORKDIR /work
`;

describeWith('what a directory gives to those in it', { root: true }, () => {
  const temp = useTemp();
  let base: string;

  beforeAll(async () => {
    const mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    base = join(temp.dir('archive'), 'base.tar');
    await mbuild.ok(['save', '-o', base, 'small-base']);
  });

  /** The digest of what a build makes in a store at this path. */
  async function built(root: string, flags: readonly string[]): Promise<string> {
    const mbuild = new Mbuild(root, { SOURCE_DATE_EPOCH: '1700000000' });
    await mbuild.ok(['load', '-i', base]);
    const context = temp.dir('context');
    writeFileSync(join(context, 'file'), 'text');
    return (await mbuild.build([...flags, '-f', '-', context], { input: DOCKERFILE })).id;
  }

  test.each([[[]], [['--snapshotter=copy']]])(
    'reaches no layer when the store is below it: %j',
    async (flags) => {
      const parent = temp.dir('parent');
      chownSync(parent, 0, 4321);
      chmodSync(parent, 0o2775);
      setXattr(toRaw(parent), 'system.posix_acl_default', aclOf(DEFAULT_ACL));
      const existing = join(parent, 'existing');
      mkdirSync(existing);
      const expected = await built(temp.dir('store'), flags);
      expect(await built(join(parent, 'made/by/mbuild'), flags)).toBe(expected);
      expect(await built(existing, flags)).toBe(expected);
    },
  );
});
