import { readFileSync } from 'node:fs';
import path from 'node:path';
import Ajv from 'ajv';
import { debianBase, debianMissing } from '../../support/bases';
import { Mbuild } from '../../support/mbuild';
import { describeWith } from '../../support/needs';
import { useTemp, writeFiles } from '../../support/temp';

interface Component {
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly properties: readonly { readonly name: string; readonly value: string }[];
}

async function components(mbuild: Mbuild, image: string): Promise<readonly Component[]> {
  const text = await mbuild.ok(['sbom', '--format', 'cyclonedx-json', image]);
  return (JSON.parse(text) as { components: readonly Component[] }).components;
}

describe('mbuild sbom', () => {
  const temp = useTemp();
  const STATUS = (names: readonly string[]): string =>
    names.map((name) => `Package: ${name}\nStatus: install ok installed\nVersion: 1\n`).join('\n');

  async function layered(): Promise<Mbuild> {
    const cwd = temp.dir();
    writeFiles(cwd, {
      one: STATUS(['a', 'gone']),
      two: STATUS(['a', 'b']),
      'package.json': '{"name":"left","version":"1.0.0","license":"MIT"}',
      'os-release': 'ID=debian\nVERSION_ID="12"\n',
      broken: '{',
      Dockerfile: [
        'FROM scratch',
        'COPY os-release /etc/',
        'COPY one /var/lib/dpkg/status',
        'COPY package.json /app/node_modules/left/package.json',
        'COPY two /var/lib/dpkg/status',
        'COPY broken /app/node_modules/torn/package.json',
        '',
      ].join('\n'),
    });
    const mbuild = new Mbuild(temp.dir());
    await mbuild.build(['-t', 'layered', '.'], { cwd });
    return mbuild;
  }

  it('says with which layer and line each package came', async () => {
    const mbuild = await layered();
    const lines = Object.fromEntries(
      (await components(mbuild, 'layered')).map(({ name, properties }) => [
        name,
        properties.find((property) => property.name === 'mbuild:dockerfile:line')?.value,
      ]),
    );
    expect(lines).toEqual({ a: '3', b: '5', left: '4' });
    const table = await mbuild.ok(['sbom', 'layered']);
    expect(table).toMatch(/^a +1 +deb +2 +line 3/m);
  });

  it('names the records that it cannot read, in the document, too', async () => {
    const mbuild = await layered();
    const { stderr, stdout, code } = await mbuild.run(['sbom', '--format', 'spdx-json', 'layered']);
    expect(code).toBe(0);
    expect(stderr).toContain(
      'note: incomplete: /app/node_modules/torn/package.json cannot be read',
    );
    const { creationInfo } = JSON.parse(stdout) as { creationInfo: { comment: string } };
    expect(creationInfo.comment).toContain('app/node_modules/torn/package.json');
  });

  it('reads a layer once', async () => {
    const mbuild = await layered();
    const first = await mbuild.ok(['sbom', 'layered']);
    const { stdout } = await mbuild.run([
      'inspect',
      '--format',
      '{{json .RootFS.Layers}}',
      'layered',
    ]);
    const layers = JSON.parse(stdout) as string[];
    const file = (diffId: string): string =>
      path.join(mbuild.root, 'sbom', `${diffId.slice(7)}.json`);
    // A catalog that was changed by hand shows that it is what is read.
    const catalog = readFileSync(file(layers[2] ?? ''), 'utf8');
    writeFiles(path.dirname(file(layers[2] ?? '')), {
      [path.basename(file(layers[2] ?? ''))]: catalog.replace('"left"', '"seen"'),
    });
    expect(await mbuild.ok(['sbom', 'layered'])).toBe(first.replace('left', 'seen'));
  });

  it('is valid CycloneDX 1.6', async () => {
    const mbuild = await layered();
    const schemas = path.dirname(require.resolve('@cyclonedx/cyclonedx-library/package.json'));
    const schema = (name: string): object =>
      JSON.parse(readFileSync(path.join(schemas, 'res/schema', name), 'utf8')) as object;
    const ajv = new Ajv({ strict: false, validateFormats: false });
    for (const name of ['spdx.SNAPSHOT.schema.json', 'jsf-0.82.SNAPSHOT.schema.json'])
      ajv.addSchema({ ...schema(name), $id: `http://cyclonedx.org/schema/${name}` });
    const validate = ajv.compile(schema('bom-1.6.SNAPSHOT.schema.json'));
    const document: unknown = JSON.parse(
      await mbuild.ok(['sbom', '--format', 'cyclonedx-json', 'layered']),
    );
    validate(document);
    expect(validate.errors).toBeNull();
  });

  describeWith('of a Debian image', { also: debianMissing }, () => {
    it('has what dpkg-query has', async () => {
      const mbuild = new Mbuild(temp.dir());
      await debianBase(mbuild);
      const query = await mbuild.ok([
        'run',
        '--rm',
        '--network=none',
        'debian',
        'dpkg-query',
        '-W',
        '-f',
        '${Package} ${Version}\n',
      ]);
      const found = (await components(mbuild, 'debian'))
        .filter(({ purl }) => purl.startsWith('pkg:deb/debian/'))
        .map(({ name, version }) => `${name} ${version}`);
      expect(found.sort()).toEqual(query.split('\n').sort());
    });
  });
});
