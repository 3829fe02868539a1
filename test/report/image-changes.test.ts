import { join } from 'node:path';
import type { Waste } from '../../src/report/waste';
import type { FileDifference } from '../../src/verify/difference';
import { smallBase } from '../support/bases';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

describeWith('what images hold', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    await make('wasteful', [
      'RUN head -c 300000 /dev/zero > /big; mkdir -p /d; echo abc > /d/lost; echo keep > /keep; head -c 5000 /dev/zero > /one; ln /one /other-name',
      'RUN rm -r /big /d; mkdir /d; echo more >> /keep',
      'RUN cp /one /copy',
    ]);
  });

  async function make(name: string, lines: readonly string[], from = 'small-base'): Promise<void> {
    await mbuild.build([
      '-t',
      name,
      writeFiles(temp.dir('context'), { Dockerfile: [`FROM ${from}`, ...lines, ''].join('\n') }),
    ]);
  }

  describe('and nobody needs', () => {
    it('is told by layer and line, with the line that overwrites or deletes it; names of one file are no copies', async () => {
      const waste = JSON.parse(
        await mbuild.ok(['image', 'waste', '--format', 'json', 'wasteful']),
      ) as Waste;
      const by = { layer: 3, line: 3 };
      expect(waste.layers).toMatchObject([
        {
          layer: 2,
          line: 2,
          lost: 300_009,
          files: [
            { path: '/big', bytes: 300_000, how: 'deleted', by },
            { path: '/keep', bytes: 5, how: 'overwritten', by },
            { path: '/d/lost', bytes: 4, how: 'deleted', by },
          ],
        },
      ]);
      expect(waste.layers[0]?.bytes).toBe(305_009);
      expect(waste.duplicates).toEqual([
        {
          bytes: 5000,
          files: [
            { path: expect.stringMatching(/^\/(one|other-name)$/) as string, layer: 2 },
            { path: '/copy', layer: 4 },
          ],
        },
      ]);
      expect(waste).toMatchObject({ lost: 300_009, duplicated: 5000 });
    });

    it('is shown as a table with its sum', async () => {
      const text = await mbuild.ok(['image', 'waste', 'wasteful']);
      expect(text).toMatch(
        /^LAYER +LINE +SIZE +WASTED +INSTRUCTION\n2 +2 +305kB +300kB +RUN head -c 300000 .*\n +300kB +\/big deleted by line 3\n/,
      );
      expect(text).toMatch(
        /\nThe same content several times:\n {2}5kB in 2 × 5kB: \/\S+ \(layer 2\), \/copy \(layer 4\)\n/,
      );
      expect(text).toMatch(
        /\n305kB of [\d.]+MB wasted \(\d+\.\d %\): 300kB overwritten or deleted later, 5kB in copies$/,
      );
    });

    it('has the instructions of the history where no build is on record', async () => {
      const file = join(temp.dir('archive'), 'image.tar');
      await mbuild.ok(['save', '-o', file, 'wasteful']);
      const other = new Mbuild(temp.dir('other'));
      await other.ok(['load', '-i', file]);
      const waste = JSON.parse(
        await other.ok(['image', 'waste', '--format', 'json', 'wasteful']),
      ) as Waste;
      expect(waste.layers).toMatchObject([
        { layer: 2, title: expect.stringContaining('head -c 300000') as string, lost: 300_009 },
      ]);
      expect(waste.layers[0]).not.toHaveProperty('line');
    });
  });

  describe('differs', () => {
    beforeAll(() =>
      make(
        'changed',
        [
          'RUN rm /copy; chmod 600 /one; echo longer than before > /keep; echo new > /new; touch -d @1000 /other-name; rmdir /d; ln -s one /d; mkdir /e; echo 1 > /e/in',
        ],
        'wasteful',
      ),
    );

    const diff = async (...args: string[]): Promise<FileDifference[]> =>
      JSON.parse(
        await mbuild.ok(['image', 'diff', '--format', 'json', ...args]),
      ) as FileDifference[];

    it('by path, with what changed', async () => {
      const found = await diff('wasteful', 'changed');
      expect(
        found.map(({ path, kind, fields }) =>
          `${path} ${kind} ${fields.map(({ field }) => field).join(' ')}`.trim(),
        ),
      ).toEqual([
        '/copy only in the first',
        '/d changed type mode target',
        '/e only in the second',
        '/e/in only in the second',
        '/keep changed content size',
        '/new only in the second',
        '/one changed mode',
      ]);
      expect(found.find(({ path }) => path === '/one')?.fields).toEqual([
        { field: 'mode', first: '0644', second: '0600' },
      ]);
      expect(
        (await diff('--times', 'wasteful', 'changed')).find(({ path }) => path === '/other-name')
          ?.fields,
      ).toEqual([
        { field: 'time', first: expect.any(String) as string, second: '1970-01-01T00:16:40Z' },
      ]);
    });

    it('in docker’s letters, from either side, and with an archive', async () => {
      const file = join(temp.dir('archive'), 'image.tar');
      await mbuild.ok(['save', '-o', file, 'changed']);
      const text = await mbuild.ok(['image', 'diff', 'wasteful', file]);
      expect(text.split('\n')).toEqual([
        'D /copy',
        'C /d  type directory→symlink, mode 0755→0777, target none→one',
        'A /e',
        'A /e/in',
        'C /keep  10B→19B',
        'A /new',
        'C /one  mode 0644→0600',
      ]);
      expect((await mbuild.ok(['image', 'diff', file, 'wasteful'])).split('\n')).toContain(
        'A /copy',
      );
      expect(await mbuild.ok(['image', 'diff', '--times', file, 'changed'])).toBe('');
    });
  });
});
