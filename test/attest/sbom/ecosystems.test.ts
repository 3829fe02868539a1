import { readFileSync, realpathSync, statSync } from 'node:fs';
import { deflateSync } from 'node:zlib';
import { strToU8, zipSync } from 'fflate';
import { ECOSYSTEMS } from '../../../src/attest/sbom/ecosystems';
import type { Package } from '../../../src/attest/sbom/package';
import { findProgram } from '../../support/needs';
import { useTemp } from '../../support/temp';
import { elfWith } from './elf-file';
import { layerFile } from './file';
import { bdbDatabase, ndbDatabase, rpmHeader, sqliteDatabase } from './rpm-files';

/** What the package managers that claim the file read in it, without members that are `undefined`. */
function read(path: string, content: string | Uint8Array, executable = false): Package[] {
  const file = layerFile(path, content, executable);
  const claimed = ECOSYSTEMS.filter((ecosystem) => ecosystem.claims(file));
  const found = claimed.flatMap((ecosystem) => ecosystem.read(file));
  return JSON.parse(JSON.stringify(found)) as Package[];
}

describe('records of package managers', () => {
  const temp = useTemp();

  it.each<[string, string, string | Uint8Array, readonly object[]]>([
    [
      'dpkg: what is installed, and not what is removed',
      'var/lib/dpkg/status',
      'Package: a\nStatus: install ok installed\nArchitecture: amd64\nSource: src (1.0)\nDescription: x\n more\nVersion: 1:2-3\n\n' +
        'Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: b\nStatus: hold ok installed\nVersion: 5\n',
      [
        {
          type: 'deb',
          name: 'a',
          version: '1:2-3',
          architecture: 'amd64',
          source: { name: 'src', version: '1.0' },
        },
        { type: 'deb', name: 'b', version: '5' },
      ],
    ],
    [
      'dpkg of distroless images',
      'var/lib/dpkg/status.d/tzdata',
      'Package: tzdata\nVersion: 2026a-1\nArchitecture: all\n',
      [{ type: 'deb', name: 'tzdata', version: '2026a-1', architecture: 'all' }],
    ],
    ['the sums beside them are no records', 'var/lib/dpkg/status.d/tzdata.md5sums', 'x', []],
    [
      'apk',
      'lib/apk/db/installed',
      'C:Q1\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\no:musl\n\nP:musl-utils\nV:1.2.5-r0\nL:MIT AND GPL-2.0-or-later\no:musl\nF:sbin\nR:ldconfig\n',
      [
        {
          type: 'apk',
          name: 'musl',
          version: '1.2.5-r0',
          architecture: 'x86_64',
          licenses: ['MIT'],
        },
        {
          type: 'apk',
          name: 'musl-utils',
          version: '1.2.5-r0',
          licenses: ['MIT AND GPL-2.0-or-later'],
          source: { name: 'musl', version: '1.2.5-r0' },
        },
      ],
    ],
    [
      'npm, with a scope',
      'app/node_modules/@s/x/package.json',
      '{"name":"@s/x","version":"1.0.0","license":"MIT"}',
      [{ type: 'npm', namespace: '@s', name: 'x', version: '1.0.0', licenses: ['MIT'] }],
    ],
    [
      'npm, as pnpm lays it out, with a license of the old form',
      'app/node_modules/.pnpm/y@2.0.0/node_modules/y/package.json',
      '{"name":"y","version":"2.0.0","licenses":[{"type":"BSD"},{"type":"MIT"}]}',
      [{ type: 'npm', name: 'y', version: '2.0.0', licenses: ['BSD', 'MIT'] }],
    ],
    [
      'a part of a package is none',
      'app/node_modules/y/dist/package.json',
      '{"type":"module"}',
      [],
    ],
    [
      'pip: the normal form of the name',
      'usr/lib/python3/dist-packages/Foo_Bar-1.dist-info/METADATA',
      'Metadata-Version: 2.4\nName: Foo_Bar.baz\nVersion: 1\nLicense-Expression: MIT\n\nText\n',
      [{ type: 'pypi', name: 'foo-bar-baz', version: '1', licenses: ['MIT'] }],
    ],
    [
      'gems',
      'var/lib/gems/3.1.0/specifications/rake-13.0.6.gemspec',
      'Gem::Specification.new do |s|\n  s.name = "rake".freeze\n  s.version = "13.0.6"\n  s.licenses = ["MIT".freeze]\nend\n',
      [{ type: 'gem', name: 'rake', version: '13.0.6', licenses: ['MIT'] }],
    ],
    [
      'Composer',
      'app/vendor/composer/installed.json',
      '{"packages":[{"name":"monolog/monolog","version":"3.5.0","license":["MIT"]},{"name":1}]}',
      [
        {
          type: 'composer',
          namespace: 'monolog',
          name: 'monolog',
          version: '3.5.0',
          licenses: ['MIT'],
        },
      ],
    ],
    [
      'NuGet, without projects',
      'app/web.deps.json',
      '{"libraries":{"web/1.0.0":{"type":"project"},"Serilog/4.0.0":{"type":"package"}}}',
      [{ type: 'nuget', name: 'Serilog', version: '4.0.0' }],
    ],
  ])('%s', (_, path, content, packages) => {
    expect(read(path, content)).toEqual(packages);
  });

  it('Java archives: what Maven wrote, archives inside, else the manifest', () => {
    const pom = (group: string, name: string): Uint8Array =>
      strToU8(`#x\nversion=1.2\ngroupId=${group}\nartifactId=${name}\n`);
    const inner = zipSync({
      'META-INF/MANIFEST.MF': strToU8('Manifest-Version: 1.0\r\nImplementation-Version: 9\r\n'),
    });
    const outer = zipSync({
      'META-INF/maven/org.x/app/pom.properties': pom('org.x', 'app'),
      'BOOT-INF/lib/plain-9.jar': inner,
      'big.class': new Uint8Array(10),
    });
    expect(read('app.jar', outer)).toEqual([
      { type: 'maven', namespace: 'org.x', name: 'app', version: '1.2' },
      { type: 'maven', name: 'plain', version: '9' },
    ]);
  });

  it('rpm: one answer out of SQLite, its own database and Berkeley DB', () => {
    const tags = {
      1000: 'bash',
      1001: '5.2',
      1002: '3.el9',
      1022: 'x86_64',
      1014: 'GPLv3+',
      1044: 'bash-5.2-3.el9.src.rpm',
    };
    const short = rpmHeader(tags);
    // Longer than a page, so that it goes on elsewhere.
    const long = rpmHeader({
      1000: 'shadow',
      1003: 2,
      1001: '4',
      1002: '1',
      5000: 'x'.repeat(70_000),
    });
    const expected = [
      {
        type: 'rpm',
        name: 'bash',
        version: '5.2-3.el9',
        architecture: 'x86_64',
        licenses: ['GPLv3+'],
        source: { name: 'bash', version: '5.2-3.el9' },
      },
      { type: 'rpm', name: 'shadow', version: '4-1', epoch: '2' },
    ];
    const sqlite = sqliteDatabase(temp.dir(), [short, long]);
    expect(read('var/lib/rpm/rpmdb.sqlite', sqlite)).toEqual(expected);
    expect(read('usr/lib/sysimage/rpm/Packages.db', ndbDatabase([short, long]))).toEqual(expected);
    expect(read('var/lib/rpm/Packages', bdbDatabase(short, long))).toEqual(expected);
  });

  it('rpm: many packages, on many pages of SQLite', () => {
    const headers = Array.from({ length: 500 }, (_, i) =>
      rpmHeader({ 1000: `p${i}`, 1001: '1', 1002: '1', 5000: 'y'.repeat((i * 37) % 5000) }),
    );
    const found = read('var/lib/rpm/rpmdb.sqlite', sqliteDatabase(temp.dir(), headers));
    expect(found.map(({ name }) => name)).toEqual(headers.map((_, i) => `p${i}`));
  });

  it('databases that are cut off or damaged are errors, never fewer packages', () => {
    const header = rpmHeader({ 1000: 'a', 1001: '1', 1002: '1', 5000: 'x'.repeat(9000) });
    const whole = sqliteDatabase(temp.dir(), [header, header]);
    for (const cut of [120, 5000, whole.length - 4096])
      expect(() => read('var/lib/rpm/rpmdb.sqlite', whole.subarray(0, cut))).toThrow();
    const ndb = ndbDatabase([header]);
    expect(() => read('var/lib/rpm/Packages.db', ndb.subarray(0, 5000))).toThrow('cut off');
    expect(() => read('var/lib/rpm/Packages', Buffer.from('text'))).toThrow('unknown');
    expect(() => read('app/node_modules/a/package.json', '[')).toThrow();
  });

  it('Rust programs of cargo-auditable, without what only builds them', () => {
    const json = {
      packages: [
        { name: 'serde', version: '1.0.1' },
        { name: 'cc', version: '1', kind: 'build' },
      ],
    };
    const program = elfWith(
      '.dep-v0',
      Buffer.concat([deflateSync(JSON.stringify(json)), Buffer.alloc(5000)]),
    );
    expect(read('usr/bin/x', program, true)).toEqual([
      { type: 'cargo', name: 'serde', version: '1.0.1' },
    ]);
  });

  it('Go programs: the modules, and what takes the place of one', () => {
    const text = `path\tx/y\nmod\tx/y\tv1.0.0\th1:=\ndep\tgithub.com/a/b\tv2.0.0\n=>\t./local\t\ndep\tgithub.com/c/d\tv3.0.0\n`;
    const modules = Buffer.concat([Buffer.alloc(16), Buffer.from(text), Buffer.alloc(16)]);
    const header = Buffer.alloc(32);
    header.write('\xff Go buildinf:', 'latin1');
    header.set([8, 2], 14);
    const version = Buffer.from('go1.22.1');
    const length = Buffer.from([0x80 | (modules.length & 0x7f), modules.length >> 7]);
    const info = Buffer.concat([header, Buffer.from([version.length]), version, length, modules]);
    const program = elfWith('.go.buildinfo', Buffer.concat([info, Buffer.alloc(70_000)]));
    expect(read('app', program, true)).toEqual([
      { type: 'golang', name: 'stdlib', version: '1.22.1' },
      { type: 'golang', namespace: 'x', name: 'y', version: 'v1.0.0' },
      { type: 'golang', namespace: '.', name: 'local', version: '(devel)' },
      { type: 'golang', namespace: 'github.com/c', name: 'd', version: 'v3.0.0' },
    ]);
  });

  it('a real Go program', () => {
    const program = findProgram('skopeo');
    if (program === undefined) return console.log('skipped: needs skopeo');
    const file = realpathSync(program);
    expect(statSync(file).size).toBeGreaterThan(1e6);
    // Debian builds without modules, so its programs name the version of Go alone.
    const [stdlib] = read('usr/bin/skopeo', readFileSync(file), true);
    expect(stdlib).toMatchObject({
      name: 'stdlib',
      version: expect.stringMatching(/^1\.\d+/) as string,
    });
  });
});
