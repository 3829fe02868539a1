import {
  existsSync,
  linkSync,
  lstatSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { Mbuild, instructionSteps } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

const FILES = 100;

describeWith('a COPY whose sources were edited', { root: true }, () => {
  const temp = useTemp();

  function makeContext(dockerfile: string): string {
    const files = Object.fromEntries(
      Array.from({ length: FILES }, (_, i) => [`src/d${i % 7}/f${i}`, `content ${100 + i}\n`]),
    );
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: dockerfile,
      '.dockerignore': 'Dockerfile\n',
      ...files,
    });
    // Of one size and time, so that the content alone tells them apart.
    for (const file of Object.keys(files)) utimesSync(join(context, file), 1e9, 1e9);
    return context;
  }

  async function layersOf(mbuild: Mbuild, context: string, ...args: string[]): Promise<string[]> {
    await mbuild.build(['-t', 'x', ...args, context]);
    return (await mbuild.inspect('x')).RootFS.Layers;
  }

  /** The layers that have a file, in the order in which they were made. */
  function copiesOf(mbuild: Mbuild, path: string): string[] {
    const folder = join(mbuild.root, 'layers');
    return readdirSync(folder)
      .map((id) => join(folder, id, path))
      .filter((file) => existsSync(file))
      .sort((a, b) => statSync(join(a, '..')).birthtimeMs - statSync(join(b, '..')).birthtimeMs);
  }

  const inodes = (files: readonly string[]): number[] => files.map((file) => lstatSync(file).ino);

  /** Builds, edits, builds; what the second build leaves must be what an empty store has of it. */
  async function buildTwice(context: string, edit: () => void, ...args: string[]): Promise<Mbuild> {
    const mbuild = new Mbuild(temp.dir('store'));
    await layersOf(mbuild, context, ...args);
    edit();
    const layers = await layersOf(mbuild, context, ...args);
    expect(layers).toEqual(await layersOf(new Mbuild(temp.dir('store')), context, ...args));
    return mbuild;
  }

  it.each([
    'COPY src /data/',
    'COPY --chown=5:6 --chmod=u=rwX,go=rX src /data/',
    'COPY --exclude=d3 src /data/',
  ])(
    'takes over the files that were not, and leaves what it leaves otherwise: %s',
    async (instruction) => {
      const context = makeContext(`FROM scratch\n${instruction}\n`);
      const mbuild = await buildTwice(context, () =>
        writeFileSync(join(context, 'src/d1/f1'), 'edited\n'),
      );
      const [before, after] = copiesOf(mbuild, 'data/d2/f2');
      expect(inodes([before ?? ''])).toEqual(inodes([after ?? '']));
      expect(copiesOf(mbuild, 'data/d1/f1').map((file) => readFileSync(file, 'utf8'))).toEqual([
        'content 101\n',
        'edited\n',
      ]);
    },
  );

  it('takes over nothing of a file that has another content and the same size and times', async () => {
    const context = makeContext('FROM scratch\nCOPY src /data/\n');
    const file = join(context, 'src/d2/f2');
    const mbuild = await buildTwice(context, () => {
      writeFileSync(file, 'CONTENT 102\n');
      utimesSync(file, 1e9, 1e9);
    });
    expect(copiesOf(mbuild, 'data/d2/f2').map((copy) => readFileSync(copy, 'utf8'))).toEqual([
      'content 102\n',
      'CONTENT 102\n',
    ]);
  });

  it('takes over nothing of a file whose time alone changed', async () => {
    const context = makeContext('FROM scratch\nCOPY src /data/\n');
    const mbuild = await buildTwice(context, () => {
      utimesSync(join(context, 'src/d2/f2'), 2e9, 2e9);
      writeFileSync(join(context, 'src/d1/f1'), 'edited\n');
    });
    expect(
      copiesOf(mbuild, 'data/d2/f2')
        .map((copy) => statSync(copy).mtimeMs)
        .at(-1),
    ).toBe(2e12);
  });

  it('keeps apart what was one file under two names, and joins what was two', async () => {
    const context = makeContext('FROM scratch\nCOPY src /data/\n');
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => join(context, 'src', name)) as [
      string,
      string,
      string,
      string,
    ];
    for (const file of [a, c, d]) writeFileSync(file, 'same\n');
    linkSync(a, b);
    for (const file of [a, c, d]) utimesSync(file, 1e9, 1e9);
    const mbuild = await buildTwice(context, () => {
      rmSync(b);
      writeFileSync(b, 'same\n');
      utimesSync(b, 1e9, 1e9);
      rmSync(d);
      linkSync(c, d);
    });
    const last = ['a', 'b', 'c', 'd'].map(
      (name) => lstatSync(copiesOf(mbuild, `data/${name}`).at(-1) ?? '').ino,
    );
    expect(last[0]).not.toBe(last[1]);
    expect(last[2]).toBe(last[3]);
  });

  it('takes over nothing where another file has the place of the one that was copied', async () => {
    const context = makeContext('FROM scratch\nCOPY src /data/\n');
    await buildTwice(context, () => {
      renameSync(join(context, 'src/d1'), join(context, 'src/d9'));
      renameSync(join(context, 'src/d2'), join(context, 'src/d1'));
    });
  });

  it('keeps its files when the earlier layer goes', async () => {
    const context = makeContext('FROM scratch\nCOPY src /data/\n');
    const mbuild = await buildTwice(context, () =>
      writeFileSync(join(context, 'src/d1/f1'), 'edited\n'),
    );
    await mbuild.ok(['image', 'prune', '-f']);
    // Of the earlier layer no more than the file that was edited is freed.
    expect(await mbuild.ok(['builder', 'prune', '-a', '--dry-run'])).toContain('Total:\t12B');
    expect(await mbuild.ok(['builder', 'prune', '-af'])).toContain('Total:\t12B');
    expect(copiesOf(mbuild, 'data/d2/f2').map((file) => lstatSync(file).nlink)).toEqual([1]);
    expect(await mbuild.run(['system', 'check'])).toMatchObject({ code: 0 });
  });

  it.each([
    ['with SOURCE_DATE_EPOCH', ['--build-arg', 'SOURCE_DATE_EPOCH=1000000000']],
    ['with --no-cache', ['--no-cache']],
  ])('gives all files anew %s', async (_, args) => {
    const context = makeContext('FROM scratch\nCOPY src /data/\n');
    const mbuild = await buildTwice(
      context,
      () => writeFileSync(join(context, 'src/d1/f1'), 'edited\n'),
      ...args,
    );
    expect(copiesOf(mbuild, 'data/d2/f2').map((file) => lstatSync(file).nlink)).toEqual([1, 1]);
  });

  it('gives all files anew where they are few', async () => {
    const context = makeContext('FROM scratch\nCOPY src/d2 /data/\n');
    const mbuild = await buildTwice(context, () =>
      writeFileSync(join(context, 'src/d2/f2'), 'edited\n'),
    );
    expect(copiesOf(mbuild, 'data/f9').map((file) => lstatSync(file).nlink)).toEqual([1, 1]);
  });

  it('gives all files anew where the earlier layer came from elsewhere', async () => {
    const context = makeContext('FROM scratch\nCOPY src /data/\n');
    const [cache, mbuild] = [temp.dir('cache'), new Mbuild(temp.dir('store'))];
    await new Mbuild(temp.dir('store')).build(['--cache-to', `type=local,dest=${cache}`, context]);
    // What the selection holds is on record here, too.
    await mbuild.build([context]);
    await mbuild.ok(['image', 'prune', '-f']);
    await mbuild.ok(['builder', 'prune', '-af']);
    await mbuild.build(['--cache-from', `type=local,src=${cache}`, '-t', 'x', context]);
    writeFileSync(join(context, 'src/d1/f1'), 'edited\n');
    await mbuild.build(['--cache-from', `type=local,src=${cache}`, '-t', 'x', context]);
    expect(copiesOf(mbuild, 'data/d2/f2').map((file) => lstatSync(file).nlink)).toEqual([1, 1]);
  });
});

describeWith('a RUN on files that an edit left as they were', { root: true }, () => {
  const temp = useTemp();

  it('writes to none of the earlier build', async () => {
    const files = Object.fromEntries(
      Array.from({ length: FILES }, (_, i) => [`src/f${i}`, `content ${i}\n`]),
    );
    const context = writeFiles(temp.dir('context'), {
      Dockerfile:
        'FROM small-base\nCOPY src /data/\nRUN echo more >> /data/f2 && chmod 600 /data/f3 && touch -d @5 /data/f4\n',
      '.dockerignore': 'Dockerfile\n',
      ...files,
    });
    const mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    const first = await mbuild.build([context]);
    writeFileSync(join(context, 'src/f1'), 'edited\n');
    await mbuild.build([context]);
    writeFileSync(join(context, 'src/f1'), 'content 1\n');
    const again = await mbuild.build([context]);
    expect(again.id).toBe(first.id);
    expect(instructionSteps(again.steps).map(({ cached }) => cached)).toEqual([true, true]);
    expect(await mbuild.run(['system', 'check'])).toMatchObject({ code: 0 });
  });
});
