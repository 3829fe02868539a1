import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  fileSystemName,
  openGround,
  storeObstacle,
  type GroundProbes,
} from '../../src/snapshot/ground';
import { describeWith } from '../support/needs';
import { useTemp } from '../support/temp';

const temp = useTemp();
const LOCAL: GroundProbes = {
  fileSystem: () => 'ext4',
  confinement: () => 'here',
  canMount: () => false,
  refusesOverlay: () => undefined,
};
const NEVER: GroundProbes = {
  fileSystem: never,
  confinement: () => 'here',
  canMount: never,
  refusesOverlay: never,
};

function never(): never {
  throw new Error('asked again');
}

// linux/magic.h, and the headers of those that are not in it.
test.each([
  [0xef53, 'ext4'],
  [0x58465342, 'xfs'],
  [0x01021994, 'tmpfs'],
  [0x794c7630, 'overlay'],
  [0x6969, 'nfs'],
  [0xff534d42, 'cifs'],
  [0xfe534d42, 'smb'],
  [0x00c36400, 'ceph'],
  [0x65735546, 'fuse'],
  [0x1234, '0x1234'],
])('the file system of the number %i is called %s', (type, name) =>
  expect(fileSystemName(type)).toBe(name),
);

test.each(['nfs', 'cifs', 'smb', 'ceph', 'lustre', 'gpfs', 'afs'])(
  'a store on %s is refused with the reason and the way out, and left as it was',
  async (name) => {
    const root = temp.dir();
    await expect(openGround(root, { ...NEVER, fileSystem: () => name })).rejects.toEqual(
      expect.objectContaining({
        code: 'STORE_UNUSABLE',
        message: expect.stringContaining(
          `the store ${root} is on ${name}: several machines can share ${name}`,
        ),
        hint: expect.stringContaining('--root'),
      }),
    );
    expect(existsSync(join(root, 'ground.json'))).toBe(false);
  },
);

test.each(['ext4', 'tmpfs', 'overlay', 'fuse', '9p', '0x1234'])('a store may be on %s', (name) =>
  expect(storeObstacle(name)).toBeUndefined(),
);

test('what was found when a store was made holds wherever it is later', async () => {
  const root = temp.dir();
  const made = await openGround(root, LOCAL);
  expect(await openGround(root, { ...NEVER, fileSystem: () => 'nfs' })).toEqual(made);
});

test('why no overlay can be mounted is kept', async () => {
  const root = temp.dir();
  await openGround(root, {
    ...LOCAL,
    canMount: () => true,
    refusesOverlay: () => 'cannot mount overlay (EINVAL)',
  });
  expect(await openGround(root, NEVER)).toMatchObject({
    canMount: true,
    reason: 'cannot mount overlay (EINVAL)',
  });
});

test('a file that mbuild did not write is no ground', async () => {
  const root = temp.dir();
  writeFileSync(join(root, 'ground.json'), '{"marks":"others"}');
  await expect(openGround(root, LOCAL)).rejects.toEqual(
    expect.objectContaining({ code: 'STORE_UNUSABLE' }),
  );
});

test('what can be mounted is tried out again where the process is confined otherwise, and by who may mount at all', async () => {
  const root = temp.dir();
  await openGround(root, { ...LOCAL, confinement: () => undefined });
  const container = {
    ...NEVER,
    confinement: () => 'container',
    canMount: () => true,
    refusesOverlay: () => undefined,
  };
  expect(await openGround(root, { ...NEVER, confinement: () => undefined })).toMatchObject({
    canMount: false,
  });
  expect(await openGround(root, container)).toMatchObject({ canMount: true });
  expect(await openGround(root, { ...NEVER, confinement: () => 'container' })).toMatchObject({
    canMount: true,
  });
  expect(
    await openGround(root, { ...container, confinement: () => 'another', canMount: () => false }),
  ).toMatchObject({ canMount: false });
  expect(
    await openGround(root, {
      ...container,
      confinement: () => 'container',
      refusesOverlay: () => 'cannot mount overlay (EINVAL)',
    }),
  ).toMatchObject({ canMount: true, reason: 'cannot mount overlay (EINVAL)' });
});

describeWith(
  'a file system that shows hard links late',
  {
    root: true,
    programs: ['bindfs'],
    also: () => (existsSync('/dev/fuse') ? undefined : '/dev/fuse does not exist'),
  },
  () => {
    test.each([
      [[], 'is refused'],
      [['-o', 'attr_timeout=0'], 'is taken when it shows them at once'],
    ])('%j %s', async (options) => {
      const mount = temp.dir('mount');
      execFileSync('bindfs', [...options, temp.dir('under'), mount]);
      try {
        const root = join(mount, 'store');
        mkdirSync(root);
        const opened = openGround(root, { ...LOCAL, fileSystem: () => 'fuse' });
        if (options.length > 0) return expect((await opened).format).toBeGreaterThan(0);
        await expect(opened).rejects.toMatchObject({
          code: 'STORE_UNUSABLE',
          message: expect.stringContaining('does not show hard links at once'),
        });
        expect(readdirSync(root)).toEqual([]);
      } finally {
        execFileSync('umount', [mount]);
      }
    });
  },
);
