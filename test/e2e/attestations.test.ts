import { readFileSync, readdirSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { succeed } from '../support/command';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { noRegistry, startRegistry, type TestRegistry } from '../support/registry';
import { useTemp, writeFiles } from '../support/temp';
import { file, startWebServer } from '../support/web-server';

interface Entry {
  readonly mediaType: string;
  readonly digest: string;
  readonly artifactType?: string;
  readonly platform?: { readonly os: string; readonly architecture: string };
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A manifest or an index. */
interface Document extends Omit<Entry, 'digest' | 'platform'> {
  readonly manifests: readonly Entry[];
  readonly config: Entry;
  readonly layers: readonly Entry[];
  readonly subject?: Entry;
}

interface Statement {
  readonly _type: string;
  readonly predicateType: string;
  readonly subject: readonly {
    readonly name: string;
    readonly digest: { readonly sha256: string };
  }[];
  readonly predicate: Record<string, unknown>;
}

/** The parts of SLSA's v1 predicate that are looked at. */
interface Provenance {
  readonly buildDefinition: {
    readonly externalParameters: {
      readonly configSource: object;
      readonly request: { readonly args?: Record<string, string>; readonly secrets?: object[] };
    };
    readonly internalParameters: { readonly buildConfig?: { readonly steps: object[] } };
    readonly resolvedDependencies: readonly { readonly uri: string; readonly digest: object }[];
  };
  readonly runDetails: {
    readonly builder: { readonly id: string };
    readonly metadata: {
      readonly buildkit_metadata: {
        readonly source?: { readonly infos: { readonly data: string }[] };
      };
    };
  };
}

const ACCEPT =
  'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json';

describeWith('attestations', { root: true, also: noRegistry }, () => {
  const temp = useTemp();
  let registry: TestRegistry;
  let mbuild: Mbuild;
  let context: string;
  beforeAll(async () => {
    registry = await startRegistry();
  });
  afterAll(async () => registry?.stop());
  beforeEach(() => {
    mbuild = new Mbuild(temp.dir('store'));
    context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM scratch\nARG TOKEN\nARG V\nCOPY . /\n',
      'var/lib/dpkg/status':
        'Package: hello\nStatus: install ok installed\nVersion: 2.10-3\nArchitecture: amd64\n',
      'etc/os-release': 'ID=debian\nVERSION_ID=12\n',
    });
  });

  const get = async (repository: string, path: string): Promise<string> => {
    const url = `http://${registry.host}/v2/${repository}/${path}`;
    const response = await fetch(url, { headers: { accept: ACCEPT } });
    if (response.status !== 200) throw new Error(`${url} answers ${response.status}`);
    return response.text();
  };
  const document = async (repository: string, reference: string): Promise<Document> =>
    JSON.parse(await get(repository, `manifests/${reference}`)) as Document;
  const statements = async (repository: string, entry: Entry | undefined): Promise<Statement[]> => {
    const { layers } = await document(repository, entry?.digest ?? '');
    const texts = layers.map(({ digest }) => get(repository, `blobs/${digest}`));
    return (await Promise.all(texts)).map((text) => JSON.parse(text) as Statement);
  };

  it('lie beside their image in an index, as BuildKit writes them', async () => {
    await mbuild.build([
      '--provenance=true',
      '--sbom=true',
      '--push',
      '-t',
      `${registry.host}/app:1`,
      context,
    ]);
    const index = await document('app', '1');
    expect(index.mediaType).toBe('application/vnd.oci.image.index.v1+json');
    const [image, attestation] = index.manifests;
    expect(index.manifests).toHaveLength(2);
    expect(attestation).toMatchObject({
      platform: { os: 'unknown', architecture: 'unknown' },
      annotations: {
        'vnd.docker.reference.type': 'attestation-manifest',
        'vnd.docker.reference.digest': image?.digest,
      },
    });
    const manifest = await document('app', attestation?.digest ?? '');
    expect(manifest.layers.map(({ mediaType, annotations }) => [mediaType, annotations])).toEqual([
      [
        'application/vnd.in-toto+json',
        { 'in-toto.io/predicate-type': 'https://spdx.dev/Document' },
      ],
      [
        'application/vnd.in-toto+json',
        { 'in-toto.io/predicate-type': 'https://slsa.dev/provenance/v1' },
      ],
    ]);
    const config = JSON.parse(await get('app', `blobs/${manifest.config.digest}`)) as object;
    expect(config).toEqual({
      architecture: 'unknown',
      os: 'unknown',
      config: {},
      rootfs: { type: 'layers', diff_ids: manifest.layers.map(({ digest }) => digest) },
    });
    const [sbom, provenance] = await statements('app', attestation);
    const subject = [
      {
        name: `pkg:docker/${registry.host}/app@1?platform=linux%2Famd64`,
        digest: { sha256: image?.digest.slice('sha256:'.length) },
      },
    ];
    expect(provenance).toMatchObject({ _type: 'https://in-toto.io/Statement/v0.1', subject });
    expect(sbom).toMatchObject({ subject });
    const packages = sbom?.predicate['packages'] as { name: string; sourceInfo?: string }[];
    expect(packages.map(({ name }) => name)).toContain('hello');
    expect(packages.find(({ name }) => name === 'hello')?.sourceInfo).toContain(
      'line 4 of the Dockerfile',
    );
  });

  it('an image with them is pulled, loaded and used like any other', async () => {
    const name = `${registry.host}/used:1`;
    await mbuild.build(['--provenance=true', '--push', '-t', name, context]);
    const other = new Mbuild(temp.dir('store'));
    await other.ok(['pull', '-q', name]);
    await other.build([writeFiles(temp.dir('context'), { Dockerfile: `FROM ${name}\n` })]);
    await other.ok(['push', '-q', name]);
  });

  it('mode=max tells arguments, steps and the Dockerfile, and no secret; mode=min does not', async () => {
    const repository = `${registry.host}/modes`;
    const secret = join(temp.dir('secrets'), 's');
    const dockerfile =
      'FROM scratch\nARG TOKEN\nARG V\nLABEL token=$TOKEN note=hush-hush-hush\nCOPY . /\n';
    const built = writeFiles(temp.dir('context'), { Dockerfile: dockerfile, f: '' });
    writeFiles(join(secret, '..'), { s: 'hush-hush-hush' });
    const args = [
      '--build-arg',
      'V=2',
      '--build-arg',
      'TOKEN=tok-en-value',
      '--secret',
      `id=s,src=${secret}`,
    ];
    for (const mode of ['min', 'max'])
      await mbuild.build([
        `--provenance=mode=${mode},builder-id=https://ci.example/1`,
        ...args,
        ...['--push', '-t', `${repository}:${mode}`, built],
      ]);
    const read = async (mode: string): Promise<Provenance> => {
      const [, attestation] = (await document('modes', mode)).manifests;
      const [only] = await statements('modes', attestation);
      return only?.predicate as unknown as Provenance;
    };
    const [min, max] = [await read('min'), await read('max')];
    expect(min.buildDefinition.externalParameters.request.args).toBeUndefined();
    expect(min.buildDefinition.internalParameters.buildConfig).toBeUndefined();
    expect(min.runDetails.builder.id).toBe('https://ci.example/1');
    expect(max.buildDefinition.externalParameters.request.args).toEqual({
      'build-arg:V': '2',
      'build-arg:TOKEN': '***',
    });
    expect(max.buildDefinition.internalParameters.buildConfig?.steps).toMatchObject([
      { id: 'step0', line: 5, cached: true, layer: { diffId: expect.stringMatching(/^sha256:/) } },
    ]);
    const [info] = max.runDetails.metadata.buildkit_metadata.source?.infos ?? [];
    const told = Buffer.from(info?.data ?? '', 'base64').toString();
    expect(told).toBe(dockerfile.replace('hush-hush-hush', '***'));
    expect(JSON.stringify(max)).not.toMatch(/hush-hush|tok-en-value/);
  });

  it('materials are base images, files and named contexts, with their digests', async () => {
    const server = await startWebServer();
    server.pages.set('/f', file('file'));
    const base = `${registry.host}/base:1`;
    await new Mbuild(temp.dir('store')).build(['--push', '-t', base, context]);
    await mbuild.ok(['pull', '-q', base]);
    const digest = (await mbuild.inspect(base)).RepoDigests[0]?.split('@')[1] ?? '';
    const built = writeFiles(temp.dir('context'), {
      Dockerfile: `FROM ${base} AS unused\nFROM scratch\nCOPY --from=other /etc /etc\nADD ${server.url}/f /f\n`,
    });
    await mbuild.build([
      ...['--provenance=true', '--build-context', `other=docker-image://${base}`],
      ...['--push', '-t', `${registry.host}/materials:1`, built],
    ]);
    await server.stop();
    const [, attestation] = (await document('materials', '1')).manifests;
    const [only] = await statements('materials', attestation);
    const provenance = only?.predicate as Provenance | undefined;
    expect(provenance?.buildDefinition.resolvedDependencies).toEqual([
      {
        uri: `pkg:docker/${base.replace(/:1$/, '@1')}?platform=linux%2Famd64`,
        digest: { sha256: digest.slice('sha256:'.length) },
      },
      {
        uri: `${server.url}/f`,
        digest: { sha256: createHash('sha256').update('file').digest('hex') },
      },
    ]);
  });

  it('each platform has its own, behind all images', async () => {
    const platforms = ['--platform', 'linux/amd64,linux/arm64'];
    await mbuild.build([
      ...platforms,
      '--provenance=true',
      '--push',
      '-t',
      `${registry.host}/multi:1`,
      context,
    ]);
    const { manifests } = await document('multi', '1');
    expect(manifests.map(({ platform }) => platform?.architecture)).toEqual([
      'amd64',
      'arm64',
      'unknown',
      'unknown',
    ]);
    expect(
      manifests.slice(2).map((entry) => entry.annotations?.['vnd.docker.reference.digest']),
    ).toEqual(manifests.slice(0, 2).map(({ digest }) => digest));
  });

  it('oci-artifact=true makes them artifacts that name the image', async () => {
    const output = `type=registry,name=${registry.host}/artifact:1,oci-artifact=true`;
    await mbuild.build(['--provenance=true', '--output', output, context]);
    const [image, attestation] = (await document('artifact', '1')).manifests;
    const manifest = await document('artifact', attestation?.digest ?? '');
    expect(manifest).toMatchObject({
      artifactType: 'application/vnd.docker.attestation.manifest.v1+json',
      config: { mediaType: 'application/vnd.oci.empty.v1+json' },
      subject: { digest: image?.digest },
    });
  });

  it('outputs of files get them as files whose subjects are all files', async () => {
    const out = temp.dir('out');
    const flags = ['--provenance=true', '--sbom=cyclonedx-json'];
    await mbuild.build([
      ...flags,
      '--output',
      `type=local,dest=${out},attestation-prefix=a-`,
      context,
    ]);
    const statement = JSON.parse(readFileSync(join(out, 'a-provenance.json'), 'utf8')) as Statement;
    const hash = (name: string): string =>
      createHash('sha256')
        .update(readFileSync(join(out, name)))
        .digest('hex');
    expect(statement.subject.map(({ name }) => name)).toEqual([
      'Dockerfile',
      'etc/os-release',
      'var/lib/dpkg/status',
    ]);
    for (const { name, digest } of statement.subject) expect(digest.sha256).toBe(hash(name));
    expect(readdirSync(out)).toContain('a-sbom.cyclonedx.json');
    const tar = join(temp.dir('out'), 'o.tar');
    await mbuild.build([...flags, '--output', `type=tar,dest=${tar}`, context]);
    const listed = await succeed('tar', ['tf', tar]);
    expect(listed).toMatch(/^provenance\.json$/m);
    const text = await succeed('tar', ['xOf', tar, 'provenance.json']);
    expect((JSON.parse(text) as Statement).subject).toEqual(statement.subject);
    const inline = temp.dir('out');
    await mbuild.build(['--provenance=inline-only=true', '--output', inline, context]);
    expect(readdirSync(inline)).not.toContain('provenance.json');
  });

  it('are nothing by default, and the store says that it keeps none', async () => {
    await mbuild.build(['--push', '-t', `${registry.host}/plain:1`, context]);
    expect((await document('plain', '1')).mediaType).toBe(
      'application/vnd.oci.image.manifest.v1+json',
    );
    const { stderr } = await mbuild.build(['--provenance=true', context]);
    expect(stderr).toContain('the store keeps no attestations');
  });

  it('the metadata file has the provenance', async () => {
    const metadata = join(temp.dir('out'), 'metadata.json');
    const dest = join(temp.dir('out'), 'o.tar');
    await mbuild.build([
      '--provenance=true',
      '--metadata-file',
      metadata,
      '--output',
      `type=oci,dest=${dest}`,
      context,
    ]);
    expect(JSON.parse(readFileSync(metadata, 'utf8'))).toMatchObject({
      'buildx.build.provenance': {
        buildDefinition: { externalParameters: { configSource: { path: 'Dockerfile' } } },
      },
    });
  });

  it('bake attests what its targets ask for', async () => {
    writeFiles(context, {
      'docker-bake.hcl': `target "default" {\n  attest = ["type=provenance,mode=max", {type = "sbom", disabled = "true"}]\n  tags = ["${registry.host}/baked:1"]\n}\n`,
    });
    await mbuild.ok(['bake', '--push'], { cwd: context });
    const [, attestation] = (await document('baked', '1')).manifests;
    expect(
      (await statements('baked', attestation)).map(({ predicateType }) => predicateType),
    ).toEqual(['https://slsa.dev/provenance/v1']);
  });
});
