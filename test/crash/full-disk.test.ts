import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { loopMissing, smallDisk, type SmallDisk } from '../support/small-disk';
import { useTemp, writeFiles } from '../support/temp';
import { restart } from './power-loss';
import { EARLIER } from './works';

const LEFT = 40_000;
const LIST = ['images', '--no-trunc', '--format', '{{.Repository}} {{.ID}}'];

describeWith(
  'a store on a full disk, after the machine was started anew',
  { root: true, also: loopMissing },
  () => {
    const temp = useTemp();
    let disk: SmallDisk;
    let mbuild: Mbuild;
    let before: string;

    beforeAll(async () => {
      disk = smallDisk(temp.dir('disk'), 60);
      mbuild = new Mbuild(join(disk.dir, 'store'));
      await smallBase(mbuild);
      await mbuild.ok([
        'build',
        '-q',
        '-t',
        'app',
        writeFiles(temp.dir('app'), { Dockerfile: EARLIER }),
      ]);
      before = await mbuild.ok(LIST);
    });
    afterAll(() => disk.unmount());
    beforeEach(() => {
      disk.free();
      restart(mbuild.root);
      disk.leave(LEFT);
    });

    it.each([
      [['run', '--rm', 'small-base', 'true']],
      [['build', '-q', writeFiles(temp.dir('next'), { Dockerfile: 'FROM app\nRUN echo next\n' })]],
      [['system', 'check']],
      [['system', 'check', '--repair']],
    ])('mbuild %j says what is missing, and takes nothing away', async (args) => {
      const { code, stdout, stderr } = await mbuild.run(args);
      expect({ code, text: stdout + stderr }).toEqual({
        code: expect.any(Number) as number,
        text: expect.stringMatching(/no space left|ENOSPC/i) as string,
      });
      expect(code).not.toBe(0);
      disk.free();
      expect(await mbuild.ok(LIST)).toBe(before);
      expect(await mbuild.ok(['run', '--rm', 'app', 'cat', '/earlier'])).toBe('earlier');
      expect(await mbuild.ok(['system', 'check'])).toMatch(/nothing is wrong/);
    });

    it.each([[['images']], [['system', 'df']], [['ps', '-a']], [['prune', '-f']]])(
      'mbuild %j works',
      async (args) => {
        await mbuild.ok(args);
        disk.free();
        expect(await mbuild.ok(LIST)).toBe(before);
      },
    );
  },
);
