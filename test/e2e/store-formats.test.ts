import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bePresent } from '../../src/content/presence';
import { digestOf, hexOf } from '../../src/oci/digest';
import { FORMAT } from '../../src/snapshot/ground-file';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp } from '../support/temp';

const STORES = join(__dirname, '../../fixtures/stores');
const NAMES = ['app:1', 'app:2', 'example.com/app:3'];

// test/support/record-store.sh makes them; their layers have owners.
describeWith('a store of an earlier version', { root: true }, () => {
  const temp = useTemp();

  /** A copy of the store that a version with this format made. */
  function storeOf(format: number): Mbuild {
    const root = temp.dir('store');
    execFileSync('tar', ['-C', root, '-xzf', join(STORES, `format-${format}.tar.gz`)]);
    return new Mbuild(root);
  }

  const names = async (mbuild: Mbuild): Promise<string[]> =>
    (await mbuild.ok(['images', '--format', '{{.Repository}}:{{.Tag}}'])).trim().split('\n').sort();
  const formatOf = (mbuild: Mbuild): number =>
    (JSON.parse(readFileSync(join(mbuild.root, 'ground.json'), 'utf8')) as { format?: number })
      .format ?? 1;

  test('of every format is kept', () =>
    expect(readdirSync(STORES).sort()).toEqual(
      Array.from({ length: FORMAT }, (_, i) => `format-${i + 1}.tar.gz`),
    ));

  describe.each(Array.from({ length: FORMAT }, (_, i) => i + 1))('format %i', (format) => {
    test('has its images, which are sound, and loses them by name and id', async () => {
      const mbuild = storeOf(format);
      expect(await names(mbuild)).toEqual(NAMES);
      expect(formatOf(mbuild)).toBe(FORMAT);
      await mbuild.ok(['system', 'check']);
      await mbuild.ok(['rmi', 'app:2']);
      expect(await names(mbuild)).toEqual(['app:1', 'example.com/app:3']);
      await mbuild.ok(['rmi', '-f', (await mbuild.inspect('app:1')).Id]);
      expect(await mbuild.ok(['images', '-q'])).toBe('');
      await mbuild.ok(['prune', '-af']);
      expect(readdirSync(join(mbuild.root, 'chains'))).toEqual([]);
    });

    test('is built in', async () => {
      const mbuild = storeOf(format);
      await mbuild.build(['-f', '-', '-t', 'more', temp.dir('context')], {
        input: 'FROM app:1\nWORKDIR /made\n',
      });
      const tree = temp.dir('tree');
      await mbuild.build(['-f', '-', '--output', tree, temp.dir('context')], {
        input: 'FROM more\n',
      });
      expect(readFileSync(join(tree, 'hello.txt'), 'utf8')).toBe('hello\n');
    });
  });

  test('that another process uses stays usable for it: what that one names meanwhile is seen', async () => {
    const mbuild = storeOf(1);
    const leave = bePresent(mbuild.root);
    try {
      await mbuild.ok(['tag', 'app:1', 'mine']);
      const { Id: id } = await mbuild.inspect('app:1');
      // As the versions of format 1 give a name: its record, and no list.
      const name = 'docker.io/library/theirs:latest';
      const directory = join(mbuild.root, 'names', hexOf(digestOf(name)));
      mkdirSync(directory);
      writeFileSync(
        join(directory, 'linux-amd64.json'),
        JSON.stringify({ name, id, platform: 'linux/amd64', updated: 0 }),
      );
      expect(await names(mbuild)).toEqual([...NAMES, 'mine:latest', 'theirs:latest'].sort());
      expect(formatOf(mbuild)).toBe(1);
      await mbuild.ok(['rmi', '-f', id]);
      expect(readdirSync(join(mbuild.root, 'names'))).toEqual([]);
    } finally {
      leave();
    }
  });

  test.each([
    ['images'],
    ['prune', '-af'],
    ['system', 'check', '--repair'],
    ['builds'],
    ['cache-mount', 'ls'],
    ['cache-mount', 'prune', '--all'],
  ])('that is newer is refused in words, and left as it is: %s %s', async (...command) => {
    const mbuild = storeOf(FORMAT);
    const file = join(mbuild.root, 'ground.json');
    const newer = `{"format":${FORMAT + 1},"what":"nobody knows yet"}`;
    writeFileSync(file, newer);
    const listed = (): string =>
      execFileSync('find', [mbuild.root, '-printf', '%p %T@\n']).toString();
    const before = listed();
    const { code, stderr } = await mbuild.run(command);
    expect(stderr).toContain(`has format ${FORMAT + 1}, which a newer mbuild made`);
    expect(stderr).toContain('[STORE_UNUSABLE] hint: update mbuild');
    expect(code).toBe(1);
    expect(listed()).toBe(before);
  });
});
