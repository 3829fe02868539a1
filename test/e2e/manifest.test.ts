import { cleanEnv, succeed } from '../support/command';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { noRegistry, startRegistry, type TestRegistry } from '../support/registry';
import { useTemp, writeFiles } from '../support/temp';

const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';

interface Index {
  readonly mediaType: string;
  readonly manifests: readonly {
    readonly digest: string;
    readonly platform: {
      readonly os: string;
      readonly architecture: string;
      readonly variant?: string;
    };
    readonly annotations?: Record<string, string>;
  }[];
  readonly annotations?: Record<string, string>;
}

describeWith('manifest lists', { root: true, programs: ['skopeo'], also: noRegistry }, () => {
  const temp = useTemp();
  let registry: TestRegistry;
  let mbuild: Mbuild;

  beforeAll(async () => {
    registry = await startRegistry();
    mbuild = new Mbuild(temp.dir('store'));
    for (const arch of ['amd64', 'arm64']) {
      const context = writeFiles(temp.dir('context'), {
        Dockerfile: 'FROM scratch\nCOPY f /f\n',
        f: `${arch}\n`,
      });
      await mbuild.build(['-t', name(`team/app:${arch}`), '--platform', `linux/${arch}`, context]);
    }
  });
  afterAll(async () => registry?.stop());

  const name = (rest: string): string => `${registry.host}/${rest}`;
  const raw = async (reference: string): Promise<Index> =>
    JSON.parse(
      await succeed(
        'skopeo',
        ['--insecure-policy', 'inspect', '--raw', '--tls-verify=false', `docker://${reference}`],
        { env: cleanEnv({ HOME: temp.dir('home') }) },
      ),
    ) as Index;
  const pulled = async (reference: string, platform: string): Promise<string> => {
    const other = new Mbuild(temp.dir('store'));
    await other.ok(['pull', '-q', '--platform', platform, reference]);
    return other.ok(['inspect', '--format', '{{.Os}}/{{.Architecture}}', reference]);
  };

  it('are made of what a registry has, annotated, shown and pushed', async () => {
    for (const arch of ['amd64', 'arm64'])
      await mbuild.ok(['push', '-q', name(`team/app:${arch}`)]);
    expect(
      await mbuild.ok([
        'manifest',
        'create',
        '--annotation',
        'a=b',
        name('team/app:all'),
        name('team/app:amd64'),
        name('team/app:arm64'),
      ]),
    ).toBe(`Created manifest list ${name('team/app:all')}`);
    expect(
      (await mbuild.run(['manifest', 'create', name('team/app:all'), name('team/app:amd64')]))
        .stderr,
    ).toContain('no --amend flag');
    await mbuild.ok([
      'manifest',
      'annotate',
      name('team/app:all'),
      name('team/app:arm64'),
      '--variant',
      'v8',
      '--annotation',
      'x=y',
    ]);
    const shown = JSON.parse(
      await mbuild.ok(['manifest', 'inspect', name('team/app:all')]),
    ) as Index;
    const digest = await mbuild.ok(['manifest', 'push', '-q', name('team/app:all')]);
    expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    const index = await raw(name('team/app:all'));
    expect(index).toEqual(shown);
    expect(index).toMatchObject({
      mediaType: OCI_INDEX,
      annotations: { a: 'b' },
      manifests: [
        { platform: { os: 'linux', architecture: 'amd64' } },
        {
          platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
          annotations: { x: 'y' },
        },
      ],
    });
    expect(await pulled(name('team/app:all'), 'linux/amd64')).toBe('linux/amd64');
    expect(await pulled(name('team/app:all'), 'linux/arm64')).toBe('linux/arm64');
    // From the registry, when the list is gone here.
    await mbuild.ok(['manifest', 'rm', name('team/app:all')]);
    expect(JSON.parse(await mbuild.ok(['manifest', 'inspect', name('team/app:all')]))).toEqual(
      index,
    );
    const verbose = JSON.parse(
      await mbuild.ok(['manifest', 'inspect', '-v', name('team/app:all')]),
    ) as { OCIManifest: { layers: unknown[] } }[];
    expect(verbose.map(({ OCIManifest }) => OCIManifest.layers.length)).toEqual([1, 1]);
  });

  it('take images of the store that no registry has yet, and of another repository', async () => {
    const local = 'nowhere.example/app:arm64';
    await mbuild.ok(['tag', name('team/app:arm64'), local]);
    await mbuild.ok(['push', '-q', name('team/app:amd64')]);
    await mbuild.ok(['manifest', 'create', name('mixed/app:1'), name('team/app:amd64')]);
    const offline = { HTTPS_PROXY: 'http://127.0.0.1:1' };
    await mbuild.ok(['index', 'create', '--amend', name('mixed/app:1'), local], { env: offline });
    await mbuild.ok(['manifest', 'push', '--purge', name('mixed/app:1')]);
    expect((await mbuild.run(['manifest', 'push', name('mixed/app:1')])).stderr).toContain(
      'no such manifest list',
    );
    expect(await pulled(name('mixed/app:1'), 'linux/amd64')).toBe('linux/amd64');
    expect(await pulled(name('mixed/app:1'), 'linux/arm64')).toBe('linux/arm64');
  });

  it('merge the indexes that several machines have pushed, also over registries', async () => {
    const second = await startRegistry();
    try {
      for (const arch of ['amd64', 'arm64']) {
        await mbuild.ok(['push', '-q', name(`team/app:${arch}`)]);
        await mbuild.ok([
          'manifest',
          'create',
          name(`machine/${arch}:1`),
          name(`team/app:${arch}`),
        ]);
        await mbuild.ok(['manifest', 'push', '-p', name(`machine/${arch}:1`)]);
      }
      const merged = `${second.host}/merged:1`;
      await mbuild.ok([
        'manifest',
        'create',
        merged,
        name('machine/amd64:1'),
        name('machine/arm64:1'),
      ]);
      await mbuild.ok(['manifest', 'push', merged]);
      expect((await raw(merged)).manifests.map(({ platform }) => platform.architecture)).toEqual([
        'amd64',
        'arm64',
      ]);
      expect(await pulled(merged, 'linux/arm64')).toBe('linux/arm64');
    } finally {
      await second.stop();
    }
  });

  it('of images of several platforms under one name are pushed by push', async () => {
    const other = new Mbuild(temp.dir('store'));
    for (const arch of ['amd64', 'arm64'])
      await mbuild.ok(['push', '-q', name(`team/app:${arch}`)]);
    await mbuild.ok([
      'manifest',
      'create',
      '--amend',
      name('team/both:1'),
      name('team/app:amd64'),
      name('team/app:arm64'),
    ]);
    await mbuild.ok(['manifest', 'push', name('team/both:1')]);
    for (const arch of ['amd64', 'arm64'])
      await other.ok(['pull', '-q', '--platform', `linux/${arch}`, name('team/both:1')]);
    await other.ok(['push', '-q', name('team/both:1')]);
    expect(
      (await raw(name('team/both:1'))).manifests
        .map(({ platform }) => platform.architecture)
        .sort(),
    ).toEqual(['amd64', 'arm64']);
  });

  it.each([
    [['manifest', 'push', 'nosuch'], /no such manifest list: nosuch/],
    [['manifest', 'annotate', 'nosuch', 'x'], /no such manifest list/],
    [['manifest', 'create', 'list', 'HOST/team/nothing:1'], /IMAGE_NOT_FOUND/],
    [['manifest', 'inspekt', 'x'], /did you mean "inspect"/],
  ])('%j is refused', async (args, message) => {
    const { code, stderr } = await mbuild.run(
      args.map((arg) => arg.replace('HOST', registry.host)),
    );
    expect([code === 0, stderr]).toEqual([false, expect.stringMatching(message)]);
  });
});
