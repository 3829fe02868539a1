import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bePresent } from '../../src/content/presence';
import { openGround, type GroundProbes } from '../../src/snapshot/ground';
import { FORMAT, readGround } from '../../src/snapshot/ground-file';
import { useTemp } from '../support/temp';

const temp = useTemp();
const PROBES: GroundProbes = {
  fileSystem: () => 'ext4',
  confinement: () => undefined,
  canMount: () => false,
  refusesOverlay: () => undefined,
};
const FIRST = '{"marks":"files","canMount":false,"owners":"kernel"}\n';

const fileOf = (root: string): string => join(root, 'ground.json');
const textOf = (root: string): string => readFileSync(fileOf(root), 'utf8');

/** A store of the first format. */
function firstStore(): string {
  const root = temp.dir();
  writeFileSync(fileOf(root), FIRST);
  mkdirSync(join(root, 'tags'));
  writeFileSync(join(root, 'tags/of-a-version-between'), 'boot\n');
  return root;
}

test('a new store has the format of today, and no marks where the first versions look', async () => {
  const root = temp.dir();
  await openGround(root, PROBES);
  const text = JSON.parse(textOf(root)) as Record<string, unknown>;
  expect(text).toMatchObject({ format: FORMAT, ground: { owners: 'kernel' } });
  expect(text['marks']).toBeUndefined();
});

test('a store of the first format is brought up to date, without lists that others may not have kept', async () => {
  const root = firstStore();
  const ground = await openGround(root, PROBES);
  expect(ground).toMatchObject({ format: FORMAT, marks: 'files', canMount: false });
  expect(readGround(root)).toEqual(ground);
  expect(existsSync(join(root, 'tags'))).toBe(false);
});

test('while another process uses it, it stays what it is', async () => {
  const root = firstStore();
  const leave = bePresent(root);
  expect((await openGround(root, PROBES)).format).toBe(1);
  expect(textOf(root)).toBe(FIRST);
  leave();
  expect((await openGround(root, PROBES)).format).toBe(FORMAT);
});

test.each([
  [{ format: FORMAT + 1, ground: { marks: 'files' } }, `has format ${FORMAT + 1}`],
  [{ format: FORMAT + 7 }, `has format ${FORMAT + 7}`],
  [{ format: 'next' }, 'is not what mbuild writes'],
  [{ format: FORMAT, ground: null }, 'is not what mbuild writes'],
  [[], 'is not what mbuild writes'],
])('%j is refused in words, and left as it is', async (content, message) => {
  const root = temp.dir();
  writeFileSync(fileOf(root), JSON.stringify(content));
  mkdirSync(join(root, 'tags'));
  await expect(openGround(root, PROBES)).rejects.toEqual(
    expect.objectContaining({
      code: 'STORE_UNUSABLE',
      message: expect.stringContaining(message),
      hint: expect.stringContaining('--root'),
    }),
  );
  expect(textOf(root)).toBe(JSON.stringify(content));
  expect(existsSync(join(root, 'tags'))).toBe(true);
});
