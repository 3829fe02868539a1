import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ImageDifference } from '../../src/verify/compare-images';
import type { TwiceReport } from '../../src/verify/twice';
import { smallBase } from '../support/bases';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

const RANDOM = 'head -c 16 /dev/urandom';

describeWith('mbuild verify', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
  });

  /** Verifies a Dockerfile under the small base, quietly. */
  async function twice(
    lines: readonly string[],
    ...args: string[]
  ): Promise<{ code: number | null; stdout: string; stderr: string }> {
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: ['FROM small-base', ...lines, ''].join('\n'),
    });
    return mbuild.run(['verify', '--twice', '--progress=quiet', ...args, context]);
  }

  it('names the first step that leaves something else the second time, the files and the fields', async () => {
    const { code, stdout } = await twice(
      ['RUN echo fixed > /a', `RUN ${RANDOM} > /b`, 'RUN cat /b > /c'],
      '--format=json',
    );
    const report = JSON.parse(stdout) as TwiceReport;
    expect(code).toBe(1);
    expect(report).toMatchObject({
      same: false,
      timesCount: false,
      steps: [
        { step: `[3/4] RUN ${RANDOM} > /b`, line: 3 },
        { step: '[4/4] RUN cat /b > /c', line: 4 },
      ],
    });
    expect(
      report.steps[0]?.files.map(({ path, fields }) => [path, fields.map(({ field }) => field)]),
    ).toEqual([['/b', ['content']]]);
  });

  it('says it in words, also of a stage whose files alone are taken', async () => {
    const { code, stdout } = await twice([
      'RUN echo 1 > /one',
      'FROM small-base AS made',
      `RUN ${RANDOM} > /b && echo same > /out`,
      'RUN cat /b > /c',
      'FROM small-base',
      'COPY --from=made /out /out',
    ]);
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^\[made 2\/3\] RUN head .* \(line 4\) gives different results:\n {2}\/b: content from byte \d+ on, .+ and .+\nalso different, perhaps because of that: \[made 3\/3\] RUN cat \/b > \/c \(line 5\), 1 file\n/,
    );
  });

  it('without SOURCE_DATE_EPOCH times do not count and are said; with it nothing differs at all', async () => {
    const without = await twice(['RUN echo fixed > /a']);
    expect(without.code).toBe(0);
    expect(without.stdout).toMatch(
      /^Both builds made the same image\.\nOnly times differ, which count only if SOURCE_DATE_EPOCH is set: \d+, of files, image and history\.\n$/,
    );
    const withEpoch = await twice(
      ['RUN hostname > /a'],
      '--source-date-epoch=1000',
      '--hostname=fixed',
    );
    expect(withEpoch).toMatchObject({ code: 0, stdout: 'Both builds made the same image.\n' });
  });

  it('the second build has another host name; with SOURCE_DATE_EPOCH a time counts that a step itself sets', async () => {
    const { code, stdout } = await twice(
      ['RUN hostname > /h && touch -d "2001-01-01 00:00:$(hostname | wc -c)" /h'],
      '--source-date-epoch=1500000000',
    );
    expect(code).toBe(1);
    expect(stdout).toContain('/h: content from byte 0 on, "buildkitsandbox" and "another-host"');
    expect(stdout).toContain('/h: time 2001-01-01T00:00:16Z and 2001-01-01T00:00:13Z');
  });

  it('leaves no image, no record and no files, and takes nothing from the cache', async () => {
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: `FROM small-base\nRUN ${RANDOM} > /cached\n`,
    });
    await mbuild.build(['-t', 'cached', context]);
    const buildIds = async (): Promise<string[]> =>
      (await mbuild.ok(['builds'])).split('\n').map((line) => line.split(' ')[0] ?? '');
    const [images, builds] = [await mbuild.ok(['images', '-a', '-q']), await buildIds()];
    expect(
      (await mbuild.run(['verify', '--twice', '--progress=quiet', '-t', 'verified', context])).code,
    ).toBe(1);
    expect(await mbuild.ok(['images', '-a', '-q'])).toBe(images);
    expect(await buildIds()).toEqual(builds);
    expect(readdirSync(join(mbuild.root, 'tmp'))).toEqual([]);
  });

  it('a build that fails is an error, as build has it', async () => {
    const { code, stderr } = await twice(['RUN exit 3']);
    expect(code).toBe(1);
    expect(stderr).toContain('exited with code 3');
    expect(readdirSync(join(mbuild.root, 'tmp'))).toEqual([]);
  });

  describe('of two images', () => {
    async function make(name: string, lines: readonly string[], ...args: string[]): Promise<void> {
      const context = writeFiles(temp.dir('context'), {
        Dockerfile: ['FROM small-base', ...lines, ''].join('\n'),
      });
      await mbuild.build(['-t', name, '--source-date-epoch=1000', ...args, context]);
    }

    async function compare(
      ...args: string[]
    ): Promise<{ readonly code: number | null; readonly found: ImageDifference }> {
      const { code, stdout } = await mbuild.run(['verify', '--format=json', ...args]);
      return { code, found: JSON.parse(stdout) as ImageDifference };
    }

    it('names the first layer, its files and their fields, then config and history', async () => {
      await make('first', [
        'RUN echo 1 > /same',
        'RUN echo a > /file && chmod 600 /file',
        'ENV A=1',
      ]);
      await make(
        'second',
        ['RUN echo 1 > /same', 'RUN echo b > /file', 'ENV A=2'],
        '--label',
        'x=y',
      );
      const { code, found } = await compare('first', 'second');
      expect(code).toBe(1);
      expect(found.layers).toMatchObject([
        {
          layer: 3,
          first: { madeBy: expect.stringContaining('chmod') as string },
          files: [{ path: '/file', kind: 'changed' }],
        },
      ]);
      expect(found.layers[0]?.files[0]?.fields.map(({ field }) => field)).toEqual([
        'content',
        'mode',
      ]);
      expect(found.config).toEqual([
        { field: 'config.Env[1]', first: 'A=1', second: 'A=2' },
        { field: 'config.Labels', second: '{"x":"y"}' },
      ]);
      expect(found.history.map(({ field }) => field)).toEqual([
        'history[2].created_by',
        'history[3].created_by',
      ]);
      expect(found.manifest).toEqual([]);
    });

    it('times count unless they are to be ignored', async () => {
      await make('early', ['RUN echo 1 > /timed']);
      await make('late', ['RUN echo 1 > /timed'], '--no-cache', '--source-date-epoch=2000');
      const counted = await compare('early', 'late');
      expect(counted.code).toBe(1);
      expect(counted.found.layers[0]?.files).toContainEqual({
        path: '/timed',
        kind: 'changed',
        fields: [{ field: 'time', first: '1970-01-01T00:16:40Z', second: '1970-01-01T00:33:20Z' }],
      });
      expect(counted.found.config.map(({ field }) => field)).toEqual(['created']);
      const ignored = await compare('--ignore-times', 'early', 'late');
      expect(ignored).toMatchObject({
        code: 0,
        found: { same: true, sameId: false, layers: [], config: [], history: [] },
      });
      expect(ignored.found.ignoredTimes).toBeGreaterThan(1);
    });

    it('an archive is compared without loading it, and what is only compressed otherwise is told apart', async () => {
      await make('packed', ['RUN echo packed > /file']);
      const [gzip, plain] = [
        join(temp.dir('archives'), 'gzip.tar'),
        join(temp.dir('archives'), 'plain.tar'),
      ];
      const context = writeFiles(temp.dir('context'), { Dockerfile: 'FROM packed\n' });
      await mbuild.build([
        '--output',
        `type=oci,dest=${gzip},compression=gzip,force-compression=true`,
        context,
      ]);
      await mbuild.build([
        '--output',
        `type=oci,dest=${plain},compression=uncompressed,force-compression=true`,
        context,
      ]);
      const images = await mbuild.ok(['images', '-a', '-q']);
      const { code, found } = await compare(gzip, plain);
      expect(code).toBe(1);
      expect(found).toMatchObject({
        sameId: true,
        sameDigest: false,
        layers: [],
        config: [],
        history: [],
      });
      expect(found.manifest.map(({ field }) => field)).toEqual(
        expect.arrayContaining(['layers[0].digest', 'layers[1].digest']),
      );
      expect(await compare(gzip, gzip)).toMatchObject({
        code: 0,
        found: { same: true, sameDigest: true },
      });
      expect(await mbuild.ok(['images', '-a', '-q'])).toBe(images);
    });
  });

  it.each([
    [['--twice', 'a', 'b'], 'mbuild verify --twice takes one context'],
    [['a'], 'mbuild verify takes two images'],
    [['--twice', '-'], 'standard input'],
  ])('refuses %j', async (args, message) => {
    const tar = Buffer.alloc(1024);
    const { code, stderr } = await mbuild.run(['verify', ...args], { input: tar });
    expect(code).toBe(125);
    expect(stderr).toContain(message);
  });
});
