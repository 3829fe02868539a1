import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { mountsLeft, useTemp, writeFiles } from '../support/temp';

describeWith('image mount', { root: true, programs: ['mount', 'umount'] }, () => {
  const temp = useTemp();

  it('shows the files of all layers read-only until umount, in its own place and in a given directory', async () => {
    const mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    await mbuild.ok([
      'build',
      '-t',
      'app',
      writeFiles(temp.dir('context'), {
        Dockerfile: 'FROM small-base\nRUN echo 1 > /one && rm /etc/group\n',
      }),
    ]);
    const given = temp.dir('a place');
    try {
      const place = await mbuild.ok(['image', 'mount', 'app']);
      expect(await mbuild.ok(['image', 'mount', 'app'])).toBe(place);
      expect(await mbuild.ok(['image', 'mount', 'small-base', given])).toBe(given);
      expect(readFileSync(join(place, 'one'), 'utf8')).toBe('1\n');
      expect([existsSync(join(place, 'etc/passwd')), existsSync(join(place, 'etc/group'))]).toEqual(
        [true, false],
      );
      expect([existsSync(join(given, 'etc/group')), existsSync(join(given, 'one'))]).toEqual([
        true,
        false,
      ]);
      expect(() => writeFileSync(join(place, 'two'), '')).toThrow('EROFS');
      await mbuild.ok(['image', 'umount', 'app', given]);
      expect([existsSync(place), existsSync(join(given, 'etc'))]).toEqual([false, false]);
      expect((await mbuild.run(['image', 'umount', 'app'])).stderr).toContain(
        'no image is mounted as app',
      );
    } finally {
      await mbuild.run(['image', 'umount', 'app', given]);
    }
  });

  it('keeps what it shows from rmi and prune, until umount', async () => {
    const mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    await mbuild.ok([
      'build',
      '-t',
      'app',
      writeFiles(temp.dir('context'), {
        Dockerfile: 'FROM small-base\nRUN echo 1 > /one\nRUN echo 2 > /two\n',
      }),
    ]);
    const layers = (): number => readdirSync(join(mbuild.root, 'layers')).length;
    const place = await mbuild.ok(['image', 'mount', 'app']);
    try {
      await mbuild.ok(['rmi', '-f', 'app', 'small-base']);
      await mbuild.ok(['prune', '-a', '-f']);
      await mbuild.ok(['system', 'check', '--repair']);
      expect(layers()).toBe(3);
      expect(
        execFileSync(
          'sh',
          ['-c', 'echo 2 > /proc/sys/vm/drop_caches 2>/dev/null; cat one two; ls bin | wc -l'],
          { cwd: place },
        ).toString(),
      ).toMatch(/^1\n2\n[1-9]/);
    } finally {
      await mbuild.ok(['image', 'umount', place]);
    }
    await mbuild.ok(['prune', '-a', '-f']);
    expect(layers()).toBe(0);
  });

  it('is one mount, however the store is named', async () => {
    const mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    const link = join(temp.dir('links'), 'store');
    symlinkSync(mbuild.root, link);
    const linked = new Mbuild(link);
    const place = await linked.ok(['image', 'mount', 'small-base']);
    try {
      expect(await linked.ok(['image', 'mount', 'small-base'])).toBe(place);
      expect(await mbuild.ok(['image', 'mount', 'small-base'])).toBe(place);
      expect(mountsLeft(mbuild.root)).toEqual([place]);
    } finally {
      await linked.ok(['image', 'umount', 'small-base']);
    }
    expect([mountsLeft(mbuild.root), existsSync(place)]).toEqual([[], false]);
  });
});
