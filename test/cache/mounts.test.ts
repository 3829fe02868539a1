import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Manifest } from '../../src/oci/image';
import { smallBase } from '../support/bases';
import type { CommandResult } from '../support/command';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { noRegistry, startRegistry, type TestRegistry } from '../support/registry';
import { useTemp, writeFiles } from '../support/temp';

describeWith('cache mounts', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
  });

  /** Runs a command with a cache under /c. */
  function run(command: string, on = mbuild): Promise<unknown> {
    return on.build([
      writeFiles(temp.dir('context'), {
        Dockerfile: `FROM small-base\nRUN --mount=type=cache,id=the/../id,target=/c ${command} # ${Math.random()}\n`,
      }),
    ]);
  }

  it('are listed by their id with what they hold', async () => {
    await run('mkdir /c/d; echo 12345 > /c/d/file; chown 1000:44 /c/d/file; ln -s d/file /c/link');
    expect(
      await mbuild.ok([
        'cache-mount',
        'ls',
        '--format',
        '{{.ID}} {{.Files}} {{.Bytes}} {{.InUse}}',
      ]),
    ).toBe('the/../id 2 6 false');
  });

  it('go to another store with owners, links and modes', async () => {
    const file = join(temp.dir('export'), 'cache.tar.gz');
    await mbuild.ok(['cache-mount', 'export', 'the/../id', '-o', file]);
    const other = new Mbuild(temp.dir('other'));
    await smallBase(other);
    await other.ok(['cache-mount', 'import', 'the/../id', file]);
    await run(
      'test "$(cat /c/link)" = 12345 && test "$(stat -c %u:%g /c/d/file)" = 1000:44',
      other,
    );
    await run('echo more > /c/more', other);
    await other.ok(['cache-mount', 'import', 'the/../id', file]);
    await run('test ! -e /c/more', other);
  });

  it('go through a registry by name', async () => {
    if (noRegistry() !== undefined) return console.log(`skipped: ${noRegistry()}`);
    const registry = await startRegistry();
    try {
      const ref = `${registry.host}/mounts:one`;
      expect(await mbuild.ok(['cache-mount', 'export', 'the/../id', '--ref', ref])).toMatch(
        /^sha256:[0-9a-f]{64}$/,
      );
      const other = new Mbuild(temp.dir('other'));
      await smallBase(other);
      await other.ok(['cache-mount', 'import', 'the/../id', '--ref', ref]);
      await run(
        'test "$(cat /c/link)" = 12345 && test "$(stat -c %u:%g /c/d/file)" = 1000:44',
        other,
      );
      await other.ok(['tag', 'small-base', `${registry.host}/image`]);
      await other.ok(['push', `${registry.host}/image`]);
      const refused = await other.run([
        'cache-mount',
        'import',
        'the/../id',
        '--ref',
        `${registry.host}/image`,
      ]);
      expect([refused.code, refused.stderr]).toEqual([
        1,
        expect.stringContaining('/image:latest is not a cache mount'),
      ]);
      await run('test -e /c/link', other);
      expect(
        (await other.run(['cache-mount', 'import', 'x', '--ref', `${registry.host}/none`])).stderr,
      ).toContain('IMAGE_NOT_FOUND');
    } finally {
      await registry.stop();
    }
  });

  describeWith('in a registry', { also: noRegistry }, () => {
    let registry: TestRegistry;
    beforeAll(async () => {
      registry = await startRegistry();
    });
    afterAll(() => registry.stop());

    const contentOf = async (on: Mbuild, id: string): Promise<string> => {
      const file = join(temp.dir('content'), 'tar');
      await on.ok(['cache-mount', 'export', id, '-o', file]);
      return createHash('sha256').update(readFileSync(file)).digest('hex');
    };
    const layersOf = async (tag: string): Promise<string[]> => {
      const response = await fetch(`http://${registry.host}/v2/parts/manifests/${tag}`, {
        headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
      });
      return ((await response.json()) as Manifest).layers.map(({ digest }) => digest);
    };

    /** A cache of forty megabytes, with a file that has two names far apart. */
    const fill = (on: Mbuild): Promise<unknown> =>
      on.build([
        writeFiles(temp.dir('context'), {
          Dockerfile: `FROM small-base\nRUN --mount=type=cache,id=large,target=/c cd /c; mkdir -p d e; for i in $(seq 40); do head -c 1000000 /dev/zero > d/$i; echo $i >> d/$i; done; ln d/1 e/1; touch -d @1000000000 d e # ${Math.random()}
`,
        }),
      ]);

    it('what has not changed is not sent again: all of it, or all but the parts with new files', async () => {
      await fill(mbuild);
      const exported = (): Promise<CommandResult> =>
        mbuild.run(['cache-mount', 'export', 'large', '--ref', `${registry.host}/parts:main`]);
      const first = await exported();
      expect(first.stderr).toMatch(/^note: (\d+) of \1 parts sent, /);
      const parts = await layersOf('main');
      expect(parts.length).toBeGreaterThan(4);
      const again = await exported();
      expect([again.stdout, again.stderr]).toEqual([
        first.stdout,
        expect.stringContaining('is up to date: nothing was sent'),
      ]);
      await mbuild.build([
        writeFiles(temp.dir('context'), {
          Dockerfile: `FROM small-base\nRUN --mount=type=cache,id=large,target=/c echo new > /c/d/2x # ${Math.random()}\n`,
        }),
      ]);
      const changed = await exported();
      const fresh = (await layersOf('main')).filter((digest) => !parts.includes(digest));
      expect(fresh.length).toBeGreaterThan(0);
      expect(fresh.length).toBeLessThanOrEqual(3);
      expect(changed.stderr).toContain(`note: ${fresh.length} of `);
    });

    it('is filled from the first name that is there, to the byte', async () => {
      const other = new Mbuild(temp.dir('other'));
      const filled = await other.run([
        'cache-mount',
        'import',
        'large',
        '--ref',
        `${registry.host}/parts:my-branch`,
        '--ref',
        `${registry.host}/parts:main`,
      ]);
      expect(filled).toMatchObject({
        code: 0,
        stderr: `note: filled from ${registry.host}/parts:main\n`,
      });
      expect(await contentOf(other, 'large')).toBe(await contentOf(mbuild, 'large'));
      const none = await other.run([
        'cache-mount',
        'import',
        'large',
        '--ref',
        `${registry.host}/parts:a`,
        '--ref',
        `${registry.host}/parts:b`,
      ]);
      expect([none.code, none.stderr]).toEqual([1, expect.stringContaining('IMAGE_NOT_FOUND')]);
      expect(await contentOf(other, 'large')).toBe(await contentOf(mbuild, 'large'));
    });

    it('is not sent when it is larger than it may be', async () => {
      const refused = await mbuild.run([
        'cache-mount',
        'export',
        'large',
        '--max-size',
        '30mb',
        '--ref',
        `${registry.host}/parts:large`,
      ]);
      expect([refused.code, refused.stderr]).toEqual([
        1,
        expect.stringMatching(
          /the cache mount large has 40(\.\d+)?MB, more than 30MB\n[^]*LIMIT_EXCEEDED/,
        ),
      ]);
      expect((await fetch(`http://${registry.host}/v2/parts/manifests/large`)).status).toBe(404);
    });
  });

  it('begin empty with --no-cache-mounts, are shared by the steps of that build, and stay as they were', async () => {
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: `FROM small-base
RUN --mount=type=cache,id=the/../id,target=/c test ! -e /c/link && touch /c/fresh # ${Math.random()}
RUN --mount=type=cache,id=the/../id,target=/c test -e /c/fresh
`,
    });
    await mbuild.build(['--no-cache-mounts', context]);
    await run('test -e /c/link && test ! -e /c/fresh');
    expect(readdirSync(join(mbuild.root, 'tmp'))).toEqual([]);
  });

  it('are as they were when an archive is broken, and nothing of it stays', async () => {
    const file = join(temp.dir('broken'), 'broken.tar');
    writeFileSync(file, 'this is no archive');
    expect((await mbuild.run(['cache-mount', 'import', 'the/../id', file])).code).toBe(1);
    await run('test -e /c/link');
    expect(readdirSync(join(mbuild.root, 'tmp'))).toEqual([]);
  });

  it('are deleted by id, and not while a step uses them', async () => {
    const running = run('touch /c/running; sleep 2');
    const inUse = async (): Promise<boolean> =>
      (await mbuild.ok(['cache-mount', 'ls', '--format', '{{.InUse}}'])).includes('true');
    while (!(await inUse()))
      await new Promise((resolve) => {
        setTimeout(resolve, 50);
      });
    const refused = await mbuild.run(['cache-mount', 'prune', 'the/../id']);
    expect(refused.stderr).toContain('the cache mount the/../id is in use by a step');
    await running;
    expect((await mbuild.run(['cache-mount', 'prune', 'no-such'])).code).toBe(125);
    expect((await mbuild.run(['cache-mount', 'prune'])).code).toBe(125);
    expect(await mbuild.ok(['cache-mount', 'prune', 'the/../id'])).toBe(
      'the/../id\nTotal reclaimed space: 6B',
    );
    await run('test -z "$(ls /c)"');
  });
});
