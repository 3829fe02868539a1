import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { LayerRecord } from '../../src/images/store/layer-index';
import { smallBase } from '../support/bases';
import { Mbuild, instructionSteps } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

describeWith('a store that was damaged', { root: true }, () => {
  const temp = useTemp();
  let template: string;
  let context: string;
  let id: string;
  let mbuild: Mbuild;

  beforeAll(async () => {
    template = temp.dir('template');
    context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM small-base\nRUN echo one > /one\nRUN echo two > /two\n',
    });
    const store = open(template);
    await smallBase(store);
    id = (await store.build(['-t', 'app', context])).id;
  });
  beforeEach(() => {
    const root = join(temp.dir('damaged'), 'store');
    execFileSync('cp', ['-a', template, root]);
    mbuild = open(root);
  });

  const open = (root: string): Mbuild => new Mbuild(root, { SOURCE_DATE_EPOCH: '1700000000' });
  const nameFile = (name: string): string =>
    execFileSync('grep', ['-rl', `/${name}:`, join(mbuild.root, 'names')])
      .toString()
      .trim();

  /** The file of a record and what it says of the layer that holds a file. */
  function layerWith(file: string): {
    readonly path: string;
    readonly file: string;
    readonly record: LayerRecord;
  } {
    for (const name of readdirSync(join(mbuild.root, 'chains'))) {
      const path = join(mbuild.root, 'chains', name);
      const record = JSON.parse(readFileSync(path, 'utf8')) as LayerRecord;
      const inside = join(mbuild.root, 'layers', record.id, file);
      if (readdirSync(join(mbuild.root, 'layers', record.id)).includes(file.split('/')[0] ?? ''))
        return { path, file: inside, record };
    }
    throw new Error(`no layer holds ${file}`);
  }

  const damages: readonly (readonly [string, () => void, RegExp])[] = [
    [
      'a file of a built layer was changed',
      () => writeFileSync(layerWith('one').file, 'ONE\n'),
      /^layer sha256:\S+ is damaged: its files have changed on disk, or are gone$[^]*^image docker.io\/library\/app:latest lacks its layer/m,
    ],
    [
      'a file of an imported layer was changed',
      () => writeFileSync(layerWith('etc').file + '/passwd', ''),
      /^layer sha256:\S+ is damaged: its files have changed on disk, or are gone$/m,
    ],
    [
      'a layer is gone',
      () => rmSync(join(mbuild.root, 'layers', layerWith('two').record.id), { recursive: true }),
      /^layer sha256:\S+ is damaged: its files have changed on disk, or are gone$/m,
    ],
    [
      'the record of a layer is empty',
      () => truncateSync(layerWith('one').path),
      /^image \S+app:latest lacks its layer/m,
    ],
    [
      'a config is gone',
      () => rmSync(join(mbuild.root, 'blobs', id.replace(':', '/'))),
      /^image \S+app:latest lacks its config/m,
    ],
    [
      'a config was changed',
      () => appendFileSync(join(mbuild.root, 'blobs', id.replace(':', '/')), ' '),
      /^blob sha256:\S+ has changed on disk/m,
    ],
    [
      'the record of an image is empty',
      () => truncateSync(join(mbuild.root, 'images', `${id.slice(7)}.json`)),
      /^image \S+ has a record that cannot be read/m,
    ],
    [
      'the record of an image is gone',
      () => rmSync(join(mbuild.root, 'images', `${id.slice(7)}.json`)),
      /^name docker.io\/library\/app:latest stands for/m,
    ],
    [
      'the record of a name is empty',
      () => truncateSync(nameFile('app')),
      /^the name in \S+ cannot be read/m,
    ],
  ];
  it.each(damages)(
    '%s: system check tells, repairs it, and the same build gives the same image',
    async (_, damage, message) => {
      damage();
      const checked = await mbuild.run(['system', 'check']);
      expect(checked).toMatchObject({ code: 1, stdout: expect.stringMatching(message) as string });
      expect((await mbuild.run(['system', 'check', '--repair'])).code).toBe(0);
      expect(await mbuild.ok(['system', 'check'])).toMatch(/nothing is wrong/);
      if ((await mbuild.ok(['images', '-q', 'small-base'])) === '') await smallBase(mbuild);
      expect((await mbuild.build(['-t', 'app', context])).id).toBe(id);
      expect((await mbuild.run(['run', '--rm', 'app', 'cat', '/one', '/two'])).stdout).toBe(
        'one\ntwo\n',
      );
    },
  );

  it.each(damages)('%s: mbuild goes on without a repair', async (_, damage) => {
    damage();
    await mbuild.ok(['images']);
    await mbuild.ok(['prune', '-f']);
  });

  it('what was damaged is named and kept until the next prune', async () => {
    const { file, record } = layerWith('one');
    writeFileSync(file, 'ONE\n');
    const { stderr } = await mbuild.run(['system', 'check', '--repair']);
    const [, aside = ''] =
      /chains\/\S+ is damaged: it was moved to (\S+), where/.exec(stderr) ?? [];
    const kept = (): boolean[] =>
      [aside, join(mbuild.root, 'layers', record.id)].map((path) => existsSync(path));
    expect(kept()).toEqual([true, true]);
    await mbuild.build(['-t', 'app', context]);
    await mbuild.ok(['rmi', 'app']);
    expect(kept()).toEqual([true, true]);
    await mbuild.ok(['prune', '-f']);
    expect(kept()).toEqual([false, false]);
  });

  it('a sound store has nothing wrong', async () => {
    expect(await mbuild.ok(['system', 'check'])).toMatch(
      /^Checked \d+ blobs, 3 layers, 2 images: nothing is wrong$/,
    );
  });

  describe('by a loss of power, where layers were never synced', () => {
    function loseBoot(file: string): ReturnType<typeof layerWith> {
      const layer = layerWith(file);
      writeFileSync(
        layer.path,
        JSON.stringify({ ...layer.record, boot: '00000000-0000-0000-0000-000000000000' }),
      );
      return layer;
    }
    const cached = async (): Promise<boolean[]> =>
      instructionSteps((await mbuild.build(['-t', 'app', context])).steps).map(
        (step) => step.cached,
      );

    it('takes what is whole from the cache, and remembers that it is', async () => {
      const layer = loseBoot('one');
      expect(await cached()).toEqual([true, true]);
      expect(readFileSync(layer.path, 'utf8')).toBe(JSON.stringify(layer.record));
    });

    it('runs a step again whose layer is not what it left, and takes those above from the cache when it comes to the same', async () => {
      writeFileSync(loseBoot('one').file, '');
      expect(await cached()).toEqual([false, true]);
      expect((await mbuild.run(['run', '--rm', 'app', 'cat', '/one', '/two'])).stdout).toBe(
        'one\ntwo\n',
      );
    });

    it('does not take a layer that may be damaged for one that was just built', async () => {
      writeFileSync(loseBoot('one').file, '');
      expect((await mbuild.build(['-t', 'app', '--no-cache', context])).id).toBe(id);
      expect((await mbuild.run(['run', '--rm', 'app', 'cat', '/one', '/two'])).stdout).toBe(
        'one\ntwo\n',
      );
      await mbuild.ok(['prune', '-f']);
      expect(await mbuild.ok(['system', 'check'])).toMatch(/nothing is wrong/);
    });

    it('does not hand out a compressed layer that has lost its bytes, and compresses it again', async () => {
      const save = (): ReturnType<Mbuild['run']> =>
        mbuild.run([
          'build',
          '-q',
          '-o',
          `type=oci,dest=${join(temp.dir('out'), 'image.tar')},compression=gzip`,
          context,
        ]);
      await save();
      const blobs = join(mbuild.root, 'blobs/sha256');
      const compressed = readdirSync(blobs)
        .map((name) => join(blobs, name))
        .filter((file) => readFileSync(file).readUInt16BE() === 0x1f8b);
      for (const file of compressed) writeFileSync(file, Buffer.alloc(readFileSync(file).length));
      const codes = [];
      do codes.push((await save()).code);
      while (codes.at(-1) !== 0 && codes.length <= compressed.length);
      expect(codes).toEqual([...compressed.map(() => 1), 0]);
      expect(await mbuild.ok(['system', 'check'])).toMatch(/nothing is wrong/);
    });

    it('does not start a container on a layer that is not what its step left, and still hands out what it wrote', async () => {
      await mbuild.ok(['run', '--name', 'mine', 'app', 'sh', '-c', 'cat /one; echo kept > /kept']);
      writeFileSync(loseBoot('one').file, '');
      for (const _ of ['first', 'second'])
        expect(await mbuild.run(['start', '-a', 'mine'])).toMatchObject({
          code: 125,
          stdout: '',
          stderr: expect.stringMatching(
            /layer sha256:\S+ of app was damaged when the machine stopped, and mine is based on it\n\[STORE_CORRUPT\] hint: .*mbuild cp mine:PATH/,
          ) as string,
        });
      // Built again, the layer is another one than the container's.
      expect(await cached()).toEqual([false, true]);
      expect((await mbuild.run(['start', '-a', 'mine'])).code).toBe(125);
      await mbuild.ok(['cp', 'mine:/kept', temp.dir('kept')]);
    });

    it('unpacks an imported layer again from its archive, for builds and for containers', async () => {
      for (const use of [
        () => mbuild.build(['-t', 'app', '--no-cache', context]),
        () => mbuild.ok(['run', '--rm', 'small-base', 'cat', '/etc/passwd']),
      ]) {
        const { file } = loseBoot('etc');
        const passwd = readFileSync(`${file}/passwd`, 'utf8');
        truncateSync(`${file}/passwd`);
        await use();
        expect(readFileSync(`${file}/passwd`, 'utf8')).toBe(passwd);
      }
    });
  });
});
