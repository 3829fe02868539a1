import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { smallBaseTar } from '../support/bases';
import { cleanEnv } from '../support/command';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';
import { listTree, treeDifference } from '../support/tree';

const FILES = 2000;
const IMAGES = 20;
const BIG = 32 * 2 ** 20;

describeWith(
  'images that share a base',
  { root: true, programs: ['tar', 'python3', 'find', 'du'] },
  () => {
    const temp = useTemp();
    let mbuild: Mbuild;
    let before: { bytes: number; inodes: number };
    let layer: string;
    let baseTree: ReturnType<typeof listTree>;

    beforeAll(async () => {
      mbuild = new Mbuild(temp.dir('store'));
      await mbuild.ok(['import', baseTar(), 'shared-base']);
      before = usage();
      [layer = ''] = layersWith('base-marker');
      baseTree = listTree(layer, { mtime: true });

      // Every build writes over, deletes and re-owns files of the base.
      const context = temp.dir('context');
      for (let i = 0; i < IMAGES; i++) {
        const run = `RUN echo ${i} > /data/1 && rm /data/2 && chmod 600 /data/3 && chown app /data && mv /data/4 /data/moved && echo ${i} >> /base-marker`;
        writeFiles(context, {
          Dockerfile: `FROM shared-base\n${run}\nCOPY Dockerfile /data/5\nWORKDIR /data/6-${i}\n`,
        });
        await mbuild.build(['-t', `image-${i}`, context]);
      }
    });

    it('store the base once', () => {
      const after = usage();
      expect(after.bytes - before.bytes).toBeLessThan(BIG);
      expect(after.inodes - before.inodes).toBeLessThan(FILES);
    });

    it('have one record of every layer of the base', async () => {
      const layers = new Set<string>();
      for (let i = 0; i < IMAGES; i++)
        layers.add((await mbuild.inspect(`image-${i}`)).RootFS.Layers[0] ?? '');
      expect([...layers]).toEqual([(await mbuild.inspect('shared-base')).RootFS.Layers[0]]);
    });

    it('never write below their writable layer', () => {
      expect(treeDifference(baseTree, listTree(layer, { mtime: true }))).toEqual([]);
    });

    it('each have their own changes', async () => {
      for (const i of [0, IMAGES - 1])
        expect(
          (await mbuild.run(['run', '--rm', `image-${i}`, 'cat', '/data/1', '/base-marker']))
            .stdout,
        ).toBe(`${i}\nmarker\n${i}\n`);
      expect(
        (await mbuild.run(['run', '--rm', 'shared-base', 'cat', '/data/1', '/base-marker'])).stdout,
      ).toBe('1\nmarker\n');
    });

    it('keep the base when one of them is removed, and lose it with the last', async () => {
      await mbuild.ok(['rmi', 'image-0']);
      expect((await mbuild.run(['run', '--rm', 'image-1', 'cat', '/data/1'])).stdout).toBe('1\n');
    });

    function baseTar(): string {
      const work = temp.dir('base');
      const root = join(work, 'root');
      mkdirSync(root);
      execFileSync('tar', ['-xpf', smallBaseTar(work), '-C', root], { env: cleanEnv() });
      const data: Record<string, string | Uint8Array> = {
        'base-marker': 'marker\n',
        big: Buffer.alloc(BIG, 'b'),
      };
      for (let i = 1; i <= FILES; i++) data[`data/${i}`] = `${i}\n`;
      writeFiles(root, data);
      execFileSync('tar', ['-cf', join(work, 'base.tar'), '-C', root, '.'], { env: cleanEnv() });
      return join(work, 'base.tar');
    }

    function usage(): { bytes: number; inodes: number } {
      const du = (flag: string): number =>
        Number(execFileSync('du', ['-s', flag, mbuild.root]).toString().split('\t')[0]);
      return { bytes: du('--block-size=1'), inodes: du('--inodes') };
    }

    function layersWith(file: string): string[] {
      return execFileSync('find', [mbuild.root, '-name', file])
        .toString()
        .split('\n')
        .filter(Boolean)
        .map(dirname);
    }
  },
);
