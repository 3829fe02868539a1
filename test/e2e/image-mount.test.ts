import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

describeWith('image mount', { root: true, programs: ['mount', 'umount'] }, () => {
  const temp = useTemp();

  it('shows the files of all layers read-only until umount, in its own place and in a given directory', async () => {
    const mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    await mbuild.ok(['build', '-t', 'app', writeFiles(temp.dir('context'), { Dockerfile: 'FROM small-base\nRUN echo 1 > /one && rm /etc/group\n' })]);
    const given = temp.dir('a place');
    try {
      const place = await mbuild.ok(['image', 'mount', 'app']);
      expect(await mbuild.ok(['image', 'mount', 'app'])).toBe(place);
      expect(await mbuild.ok(['image', 'mount', 'small-base', given])).toBe(given);
      expect(readFileSync(join(place, 'one'), 'utf8')).toBe('1\n');
      expect([existsSync(join(place, 'etc/passwd')), existsSync(join(place, 'etc/group'))]).toEqual([true, false]);
      expect([existsSync(join(given, 'etc/group')), existsSync(join(given, 'one'))]).toEqual([true, false]);
      expect(() => writeFileSync(join(place, 'two'), '')).toThrow('EROFS');
      await mbuild.ok(['image', 'umount', 'app', given]);
      expect([existsSync(place), existsSync(join(given, 'etc'))]).toEqual([false, false]);
      expect((await mbuild.run(['image', 'umount', 'app'])).stderr).toContain('no image is mounted as app');
    } finally {
      await mbuild.run(['image', 'umount', 'app', given]);
    }
  });
});
