import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { noRegistry, startRegistry, type TestRegistry } from '../support/registry';
import { useTemp, writeFiles } from '../support/temp';

interface Index {
  readonly mediaType: string;
  readonly manifests: readonly {
    readonly digest: string;
    readonly platform: { readonly os: string; readonly architecture: string };
    readonly annotations?: Readonly<Record<string, string>>;
  }[];
  readonly annotations?: Readonly<Record<string, string>>;
}

describeWith('imagetools', { root: true, also: noRegistry }, () => {
  const temp = useTemp();
  const digests: Record<string, string> = {};
  let registry: TestRegistry;
  let other: TestRegistry;
  let mbuild: Mbuild;
  let metadata: string;

  const name = (rest: string): string => `${registry.host}/${rest}`;
  const raw = async (reference: string): Promise<Index> =>
    JSON.parse(await mbuild.ok(['imagetools', 'inspect', '--raw', reference])) as Index;

  beforeAll(async () => {
    registry = await startRegistry();
    other = await startRegistry();
    metadata = temp.dir('metadata');
    for (const arch of ['amd64', 'arm64']) {
      // Each on a runner of its own: nothing is shared but the registry.
      mbuild = new Mbuild(temp.dir('store'));
      const context = writeFiles(temp.dir('context'), {
        Dockerfile: 'FROM scratch\nCOPY f /f\n',
        f: `${arch}\n`,
      });
      const file = join(metadata, arch);
      const output = `type=image,name=${name('team/app')},push-by-digest=true,name-canonical=true,push=true`;
      const flags = ['--provenance=mode=max', '--sbom=true', '--metadata-file', file];
      await mbuild.build([...flags, '--platform', `linux/${arch}`, '--output', output, context]);
      const read = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>;
      digests[arch] = read['containerimage.digest'] ?? '';
    }
  });
  afterAll(async () => {
    await registry?.stop();
    await other?.stop();
  });

  it('create joins what runners pushed by digest, with what is attested', async () => {
    const [amd64 = '', arm64 = ''] = [digests['amd64'], digests['arm64']];
    const printed = await mbuild.ok([
      ...['imagetools', 'create', '-t', name('team/app:1')],
      amd64,
      name(`team/app@${arm64}`),
    ]);
    expect(printed).toMatch(/team\/app:1@sha256:[0-9a-f]{64}$/);
    const { manifests } = await raw(name('team/app:1'));
    expect(manifests.map(({ platform }) => platform.architecture).sort()).toEqual([
      'amd64',
      'arm64',
      'unknown',
      'unknown',
    ]);
    for (const arch of ['amd64', 'arm64']) {
      const puller = new Mbuild(temp.dir('store'));
      await puller.ok(['pull', '-q', '--platform', `linux/${arch}`, name('team/app:1')]);
    }
  });

  it('inspect reads provenance and SBOM of each platform back', async () => {
    const tag = name('team/app:2');
    const files = ['amd64', 'arm64'].flatMap((arch) => ['-f', join(metadata, arch)]);
    await mbuild.ok(['buildx', 'imagetools', 'create', '-t', tag, ...files]);
    const read = async (format: string): Promise<unknown> =>
      JSON.parse(await mbuild.ok(['buildx', 'imagetools', 'inspect', tag, '--format', format]));
    expect(await read('{{json .Provenance}}')).toMatchObject({
      'linux/amd64': { SLSA: { buildDefinition: { externalParameters: {} } } },
      'linux/arm64': { SLSA: { runDetails: { metadata: {} } } },
    });
    expect(await read('{{json (index .SBOM "linux/arm64").SPDX.spdxVersion}}')).toBe('SPDX-2.3');
    expect(await read('{{json .Image}}')).toMatchObject({
      'linux/arm64': { architecture: 'arm64', os: 'linux' },
    });
    const text = await mbuild.ok(['imagetools', 'inspect', tag]);
    expect(text).toContain(`Name:      ${tag}\n`);
    expect(text).toContain('vnd.docker.reference.type:   attestation-manifest');
  });

  it('one image has its own, and one without any has none', async () => {
    const source = name(`team/app@${digests['amd64'] ?? ''}`);
    const format = '{{json .Provenance.SLSA.buildDefinition.buildType}}';
    expect(await mbuild.ok(['imagetools', 'inspect', source, '--format', format])).toContain(
      'mbuild',
    );
    const context = writeFiles(temp.dir('context'), { Dockerfile: 'FROM scratch\nCOPY . /\n' });
    await mbuild.build(['--push', '-t', name('plain:1'), context]);
    const plain = ['imagetools', 'inspect', name('plain:1'), '--format'];
    expect(await mbuild.ok([...plain, '{{json .Provenance}}'])).toBe('{}');
    expect(await mbuild.ok([...plain, '{{json .SBOM}}'])).toBe('{}');
  });

  it('a single index is copied as it is, also to another registry, with its attestations', async () => {
    const copy = `${other.host}/copied:1`;
    await mbuild.ok(['imagetools', 'create', '-t', copy, name('team/app:1')]);
    expect(await raw(copy)).toEqual(await raw(name('team/app:1')));
    const format = '{{json (index .SBOM "linux/amd64").SPDX.spdxVersion}}';
    expect(await mbuild.ok(['imagetools', 'inspect', copy, '--format', format])).toContain(
      'SPDX-2.3',
    );
    await new Mbuild(temp.dir('store')).ok(['pull', '-q', copy]);
  });

  it('--append adds, --dry-run prints, --annotation and --platform choose and tell', async () => {
    const tag = name('team/app:3');
    const [amd64 = '', arm64 = ''] = [digests['amd64'], digests['arm64']];
    await mbuild.ok(['imagetools', 'create', '-t', tag, amd64]);
    await mbuild.ok(['imagetools', 'create', '-t', tag, '--append', arm64]);
    expect((await raw(tag)).manifests).toHaveLength(4);
    const printed = await mbuild.ok([
      ...['imagetools', 'create', '--dry-run', '--platform', 'linux/arm64'],
      ...['--annotation', 'index:a=b', '--annotation', 'manifest-descriptor[linux/arm64]:c=d', tag],
    ]);
    const { manifests, annotations } = JSON.parse(printed) as Index;
    expect(annotations).toEqual({ a: 'b' });
    expect(manifests.map(({ platform }) => platform.architecture)).toEqual(['arm64', 'unknown']);
    expect(manifests[0]?.annotations).toEqual({ c: 'd' });
  });

  it('what makes no sense is refused', async () => {
    const file = join(temp.dir('x'), 'f');
    writeFileSync(file, '{"digest": 5}');
    for (const [args, message] of [
      [[name('team/app:1')], 'no name to push to'],
      [['-t', name('x:1')], 'no source'],
      [['--dry-run', digests['amd64'] ?? ''], 'a digest without a repository'],
      [['-t', name('x:1'), '-f', file], 'holds no digest'],
      [
        ['-t', name('x:1'), '--annotation', 'a=b', name('team/app:1')],
        'manifest:a is not possible',
      ],
      [
        ['-t', name('x:1'), '--platform', 'linux/s390x', name('team/app:1')],
        'no image of the sources',
      ],
      [['-t', name('x:1'), name('nothing:1')], 'IMAGE_NOT_FOUND'],
    ] as const) {
      const result = await mbuild.run(['imagetools', 'create', ...args]);
      expect([result.code === 0, result.stderr]).toEqual([false, expect.stringContaining(message)]);
    }
  });
});
