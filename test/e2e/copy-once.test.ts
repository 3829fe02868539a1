import {
  chmodSync,
  linkSync,
  readdirSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setXattr } from '../../src/linux/xattr';
import { Mbuild, instructionSteps } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

const CAPABILITY = Buffer.from('0100000200040000000000000000000000000000', 'hex');
const FILES = 150;

describeWith('a COPY that must be made is made while its files are read', { root: true }, () => {
  const temp = useTemp();

  /** More files than one worker is given at once, and of every kind. */
  function makeContext(dockerfile: string): string {
    const files = Object.fromEntries(
      Array.from({ length: FILES }, (_, i) => [`src/d${i % 7}/f${i}`, `content ${i % 50}\n`]),
    );
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: dockerfile,
      '.dockerignore': 'Dockerfile\n',
      ...files,
      'src/large': 'x'.repeat(700_000),
      'src/empty': '',
      'src/run.sh': '#!/bin/sh\n',
    });
    chmodSync(join(context, 'src/run.sh'), 0o4755);
    setXattr(join(context, 'src/d1/f1'), 'security.capability', CAPABILITY);
    linkSync(join(context, 'src/large'), join(context, 'src/d0/link'));
    symlinkSync('../large', join(context, 'src/d0/symlink'));
    return context;
  }

  async function layersOf(mbuild: Mbuild, ...args: string[]): Promise<string[]> {
    await mbuild.build(['-t', 'x', ...args]);
    return (await mbuild.inspect('x')).RootFS.Layers;
  }

  const unfinished = (mbuild: Mbuild): string[] => readdirSync(join(mbuild.root, 'active'));

  it.each([
    'COPY src /data/',
    'COPY --chown=5:6 --chmod=u=rwX,go=rX src /data/',
    'COPY --exclude=d3 src /data/',
    'COPY src/large /data',
    'COPY src/d1/f* /',
  ])('and leaves the layer that it leaves otherwise: %s', async (instruction) => {
    const context = makeContext(`FROM scratch\n${instruction}\n`);
    const mbuild = new Mbuild(temp.dir('store'));
    const [made] = await layersOf(mbuild, context);
    expect(await layersOf(mbuild, '--no-cache', context)).toEqual([made]);
    expect(
      instructionSteps((await mbuild.build([context])).steps).map(({ cached }) => cached),
    ).toEqual([true]);
    expect(unfinished(mbuild)).toEqual([]);

    const other = new Mbuild(temp.dir('store'));
    // What was copied onto the tree before may be the same: files are read for the key alone.
    await other.build(['-f', '-', context], { input: 'FROM scratch\nCOPY src/empty /\n' });
    expect(await layersOf(other, context)).toEqual([made]);
  });

  describe('of large files, which key and layer are made of at the same time,', () => {
    /** Two files of 40 MB, which are mostly holes. */
    function makeLarge(): string {
      const context = writeFiles(temp.dir('context'), {
        Dockerfile: 'FROM scratch\nCOPY . /data/\n',
        '.dockerignore': 'Dockerfile\n',
        'in/a': 'a',
        b: 'b',
      });
      for (const file of ['in/a', 'b']) truncateSync(join(context, file), 40 << 20);
      return context;
    }

    it.each([
      ['', []],
      [', at a time', ['--build-arg', 'SOURCE_DATE_EPOCH=1000000000']],
      [', searched for a secret', ['--secret', 'id=token,env=TOKEN']],
      [
        ', and leaves compressed',
        ['--output', 'type=oci,dest=image.tar', '--output', 'type=image'],
      ],
    ])('and leaves the layer that it leaves otherwise%s', async (_, args) => {
      const context = makeLarge();
      const [mbuild, other] = [new Mbuild(temp.dir('store')), new Mbuild(temp.dir('store'))];
      const options = { cwd: temp.dir('out'), env: { TOKEN: 'of a secret' } };
      await mbuild.build([...args, '-t', 'x', context], options);
      await other.build(['-f', '-', context], { input: 'FROM scratch\nCOPY .dockerignore /\n' });
      await other.build([...args, '-t', 'x', context], options);
      expect((await mbuild.inspect('x')).RootFS.Layers).toEqual(
        (await other.inspect('x')).RootFS.Layers,
      );
      expect(await mbuild.ok(['system', 'check'])).toMatch(/nothing is wrong/);
      expect(
        instructionSteps((await mbuild.build([...args, context], options)).steps).map(
          ({ cached }) => cached,
        ),
      ).toEqual([true]);
      expect(unfinished(mbuild)).toEqual([]);
    });
  });

  it('and is found by the next build, in which nothing is read', async () => {
    const context = makeContext('FROM scratch\nCOPY src /data/\n');
    const mbuild = new Mbuild(temp.dir('store'));
    const { id } = await mbuild.build([context]);
    const again = await mbuild.build([context]);
    expect(again.id).toBe(id);
    expect(instructionSteps(again.steps).map(({ cached }) => cached)).toEqual([true]);
    writeFileSync(join(context, 'src/d2/f2'), 'changed\n');
    expect((await mbuild.build([context])).id).not.toBe(id);
  });

  it('once where stages ask for it at the same time, and leaves nothing else behind', async () => {
    const context = makeContext(
      'FROM scratch AS a\nCOPY src /data/\nFROM scratch AS b\nCOPY src /data/\nFROM scratch\nCOPY --from=a /data /a\nCOPY --from=b /data /b\n',
    );
    const mbuild = new Mbuild(temp.dir('store'));
    await mbuild.build([context]);
    expect(unfinished(mbuild)).toEqual([]);
    expect(readdirSync(join(mbuild.root, 'layers'))).toHaveLength(3);
  });

  it('and leaves nothing behind when it cannot be made', async () => {
    const context = makeContext('FROM scratch\nWORKDIR /data/src/large\nCOPY . /data/\n');
    const mbuild = new Mbuild(temp.dir('store'));
    const { code, stderr } = await mbuild.run(['build', context]);
    expect(code).toBe(1);
    expect(stderr).toContain('cannot replace directory /data/src/large with a file');
    expect(unfinished(mbuild)).toEqual([]);
  });
});
