import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { noRegistry, startRegistry, type TestRegistry } from '../support/registry';
import { useTemp } from '../support/temp';

/** A newcomer's tour, each step on what the one before left. */
describeWith('a tour of images and containers', { root: true, also: noRegistry }, () => {
  const temp = useTemp();
  let registry: TestRegistry;
  let mbuild: Mbuild;
  let archive: string;
  let changed = '';

  beforeAll(async () => {
    registry = await startRegistry();
    const publisher = new Mbuild(temp.dir('store'));
    await smallBase(publisher, name('library/tiny:1'));
    await publisher.ok(['push', '-q', name('library/tiny:1')]);
    mbuild = new Mbuild(temp.dir('store'));
    archive = join(temp.dir('archive'), 'image.tar');
  });
  afterAll(async () => registry?.stop());

  const name = (rest: string): string => `${registry.host}/${rest}`;
  const lines = (text: string): string[] => text.split('\n').filter(Boolean);

  it('search finds an image', async () => {
    expect(await mbuild.ok(['search', '--format', '{{.Name}}', name('tiny')])).toBe(
      name('library/tiny'),
    );
  });

  it('pull brings it', async () => {
    expect(await mbuild.ok(['pull', name('library/tiny:1')])).toContain(
      `Status: Downloaded newer image for ${name('library/tiny:1')}`,
    );
    expect(lines(await mbuild.ok(['images']))[1]).toMatch(
      new RegExp(`^${name('library/tiny')} +1 +[0-9a-f]{12} +`),
    );
  });

  it('run runs a command in it', async () => {
    expect(await mbuild.ok(['run', '--rm', name('library/tiny:1'), 'echo', 'hello'])).toBe('hello');
  });

  it('run changes files in a container, and not in the image', async () => {
    await mbuild.ok([
      'run',
      '--name',
      'work',
      name('library/tiny:1'),
      'sh',
      '-c',
      'echo changed > /note && rm /bin/sort',
    ]);
    expect(lines(await mbuild.ok(['ps', '-a', '--format', '{{.Names}} {{.Status}}']))[0]).toMatch(
      /^work Exited \(0\)/,
    );
    expect(lines(await mbuild.ok(['diff', 'work'])).sort()).toEqual([
      'A /note',
      'C /bin',
      'D /bin/sort',
    ]);
    expect((await mbuild.run(['run', '--rm', name('library/tiny:1'), 'cat', '/note'])).code).toBe(
      1,
    );
  });

  it('commit makes an image of the change', async () => {
    changed = await mbuild.ok([
      'commit',
      '-m',
      'a note',
      '-a',
      'Newcomer',
      '-c',
      'CMD ["cat", "/note"]',
      'work',
      'mine:1',
    ]);
    expect(changed).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(await mbuild.ok(['run', '--rm', 'mine:1'])).toBe('changed');
  });

  it('history and inspect tell of it', async () => {
    const rows = lines(
      await mbuild.ok(['history', '--format', '{{.ID}}|{{.Size}}|{{.Comment}}', 'mine:1']),
    );
    expect(rows).toEqual([
      `${changed.slice(7, 19)}|8B|a note`,
      expect.stringMatching(/^<missing>\|[\d.]+MB\|/),
    ]);
    expect(
      await mbuild.ok([
        'inspect',
        '--format',
        '{{.Author}} {{.Config.Cmd}} {{len .RootFS.Layers}}',
        'mine:1',
      ]),
    ).toBe('Newcomer [cat /note] 2');
  });

  it('tag gives it more names', async () => {
    await mbuild.ok(['tag', 'mine:1', 'mine:latest', name('me/mine:1')]);
    expect(new Set(lines(await mbuild.ok(['images', '-q', '-f', 'reference=*mine*']))).size).toBe(
      1,
    );
  });

  it('save writes it to a file', async () => {
    await mbuild.ok(['save', '-o', archive, 'mine:1', 'mine:latest']);
  });

  it('rmi removes it, when the container is gone', async () => {
    expect((await mbuild.run(['rmi', name('library/tiny:1')])).stderr).toMatch(
      /conflict: .* container [0-9a-f]{12} is using/,
    );
    await mbuild.ok(['rm', 'work']);
    expect(lines(await mbuild.ok(['rmi', 'mine:1', 'mine:latest', name('me/mine:1')]))).toEqual([
      'Untagged: mine:1',
      'Untagged: mine:latest',
      `Untagged: ${name('me/mine:1')}`,
      `Deleted: ${changed}`,
      expect.stringMatching(/^Deleted: sha256:/),
    ]);
    expect((await mbuild.run(['run', '--rm', '--pull', 'never', 'mine:1'])).code).toBe(125);
  });

  it('load brings it back from the file, byte for byte', async () => {
    expect(lines(await mbuild.ok(['load', '-i', archive])).sort()).toEqual([
      'Loaded image: mine:1',
      'Loaded image: mine:latest',
    ]);
    expect((await mbuild.inspect('mine:1')).Id).toBe(changed);
    expect(await mbuild.ok(['run', '--rm', 'mine:1'])).toBe('changed');
  });

  it('push sends it, but what the registry has', async () => {
    await mbuild.ok(['tag', 'mine:1', name('me/mine:1')]);
    const { stdout, stderr } = await mbuild.run(['push', name('me/mine:1')]);
    expect(stdout).toMatch(/1: digest: sha256:[0-9a-f]{64} size: \d+\n$/);
    expect(
      lines(stderr)
        .filter((line) => /: (?:Pushed|Mounted from another repository)$/.test(line))
        .map((line) => line.split(': ')[1])
        .sort(),
    ).toEqual(['Mounted from another repository', 'Pushed']);
  });

  it('pull elsewhere brings what was committed here', async () => {
    const elsewhere = new Mbuild(temp.dir('store'));
    await elsewhere.ok(['pull', '-q', name('me/mine:1')]);
    expect((await elsewhere.inspect(name('me/mine:1'))).Id).toBe(changed);
    expect(await elsewhere.ok(['run', '--rm', name('me/mine:1')])).toBe('changed');
  });

  it('prune leaves nothing behind', async () => {
    await mbuild.ok(['prune', '-af']);
    expect(await mbuild.ok(['images', '-q'])).toBe('');
    for (const folder of ['layers', 'chains', 'blobs/sha256', 'containers'])
      expect(readdirSync(join(mbuild.root, folder))).toEqual([]);
  });
});
