import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import { hashTree } from '../../src/layer/diff';
import type { layerTasks } from '../../src/layer/tasks';
import { Threads } from '../../src/linux/threads';
import { LIMITS, tarOf, useDirectory } from './trees';

const dir = useDirectory();

describe('layers in worker threads', () => {
  it('are hashed and unpacked there, with errors that keep their code', async () => {
    const entry = `${dir()}/worker.cjs`;
    const repository = path.resolve(__dirname, '../..');
    await build({
      entryPoints: [`${repository}/src/worker.ts`],
      bundle: true,
      platform: 'node',
      outfile: entry,
      external: ['undici'],
      // The bundle lies outside the repository, where no package is found by name.
      plugins: [
        {
          name: 'koffi',
          setup: ({ onResolve }) =>
            void onResolve({ filter: /^koffi$/ }, () => ({
              path: require.resolve('koffi'),
              external: true,
            })),
        },
      ],
    });
    const threads = new Threads(entry, 2);
    try {
      const layer = threads.remote<typeof layerTasks>('layer');
      writeFileSync(`${dir()}/layer.tar`, tarOf({ path: 'a', content: 'x' }));
      writeFileSync(`${dir()}/bad.tar`, tarOf({ path: '../a', content: 'x' }));
      const options = { xattrs: 'trusted', limits: LIMITS } as const;
      for (const name of ['out', 'out2', 'out3']) mkdirSync(`${dir()}/${name}`);
      const [applied, again] = await Promise.all(
        ['out', 'out2'].map((name) =>
          layer.applyLayer(
            { path: `${dir()}/layer.tar`, compression: 'none' },
            `${dir()}/${name}`,
            options,
          ),
        ),
      );
      expect(applied).toMatchObject({ entries: 1, contentSize: 1 });
      expect(again).toEqual(applied);
      expect(await layer.hashTree(`${dir()}/out`, { xattrs: 'trusted' })).toEqual(
        hashTree(`${dir()}/out`, { xattrs: 'trusted' }),
      );
      await expect(
        layer.applyLayer(
          { path: `${dir()}/bad.tar`, compression: 'none' },
          `${dir()}/out3`,
          options,
        ),
      ).rejects.toMatchObject({ name: 'MbuildError', code: 'ARCHIVE_UNSAFE' });
    } finally {
      await threads.close();
    }
  });
});
