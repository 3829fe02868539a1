import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { cleanEnv, command, succeed } from '../support/command';
import { copyFixture } from '../support/fixtures';
import { fixture, MBUILD, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';
import { listTree, treeDifference, treeOf, type TreeEntry } from '../support/tree';
import { podman, unpackWithTar, unpackWithUmoci } from '../support/unpack';

const GREETING = 'Hello, mbuild!\nHello, reader!\nHello, world!\n';

describeWith('outputs', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let context: string;
  let id: string;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    context = copyFixture(fixture('hello'), join(temp.dir(), 'hello'));
    id = (await mbuild.build(['-t', 'hello', context])).id;
  });

  async function output(spec: string, name: string): Promise<string> {
    const dest = join(temp.dir('out'), name);
    await mbuild.build(['-t', 'example.org/hello:v1', '--output', `${spec},dest=${dest}`, context]);
    return dest;
  }

  it('type=local writes the tree of the image', async () => {
    const tree = treeOf(await output('type=local', 'tree'));
    expect(tree.get('usr/share/hello/result.txt')).toMatchObject({
      type: 'file',
      size: GREETING.length,
    });
    expect(tree.get('bin/busybox')).toMatchObject({ mode: '0755' });
  });

  it('a bare path means type=local', async () => {
    const dest = join(temp.dir('out'), 'bare');
    await mbuild.build(['-o', dest, context]);
    expect(readFileSync(join(dest, 'usr/share/hello/result.txt'), 'utf8')).toBe(GREETING);
  });

  it('type=tar writes it as a tar, also to standard output', async () => {
    const file = await output('type=tar', 'tree.tar');
    const listing = execFileSync('tar', ['-tf', file]).toString();
    expect(listing).toMatch(/usr\/share\/hello\/result\.txt/);
    const piped = await succeed(
      'sh',
      [
        '-c',
        '"$0" build -o - "$1" | tar -xO --wildcards "*usr/share/hello/result.txt"',
        MBUILD,
        context,
      ],
      { env: cleanEnv({ MBUILD_ROOT: mbuild.root }) },
    );
    expect(piped).toBe(GREETING);
  });

  it('the tree is the same by every way out', async () => {
    const local = listTree(await output('type=local', 'tree'));
    const untarred = join(temp.dir(), 'untarred');
    mkdirSync(untarred);
    execFileSync('tar', [
      '-xpf',
      await output('type=tar', 'tree.tar'),
      '--numeric-owner',
      '-C',
      untarred,
    ]);
    const withoutRoot = (tree: readonly TreeEntry[]): TreeEntry[] =>
      tree.filter((entry) => entry.path !== '.');
    expect(treeDifference(withoutRoot(local), withoutRoot(listTree(untarred)))).toEqual([]);
  });

  it('what is compressed while it is hashed is what is compressed later, and no layer that does not leave', async () => {
    const dir = temp.dir('context');
    const lines = (length: number): string =>
      Array.from({ length }, (_, i) => `line ${i * 7919}\n`).join('');
    writeFiles(dir, {
      Dockerfile:
        'FROM scratch AS parts\nCOPY parts /parts\nFROM scratch AS below\nCOPY files /files\nFROM below\nCOPY --from=parts /parts/small /small\n',
      'files/large': lines(200_000),
      'parts/large': lines(190_000),
      'parts/small': 'small',
    });
    const blobs = (folder: string): string[] => readdirSync(join(folder, 'blobs', 'sha256')).sort();
    const isGzip = (folder: string, blob: string): boolean =>
      readFileSync(join(folder, 'blobs', 'sha256', blob)).readUInt16BE(0) === 0x1f8b;
    const atOnce = temp.dir('at-once');
    const first = new Mbuild(temp.dir('store'));
    await first.build([
      '--source-date-epoch=0',
      '--output',
      `type=oci,tar=false,dest=${atOnce}`,
      dir,
    ]);
    const later = temp.dir('later');
    const second = new Mbuild(temp.dir('store'));
    await second.build(['--source-date-epoch=0', dir]);
    await second.build([
      '--source-date-epoch=0',
      '--output',
      `type=oci,tar=false,dest=${later}`,
      dir,
    ]);
    expect(blobs(atOnce)).toEqual(blobs(later));
    const compressed = blobs(first.root).filter((blob) => isGzip(first.root, blob));
    expect(compressed).toHaveLength(2);
    expect(blobs(atOnce)).toEqual(expect.arrayContaining(compressed));
  });

  it('save writes an archive that load in another store takes back to the same image', async () => {
    const file = join(temp.dir(), 'saved.tar');
    await mbuild.ok(['save', '-o', file, 'hello']);
    const other = new Mbuild(temp.dir('store'));
    expect(await other.ok(['load', '-i', file])).toBe('Loaded image: hello:latest');
    expect((await other.inspect('hello')).Id).toBe(id);
    expect((await other.run(['run', '--rm', 'hello'])).stdout).toBe(GREETING);
  });

  it('save puts several images into one archive, their common layers once', async () => {
    await mbuild.ok(['tag', 'hello', 'hello:again']);
    const file = join(temp.dir(), 'several.tar');
    await mbuild.ok(['save', '-o', file, 'hello', 'hello:again', 'small-base']);
    expect(statSync(file).size).toBeLessThan(
      2 * statSync(await output('type=docker', 'one.tar')).size,
    );
    const other = new Mbuild(temp.dir('store'));
    expect((await other.ok(['load', '-i', file])).split('\n').sort()).toEqual([
      'Loaded image: hello:again',
      'Loaded image: hello:latest',
      'Loaded image: small-base:latest',
    ]);
  });

  it('an archive whose writing fails leaves no file that looks whole', async () => {
    const result = await mbuild.run([
      'build',
      '--output',
      'type=oci,dest=/nonexistent/folder/x.tar',
      context,
    ]);
    expect(result.code).not.toBe(0);
    expect(result.stderr).toContain('/nonexistent/folder');
  });

  describeWith('skopeo', { programs: ['skopeo'] }, () => {
    it.each([
      ['type=oci', 'oci-archive', 'image.tar'],
      ['type=oci,tar=false', 'oci', 'layout'],
      ['type=oci,compression=zstd', 'oci-archive', 'image.tar'],
      ['type=oci,compression=uncompressed', 'oci-archive', 'image.tar'],
      ['type=docker', 'docker-archive', 'image.tar'],
    ])('reads %s', async (spec, transport, name) => {
      const dest = await output(spec, name);
      const suffix = transport === 'docker-archive' ? ':example.org/hello:v1' : '';
      const home = temp.dir('home');
      const env = cleanEnv({ HOME: home });
      const config = JSON.parse(
        await succeed('skopeo', ['inspect', '--config', `${transport}:${dest}${suffix}`], { env }),
      ) as { config: { Env: string[] }; rootfs: { diff_ids: string[] } };
      expect(config.config.Env).toContain('RESULT=/usr/share/hello/result.txt');
      expect(config.rootfs.diff_ids).toEqual((await mbuild.inspect('hello')).RootFS.Layers);
      // A copy reads and verifies every blob.
      await succeed(
        'skopeo',
        [
          '--insecure-policy',
          'copy',
          '-q',
          `${transport}:${dest}${suffix}`,
          `dir:${join(home, 'copy')}`,
        ],
        { env },
      );
      expect(readdirSync(join(home, 'copy')).length).toBeGreaterThan(3);
    });

    it('copies an image to a form that mbuild loads to the same layers', async () => {
      const archive = await output('type=oci', 'image.tar');
      const dir = temp.dir();
      await succeed(
        'skopeo',
        [
          '--insecure-policy',
          'copy',
          '-q',
          `oci-archive:${archive}`,
          `docker-archive:${join(dir, 'docker.tar')}:foreign:v1`,
        ],
        { env: cleanEnv({ HOME: dir }) },
      );
      const other = new Mbuild(temp.dir('store'));
      expect(await other.ok(['load', '-i', join(dir, 'docker.tar')])).toBe(
        'Loaded image: foreign:v1',
      );
      expect((await other.inspect('foreign:v1')).RootFS.Layers).toEqual(
        (await mbuild.inspect('hello')).RootFS.Layers,
      );
    });
  });

  describeWith('umoci', { programs: ['umoci', 'skopeo'] }, () => {
    it('unpacks what skopeo and tar unpack', async () => {
      const layout = await output('type=oci,tar=false', 'layout');
      const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as {
        manifests: { annotations: Record<string, string> }[];
      };
      const tag = index.manifests[0]?.annotations['org.opencontainers.image.ref.name'] ?? '';
      const one = listTree(unpackWithUmoci(layout, tag, temp.dir('umoci')));
      const two = listTree(unpackWithTar(layout, tag, temp.dir('tar')));
      expect(treeDifference(one, two)).toEqual([]);
    });

    it('makes a layout that mbuild loads and builds on', async () => {
      const work = temp.dir('umoci');
      const env = cleanEnv({ HOME: work });
      const layout = await output('type=oci,tar=false', 'layout');
      const tag = (await succeed('umoci', ['ls', '--layout', layout], { env })).trim();
      const image = `${layout}:${tag}`;
      await succeed(
        'umoci',
        ['insert', '--image', image, join(context, 'names.txt'), '/inserted'],
        { env },
      );
      await succeed('umoci', ['config', '--image', image, '--config.env', 'FROM_UMOCI=1'], { env });
      const other = new Mbuild(temp.dir('store'));
      const loaded = await other.ok(['load', '-i', layout]);
      const name = loaded.replace('Loaded image: ', '');
      await other.build(['-f', '-', '-t', 'on-top', context], {
        input: `FROM ${name}\nRUN [ "$FROM_UMOCI" = 1 ] && cat /inserted > /copy\n`,
      });
      expect((await other.run(['run', '--rm', 'on-top', 'cat', '/copy'])).stdout).toBe(
        readFileSync(join(context, 'names.txt'), 'utf8'),
      );
    });
  });

  describeWith('podman', { programs: ['podman'] }, () => {
    it.each([
      ['type=docker', 'docker-archive'],
      ['type=oci', 'oci-archive'],
    ])('loads %s', async (spec, transport) => {
      const work = temp.dir('podman');
      const file = await output(spec, 'image.tar');
      if (transport === 'docker-archive') {
        expect(podman(work, ['load', '-q', '-i', file])).toContain('example.org/hello:v1');
        const [image] = JSON.parse(podman(work, ['image', 'inspect', 'example.org/hello:v1'])) as {
          Id: string;
        }[];
        expect(`sha256:${image?.Id ?? ''}`).toBe(id);
      }
      const loaded = podman(work, ['pull', '-q', `${transport}:${file}`]).trim();
      const mounted = podman(work, ['image', 'mount', loaded]).trim();
      expect(readFileSync(join(mounted, 'usr/share/hello/result.txt'), 'utf8')).toBe(GREETING);
    });
  });

  it('programs that do not know mbuild find a store of blobs under its root', async () => {
    const blobs = join(mbuild.root, 'blobs', 'sha256');
    for (const name of readdirSync(blobs)) {
      const { stdout } = await command('sha256sum', [join(blobs, name)]);
      expect(stdout.split(' ')[0]).toBe(name);
    }
  });
});
