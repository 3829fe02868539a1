import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { straceMissing } from '../crash/faults';
import { smallBase } from '../support/bases';
import { cleanEnv, command } from '../support/command';
import { MBUILD, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp } from '../support/temp';

const SCRIPT =
  'echo hi > /new; rm /etc/group; echo x >> /etc/passwd; chown 5 /bin; rm -r /home/app; mkdir /home/app; ln /new /home/app/same; mkfifo /p';

/** The folder of the only container of a store. */
function folder({ root }: Mbuild): string {
  return join(root, 'containers', readdirSync(join(root, 'containers'))[0] ?? '');
}

describeWith('containers on copies of their trees', { root: true }, () => {
  const temp = useTemp();
  let copies: Mbuild;
  beforeAll(async () => {
    copies = new Mbuild(temp.dir('copies'), { MBUILD_SNAPSHOTTER: 'copy' });
    await smallBase(copies);
  });
  afterEach(async () => void (await copies.run(['rm', '-f', '-v', 'c1'])));

  it('have written what they have on an overlay, and leave no copy behind', async () => {
    const overlay = new Mbuild(temp.dir('overlay'));
    await smallBase(overlay);
    const differences = [];
    for (const mbuild of [copies, overlay]) {
      await mbuild.ok(['run', '--name', 'c1', 'small-base', 'sh', '-c', SCRIPT]);
      differences.push(await mbuild.ok(['diff', 'c1']));
    }
    expect(differences[0]).toBe(differences[1]);
    expect(existsSync(join(folder(copies), 'layer/tree'))).toBe(false);
    await copies.ok(['commit', 'c1', 'made']);
    expect(
      await copies.ok([
        'run',
        '--rm',
        'made',
        'sh',
        '-c',
        'cat /new /home/app/same; ls /etc; stat -c %u /bin',
      ]),
    ).toBe('hi\nhi\nhostname\nhosts\npasswd\nresolv.conf\n5');
  });

  it('go on where they ended', async () => {
    await copies.ok([
      'run',
      '--name',
      'c1',
      'small-base',
      'sh',
      '-c',
      'echo again >> /count; rm -f /etc/group; cat /count',
    ]);
    expect(await copies.ok(['start', '-a', 'c1'])).toBe('again\nagain');
    expect(await copies.ok(['diff', 'c1'])).toBe('A /count\nC /etc\nD /etc/group');
  });

  it('lose nothing when mbuild is killed, and are not asked while they run', async () => {
    await copies.ok([
      'run',
      '-d',
      '--name',
      'c1',
      'small-base',
      'sh',
      '-c',
      'echo kept > /kept; while :; do sleep 1; done',
    ]);
    while (!(await copies.run(['exec', 'c1', 'cat', '/kept'])).stdout.includes('kept'));
    expect(await copies.run(['diff', 'c1'])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /runs on a copy of its tree\n\[UNSUPPORTED\] hint: mbuild stop c1/,
      ) as string,
    });
    const { supervisor } = JSON.parse(readFileSync(join(folder(copies), 'state.json'), 'utf8')) as {
      supervisor: { pid: number };
    };
    process.kill(supervisor.pid, 'SIGKILL');
    while ((await copies.ok(['ps', '-q'])) !== '');
    // Places of mounts that nobody took out may be there, too.
    expect(await copies.ok(['diff', 'c1'])).toMatch(/^A \/kept$/m);
  });

  describeWith(
    'whose changes are being collected',
    { programs: ['strace'], also: straceMissing },
    () => {
      it('lose nothing either, whenever that is killed', async () => {
        await copies.ok([
          'run',
          '-d',
          '--name',
          'c1',
          'small-base',
          'sh',
          '-c',
          'echo kept > /kept; while :; do sleep 1; done',
        ]);
        while (!(await copies.run(['exec', 'c1', 'cat', '/kept'])).stdout.includes('kept'));
        process.kill(
          (
            JSON.parse(readFileSync(join(folder(copies), 'state.json'), 'utf8')) as {
              supervisor: { pid: number };
            }
          ).supervisor.pid,
          'SIGKILL',
        );
        while ((await copies.ok(['ps', '-q'])) !== '');
        const before = join(temp.dir('before'), 'layer');
        execFileSync('cp', ['-a', join(folder(copies), 'layer'), before]);
        const differences = new Set<string>();
        for (const [calls, steps] of [
          ['rename,renameat,renameat2', [1, 2, 3]],
          ['unlink,unlinkat,rmdir', [1, 2, 5, 20]],
        ] as const) {
          for (const n of steps) {
            rmSync(join(folder(copies), 'layer'), { recursive: true });
            execFileSync('cp', ['-a', before, join(folder(copies), 'layer')]);
            const { code } = await command(
              'strace',
              [
                '-qq',
                '-f',
                '-o',
                '/dev/null',
                '-e',
                `trace=${calls}`,
                '-e',
                `inject=${calls}:signal=KILL:when=${n}`,
                MBUILD,
                'diff',
                'c1',
              ],
              { env: cleanEnv({ MBUILD_ROOT: copies.root, MBUILD_SNAPSHOTTER: 'copy' }) },
            );
            expect({ calls, n, code }).toEqual({ calls, n, code: 137 });
            differences.add(await copies.ok(['diff', 'c1']));
          }
        }
        expect([...differences]).toEqual([expect.stringMatching(/^A \/kept$/m)]);
      });
    },
  );
});
