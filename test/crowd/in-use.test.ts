import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';
import { gateOf } from './gate';

describeWith('what is in use', { root: true, programs: ['find'] }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;

  beforeEach(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
  });

  /** Takes away all that can be taken away. */
  async function clear(): Promise<void> {
    for (const name of ['app', 'small-base']) await mbuild.run(['rmi', '-f', name]);
    await mbuild.ok(['builder', 'prune', '-af']);
    await mbuild.ok(['builder', 'prune', '-f', '--keep-storage', '0']);
    await mbuild.ok(['image', 'prune', '-af']);
    await mbuild.ok(['prune', '-af']);
  }

  it('stays while a build stands on it', async () => {
    const context = writeFiles(temp.dir('context'), {
      Dockerfile:
        'FROM small-base\nRUN echo first > /first\nRUN --mount=type=cache,id=gate,target=/gate touch /gate/here; while [ ! -e /gate/go ]; do sleep 0.05; done; cat /first > /second\n',
    });
    const building = mbuild.build(['-t', 'app', context]);
    const gate = await gateOf(mbuild);
    await clear();
    writeFileSync(join(gate, 'go'), '');
    await building;
    expect((await mbuild.run(['run', '--rm', 'app', 'cat', '/second'])).stdout).toBe('first\n');
    expect(await mbuild.ok(['system', 'check'])).toMatch(/nothing is wrong/);
  });

  it('stays while a container runs on it, and while a stopped one is kept', async () => {
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM small-base\nRUN echo one > /one\nCMD ["sleep", "1000"]\n',
    });
    await mbuild.build(['-t', 'app', context]);
    const id = await mbuild.ok(['run', '-d', 'app']);
    try {
      await clear();
      expect((await mbuild.run(['exec', id, 'cat', '/one'])).stdout).toBe('one\n');
      await mbuild.ok(['kill', id]);
      await mbuild.ok(['builder', 'prune', '-af']);
      await mbuild.ok(['start', id]);
      expect((await mbuild.run(['exec', id, 'cat', '/one'])).stdout).toBe('one\n');
    } finally {
      await mbuild.run(['rm', '-f', id]);
    }
  });

  it.each([
    'builder prune -af --dry-run',
    'prune -af --dry-run',
    'builder prune -af --filter until=1h',
    'builder prune -af --keep-storage 1gb',
  ])('and what is new or only looked at stays: mbuild %s', async (line) => {
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM small-base\nRUN echo one > /one\n',
    });
    await mbuild.build([context]);
    const before = await mbuild.ok(['system', 'df', '--format', 'json']);
    await mbuild.ok(line.split(' '));
    expect(await mbuild.ok(['system', 'df', '--format', 'json'])).toBe(before);
  });
});
