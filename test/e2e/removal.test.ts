import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ownIdentity } from '../../src/linux/process';
import { smallBase } from '../support/bases';
import type { CommandResult } from '../support/command';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp } from '../support/temp';

describeWith('removing images', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let base: string;

  beforeEach(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    base = await idOf('small-base');
  });

  const idOf = async (name: string): Promise<string> => (await mbuild.inspect(name)).Id;
  const build = async (tag: string, ...lines: string[]): Promise<string> =>
    (
      await mbuild.build(['-f', '-', ...(tag === '' ? [] : ['-t', tag]), temp.dir('context')], {
        input: `FROM small-base\n${lines.join('\n')}\n`,
      })
    ).id;
  const list = async (...flags: string[]): Promise<string[]> =>
    (await mbuild.ok(['images', '--format', '{{.Repository}}:{{.Tag}}', ...flags]))
      .split('\n')
      .filter(Boolean);
  const layers = (): string[] => readdirSync(join(mbuild.root, 'chains'));
  const lines = (text: string): string[] => text.split('\n').filter(Boolean);
  /** The build cache keeps layers too; without it only images do. */
  const forgetCache = (): Promise<string> => mbuild.ok(['builder', 'prune', '-af']);

  /** A container of the image, as `run` leaves one that has ended. */
  async function addContainer(image: string, status: 'exited' | 'running'): Promise<string> {
    const id = 'c0ffee'.padEnd(64, '0');
    const folder = join(mbuild.root, 'containers', id);
    mkdirSync(join(folder, 'layer', 'fs'), { recursive: true });
    const { Id, RootFS } = await mbuild.inspect(image);
    const stack = readdirSync(join(mbuild.root, 'chains')).map(
      (name) =>
        JSON.parse(readFileSync(join(mbuild.root, 'chains', name), 'utf8')) as {
          id: string;
          diffId: string;
        },
    );
    writeFileSync(
      join(folder, 'config.json'),
      JSON.stringify({
        id,
        name: 'calm_turing',
        created: new Date().toISOString(),
        limits: {},
        image: {
          id: Id,
          name: image,
          config: {},
          stack: RootFS.Layers.map((diffId) => stack.find((layer) => layer.diffId === diffId)?.id),
        },
        args: ['true'],
        env: [],
        volumes: [],
        labels: {},
      }),
    );
    writeFileSync(
      join(folder, 'state.json'),
      JSON.stringify(
        status === 'exited' ? { status, exitCode: 0 } : { status, supervisor: ownIdentity() },
      ),
    );
    return id.slice(0, 12);
  }

  it("by name, by short id, by long id and by the beginning of one, in docker's words", async () => {
    const one = await build('app:1', 'RUN echo 1 > /1', 'RUN echo 2 > /2');
    const two = await build('app:2', 'RUN echo 3 > /3');
    const three = await build('app:3', 'RUN echo 4 > /4');
    await forgetCache();
    expect(lines(await mbuild.ok(['rmi', 'app:1']))).toEqual([
      'Untagged: app:1',
      `Deleted: ${one}`,
      expect.stringMatching(/^Deleted: sha256:[0-9a-f]{64}$/),
      expect.stringMatching(/^Deleted: sha256:/),
    ]);
    expect(lines(await mbuild.ok(['rmi', two.slice(7, 19)]))).toEqual([
      'Untagged: app:2',
      `Deleted: ${two}`,
      expect.any(String),
    ]);
    expect(lines(await mbuild.ok(['rmi', three]))).toEqual([
      'Untagged: app:3',
      `Deleted: ${three}`,
      expect.any(String),
    ]);
    expect(await list()).toEqual(['small-base:latest']);
    expect(layers()).toHaveLength(1);
    expect(lines(await mbuild.ok(['rmi', base.slice(7, 10)]))).toHaveLength(3);
    expect([
      layers(),
      readdirSync(join(mbuild.root, 'layers')),
      readdirSync(join(mbuild.root, 'blobs/sha256')),
    ]).toEqual([[], [], []]);
  });

  it('takes names away one by one, and the image with the last', async () => {
    const id = await build('app:1', 'RUN echo 1 > /1');
    await mbuild.ok(['tag', 'app:1', 'app:2', 'other/app:x']);
    expect(await mbuild.ok(['rmi', 'app:1'])).toBe('Untagged: app:1');
    const refused = await mbuild.run(['rmi', id]);
    expect([refused.code, refused.stdout]).toEqual([1, '']);
    expect(refused.stderr).toContain(
      `conflict: unable to delete ${id.slice(7, 19)} (must be forced) - image is referenced in multiple repositories`,
    );
    expect(lines(await mbuild.ok(['rmi', '-f', id])).slice(0, 3)).toEqual([
      'Untagged: app:2',
      'Untagged: other/app:x',
      `Deleted: ${id}`,
    ]);
  });

  it('names every layer that goes from the top down, each under the last image that stood on it', async () => {
    await build('below', 'RUN echo 1 > /1');
    const above = await build('above', 'RUN echo 1 > /1', 'RUN echo 2 > /2');
    await forgetCache();
    expect(lines(await mbuild.ok(['rmi', 'small-base']))).toHaveLength(2);
    const printed = lines(await mbuild.ok(['rmi', 'above', 'below']));
    expect(printed.map((line) => line.split(':')[0])).toEqual([
      'Untagged',
      'Deleted',
      'Deleted',
      'Untagged',
      'Deleted',
      'Deleted',
      'Deleted',
    ]);
    expect(printed[1]).toBe(`Deleted: ${above}`);
    expect(layers()).toEqual([]);
  });

  it('goes on after what is not there, and fails at the end; with --force it does not', async () => {
    await build('app:1', 'RUN true');
    const { code, stdout, stderr } = await mbuild.run(['rmi', 'nosuch', 'app:1', 'appp']);
    expect(code).toBe(1);
    expect(stdout).toContain('Untagged: app:1');
    expect(stderr).toMatch(/no such image: nosuch[^]*no such image: appp/);
    expect((await mbuild.run(['rmi', '-f', 'nosuch'])).code).toBe(0);
  });

  it('takes what a listing prints: dangling ones, and those before another', async () => {
    await build('app', 'RUN echo 1 > /1');
    await build('app', 'RUN echo 2 > /2');
    await build('app', 'RUN echo 3 > /3');
    const dangling = lines(await mbuild.ok(['images', '-q', '-f', 'dangling=true']));
    expect(dangling).toHaveLength(2);
    await mbuild.ok(['rmi', ...dangling]);
    expect(await list()).toEqual(['app:latest', 'small-base:latest']);
    await mbuild.ok(['rmi', ...lines(await mbuild.ok(['images', '-q', '-f', 'before=app']))]);
    expect(await list()).toEqual(['app:latest']);
  });

  it.each([
    ['label=stage=test', ['labelled:1']],
    ['label=stage', ['labelled:1', 'labelled:2']],
    ['since=labelled:1', ['labelled:2', 'plain:latest']],
    ['reference=label*', ['labelled:1', 'labelled:2']],
    ['reference=*:2', ['labelled:2']],
    ['until=1h', []],
    ['dangling=false', ['labelled:1', 'labelled:2', 'plain:latest', 'small-base:latest']],
  ])('images -f %s', async (filter, expected) => {
    const epoch = Math.floor(Date.now() / 1000);
    const dated = (tag: string, label: string, at: number): Promise<unknown> =>
      mbuild.build(['-f', '-', '-t', tag, '--source-date-epoch', String(at), temp.dir('context')], {
        input: `FROM small-base\n${label}\nRUN true\n`,
      });
    await dated('labelled:1', 'LABEL stage=test', epoch + 10);
    await dated('labelled:2', 'LABEL stage=live', epoch + 20);
    await dated('plain', 'ENV a=b', epoch + 30);
    expect((await list('-f', filter)).sort()).toEqual(expected);
  });

  it('is refused while a container stands on the image, and forced when that is stopped', async () => {
    const id = await build('app', 'RUN echo 1 > /1');
    await forgetCache();
    const container = await addContainer('app', 'exited');
    const byName = await mbuild.run(['rmi', 'app']);
    expect([byName.code, byName.stderr]).toEqual([
      1,
      expect.stringContaining(
        `(must force) - container ${container} is using its referenced image ${id.slice(7, 19)}`,
      ),
    ]);
    expect((await mbuild.run(['rmi', id])).stderr).toContain(
      `image is being used by stopped container ${container}`,
    );
    await mbuild.ok(['tag', 'app', 'app:2']);
    expect(await mbuild.ok(['rmi', 'app:2'])).toBe('Untagged: app:2');
    // The container keeps its layers.
    expect(lines(await mbuild.ok(['rmi', '-f', 'app']))).toEqual([
      'Untagged: app:latest',
      `Deleted: ${id}`,
    ]);
    expect(layers()).toHaveLength(2);
    expect(await mbuild.ok(['prune', '-f'])).toContain('Deleted Containers:\nc0ffee');
    expect(layers()).toHaveLength(1);
  });

  it('never takes an image from under a running container', async () => {
    const id = await build('app', 'RUN echo 1 > /1');
    const container = await addContainer('app', 'running');
    const refused = await mbuild.run(['rmi', '-f', id]);
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringContaining(
        `(cannot be forced) - image is being used by running container ${container}`,
      ),
    ]);
    expect(await mbuild.ok(['rmi', '-f', 'app'])).toBe('Untagged: app:latest');
    expect(await mbuild.ok(['image', 'prune', '-af'])).not.toContain(id);
    expect(await mbuild.ok(['prune', '-af'])).not.toContain(id);
    expect(await mbuild.ok(['images', '-q', '--no-trunc'])).toBe(id);
    expect(layers()).toHaveLength(2);
  });

  describe('prune', () => {
    it('removes images without a name, and keeps what the build cache has until that is pruned', async () => {
      const id = await build('app', 'RUN echo 1 > /1');
      await build('app', 'RUN echo 2 > /2');
      expect(await mbuild.ok(['image', 'prune', '-f'])).toMatch(
        new RegExp(`^Deleted Images:\ndeleted: ${id}\n\nTotal reclaimed space: 1\\.\\d+kB$`),
      );
      expect(layers()).toHaveLength(3);
      const printed = await mbuild.ok(['builder', 'prune', '-f']);
      expect(printed).toMatch(
        /^ID +RECLAIMABLE +SIZE +CREATED +TOOK +STEP\n[0-9a-f]{12} +true +2B .* \d\.\ds +RUN echo 1 > \/1\n.*Total:\t2B$/s,
      );
      expect(layers()).toHaveLength(2);
      const again = await mbuild.build(['-f', '-', temp.dir('context')], {
        input: 'FROM small-base\nRUN echo 2 > /2\n',
      });
      expect(again.steps.some((step) => step.cached)).toBe(true);
    });

    it('takes in one go the images without a name, and the build cache that only they shared', async () => {
      await build('app', 'RUN echo 1 > /1');
      await build('app', 'RUN echo 2 > /2');
      const dry = await mbuild.ok(['prune', '--dry-run']);
      const printed = await mbuild.ok(['prune', '-f']);
      expect(printed).toMatch(
        /^Deleted Images:\n.*\n\nDeleted build cache objects:\n[0-9a-f]{64}\n/s,
      );
      expect(
        dry
          .replace(/\n1 step must .*/, '')
          .replaceAll('Would delete', 'Deleted')
          .replace('reclaimable', 'reclaimed'),
      ).toBe(printed);
      expect(layers()).toHaveLength(2);
      expect(await mbuild.ok(['prune', '-f'])).toBe('Total reclaimed space: 0B');
    });

    it('says what it would do, and does nothing', async () => {
      const id = await build('app', 'RUN echo 1 > /1');
      await build('app', 'RUN echo 2 > /2');
      const before = [layers(), await list('-a')];
      expect(await mbuild.ok(['image', 'prune', '--dry-run'])).toMatch(
        new RegExp(`^Would delete Images:\ndeleted: ${id}\n\nTotal reclaimable space: 1\\.\\d+kB$`),
      );
      const printed = await mbuild.ok(['prune', '--dry-run', '-a']);
      expect(printed).toContain('untagged: small-base:latest');
      expect(printed).toMatch(
        /2 steps must run again, which took \d+\.\ds\nTotal reclaimable space: [\d.]+MB$/,
      );
      expect([layers(), await list('-a')]).toEqual(before);
      expect((await mbuild.ok(['prune', '-af'])).split('\n').at(-1)).toBe(
        printed.split('\n').at(-1)?.replace('reclaimable', 'reclaimed'),
      );
      expect(layers()).toEqual([]);
    });

    it('asks first', async () => {
      await build('', 'RUN echo 1 > /1');
      const no = await mbuild.run(['image', 'prune'], { input: 'n\n' });
      expect([no.code, no.stdout]).toEqual([
        1,
        'WARNING! This will remove all dangling images.\nAre you sure you want to continue? [y/N] ',
      ]);
      expect(await list()).toHaveLength(2);
      expect((await mbuild.run(['image', 'prune'], { input: 'y\n' })).code).toBe(0);
      expect(await list()).toHaveLength(1);
    });

    it('takes only what the filters leave', async () => {
      await build('', 'LABEL keep=yes', 'RUN echo 1 > /1');
      await build('', 'RUN echo 2 > /2');
      await mbuild.ok(['image', 'prune', '-f', '--filter', 'until=1h']);
      expect(await list()).toHaveLength(3);
      await mbuild.ok(['image', 'prune', '-f', '--filter', 'label!=keep']);
      expect(await list()).toHaveLength(2);
      await mbuild.ok(['image', 'prune', '-f', '--filter', 'label=keep=yes']);
      expect(await list()).toEqual(['small-base:latest']);
      expect((await mbuild.run(['image', 'prune', '-f', '--filter', 'labl=x'])).stderr).toContain(
        'did you mean "label"?',
      );
    });

    it('with --keep-storage --dry-run names what would go, and what it took; what an image needs stays', async () => {
      const build = (name: string, ...args: string[]): Promise<unknown> =>
        mbuild.build(['-f', '-', ...args, temp.dir('context')], {
          input: `FROM small-base\nRUN head -c 100000 /dev/zero > /${name}\n`,
        });
      await mbuild.ok(['builder', 'prune', '-af']);
      for (const name of ['first', 'second', 'first'])
        await build(name, '-o', 'type=tar,dest=/dev/null');
      await build('imaged', '-t', 'imaged');
      const dry = (...args: string[]): Promise<string> =>
        mbuild.ok(['builder', 'prune', '-a', '--dry-run', '--keep-storage', ...args]);
      const victims = (printed: string): string[] =>
        [...printed.matchAll(/> \/(\w+)/g)].map(([, name = '']) => name);
      expect(victims(await dry('150kb', '--policy', 'lru'))).toEqual(['second']);
      expect(victims(await dry('250kb'))).toEqual([]);
      const all = await dry('0', '--policy', 'value');
      expect(victims(all)).toEqual(['first', 'second']);
      expect(all).toMatch(
        /^\w+ +true +100kB .* \d+\.\ds +RUN head .*> \/first$[^]*^2 steps must run again, which took \d+\.\ds$/m,
      );
    });

    it('keeps the latest results up to a size; a build with --cache-limit does that by itself', async () => {
      const step = (name: string): Promise<CommandResult> =>
        mbuild.run(
          [
            'build',
            '--progress=plain',
            '--cache-limit',
            '250kb',
            '--cache-policy',
            'lru',
            '-f',
            '-',
            '-o',
            'type=tar,dest=/dev/null',
            temp.dir('context'),
          ],
          { input: `FROM small-base\nRUN head -c 100000 /dev/zero > /${name}\n` },
        );
      const sizes = async (): Promise<string[]> =>
        (await mbuild.ok(['cache', 'ls', '--format', '{{.Size}}'])).split('\n').filter(Boolean);
      expect((await step('a')).stderr).not.toContain('the cache was reduced');
      expect((await step('b')).stderr).not.toContain('the cache was reduced');
      expect((await step('c')).stderr).toMatch(
        /note: the cache was reduced to 250kB: 1 result of earlier steps deleted, \d+/,
      );
      expect(await sizes()).toEqual(['100kB', '100kB']);
      expect((await step('b')).stderr).toMatch(/CACHED[^]*1 of 1 step from the cache/);
      expect((await step('a')).stderr).toContain('0 of 1 step from the cache');
      await mbuild.ok(['builder', 'prune', '-f', '--keep-storage', '0.15mb', '--policy', 'lru']);
      expect(await sizes()).toEqual(['100kB']);
      expect((await step('a')).stderr).toContain('1 of 1 step from the cache');
      expect(
        await mbuild.run(['build', '--cache-limit', 'much', temp.dir('context')]),
      ).toMatchObject({ code: 125, stderr: expect.stringContaining('invalid size "much"') });
      expect(await mbuild.ok(['system', 'check'])).toContain('nothing is wrong');
    });

    it('leaves a build that runs alone', async () => {
      const context = temp.dir('context');
      writeFileSync(
        join(context, 'Dockerfile'),
        'FROM small-base\nRUN echo 1 > /1\nRUN sleep 2; cat /1 > /2\n',
      );
      let running = false;
      const building = mbuild.run(
        ['build', '--progress=plain', '-t', 'app', '--no-cache', context],
        {
          onStderr: (text) => {
            running ||= text.includes('[3/3] RUN');
          },
        },
      );
      while (!running)
        await new Promise((resolve) => {
          setTimeout(resolve, 20);
        });
      await mbuild.ok(['rmi', '-f', 'small-base']);
      await mbuild.ok(['prune', '-af']);
      expect((await building).code).toBe(0);
      expect(await list()).toEqual(['app:latest']);
      const { RootFS } = await mbuild.inspect('app');
      expect(RootFS.Layers).toHaveLength(3);
    });
  });

  it('system df counts shared layers once and knows what is reclaimable', async () => {
    await build('app', 'RUN dd if=/dev/zero of=/1 bs=1000 count=1000 2>/dev/null');
    await build('', 'RUN dd if=/dev/zero of=/2 bs=1000 count=2000 2>/dev/null');
    await addContainer('app', 'exited');
    const rows = (
      await mbuild.ok([
        'system',
        'df',
        '--format',
        '{{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Reclaimable}}',
      ])
    ).split('\n');
    expect(rows).toEqual([
      expect.stringMatching(/^Images\|3\|1\|2MB \(\d+%\)$/),
      'Containers|1|0|0B',
      'Local Volumes|0|0|0B',
      'Build Cache|2|0|0B',
      'Cache Mounts|0|0|0B',
      'Fetched Sources|0|0|0B',
      'Build Records|2|0|0B',
      'Failed Steps|0|0|0B',
    ]);
    const verbose = await mbuild.ok(['system', 'df', '-v']);
    expect(verbose).toMatch(
      /Images space usage:\n\nREPOSITORY +TAG +IMAGE ID +CREATED +SIZE +SHARED SIZE +UNIQUE SIZE +CONTAINERS\n/,
    );
    expect(verbose).toMatch(/app +latest +[0-9a-f]{12} .* 1MB +1\n/);
    expect(verbose).toContain('calm_turing');
  });
});
