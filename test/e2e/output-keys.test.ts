import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { startRegistry, type TestRegistry } from '../support/registry';
import { useTemp, writeFiles } from '../support/temp';

interface Entry {
  readonly mediaType: string;
  readonly digest: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A manifest or an index. */
interface Document {
  readonly mediaType: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly config?: Entry;
  readonly layers?: readonly Entry[];
  readonly manifests: readonly Entry[];
}

describeWith('keys of --output', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let context: string;
  let outside: string;
  let registry: TestRegistry;

  beforeAll(async () => {
    registry = await startRegistry();
  });
  afterAll(async () => registry.stop());
  beforeEach(() => {
    mbuild = new Mbuild(temp.dir('store'));
    outside = temp.dir('outside');
    context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM scratch\nCOPY file /\n',
      file: 'x',
    });
  });

  const build = (...args: string[]): Promise<unknown> => mbuild.build([...args, context]);
  const layout = (): string => join(outside, 'layout');
  const blob = (digest: string): Document =>
    JSON.parse(
      readFileSync(join(layout(), 'blobs/sha256', digest.replace('sha256:', '')), 'utf8'),
    ) as Document;
  const index = (): Document =>
    JSON.parse(readFileSync(join(layout(), 'index.json'), 'utf8')) as Document;
  const get = async (path: string): Promise<Response> =>
    fetch(`http://${registry.host}/v2/${path}`, {
      headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
    });

  it('push-by-digest pushes no tag, and the image is found by its digest', async () => {
    const name = `${registry.host}/digest`;
    const metadata = join(temp.dir('out'), 'metadata.json');
    const output = `type=image,name=${name},push-by-digest=true,name-canonical=true,push=true`;
    await build('--output', output, '--metadata-file', metadata);
    const { 'containerimage.digest': digest = '' } = JSON.parse(
      readFileSync(metadata, 'utf8'),
    ) as Record<string, string>;
    expect((await get(`digest/manifests/${digest}`)).status).toBe(200);
    expect((await get('digest/manifests/latest')).status).toBe(404);
    expect(await mbuild.ok(['inspect', '--format', '{{.RepoTags}}', `${name}@${digest}`])).toBe(
      '[]',
    );
  });

  it('store=false leaves no image in the store', async () => {
    await build('--output', `type=image,name=${registry.host}/away:1,push=true,store=false`);
    expect((await get('away/manifests/1')).status).toBe(200);
    expect(await mbuild.ok(['images', '-aq'])).toBe('');
    await build('--output', 'type=cacheonly');
    expect(await mbuild.ok(['images', '-aq'])).toBe('');
  });

  it('dangling-name-prefix names an image without a name', async () => {
    await build('--output', 'type=image,dangling-name-prefix=loose');
    expect(
      await mbuild.ok(['images', '--digests', '--format', '{{.Repository}}@{{.Digest}}']),
    ).toMatch(/^loose@sha256:[0-9a-f]{64}$/);
  });

  it.each([
    ['true', 'vnd.oci.image.manifest', 'vnd.oci.image.config', 'vnd.oci.image.layer'],
    [
      'false',
      'vnd.docker.distribution.manifest',
      'vnd.docker.container',
      'vnd.docker.image.rootfs',
    ],
  ])('oci-mediatypes=%s', async (value, manifest, config, layer) => {
    await build('--output', `type=oci,tar=false,dest=${layout()},oci-mediatypes=${value}`);
    const [entry] = index().manifests;
    const made = blob(entry?.digest ?? '');
    expect([entry?.mediaType, made.mediaType]).toEqual([
      expect.stringContaining(manifest),
      expect.stringContaining(manifest),
    ]);
    expect(made.config?.mediaType).toContain(config);
    expect(made.layers?.[0]?.mediaType).toContain(layer);
  });

  it('annotations go to the level that they name', async () => {
    await build(
      '--annotation',
      'a=1',
      '--annotation',
      'index,manifest[linux/none]:b=2',
      '--output',
      `type=oci,tar=false,dest=${layout()},name=x:1,annotation.c=3,annotation-manifest-descriptor.d=4,annotation-index-descriptor.e=5,annotation-index.f=6`,
    );
    const [entry] = index().manifests;
    expect(entry?.annotations).toMatchObject({ e: '5', 'org.opencontainers.image.ref.name': '1' });
    const list = blob(entry?.digest ?? '');
    expect(list.annotations).toEqual({ b: '2', f: '6' });
    expect(list.manifests.map(({ annotations }) => annotations)).toEqual([{ d: '4' }]);
    expect(blob(list.manifests[0]?.digest ?? '').annotations).toEqual({ a: '1', c: '3' });
  });

  it('mode=delete leaves nothing but the result, and only below the working directory', async () => {
    const out = temp.dir('tree');
    writeFileSync(join(out, 'old'), '');
    mkdirSync(join(out, 'deep/er'), { recursive: true });
    const options = { cwd: join(out, '..') };
    await mbuild.build(['--output', `type=local,dest=${out},mode=delete`, context], options);
    expect(readdirSync(out)).toEqual(['file']);
    writeFileSync(join(out, 'old'), '');
    const refused = await mbuild.run(
      ['build', '--output', `type=local,dest=${out},mode=delete`, context],
      { cwd: out },
    );
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('NOT_ALLOWED')]);
    expect(existsSync(join(out, 'old'))).toBe(true);
  });

  it('platform-split gives a single platform its directory', async () => {
    const out = temp.dir('split');
    await build('--output', `type=local,dest=${out},platform-split=true`);
    expect(readdirSync(out)).toHaveLength(1);
    expect(readdirSync(join(out, readdirSync(out)[0] ?? ''))).toEqual(['file']);
  });

  it('SOURCE_DATE_EPOCH is the time of every file of type=tar and type=local', async () => {
    const out = temp.dir('tree');
    const tar = join(out, 'a.tar');
    const epoch = ['--source-date-epoch', '1600000000'];
    await build(...epoch, '--output', `type=tar,dest=${tar}`, '--output', `type=local,dest=${out}`);
    expect(statSync(join(out, 'file')).mtimeMs).toBe(1_600_000_000_000);
    expect(execFileSync('tar', ['tvf', tar, '--utc', '--full-time']).toString()).toContain(
      '2020-09-13 12:26:40',
    );
  });
});
