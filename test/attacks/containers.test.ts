import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { cleanEnv, command } from '../support/command';
import { MBUILD, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

jest.setTimeout(120_000);

const CANARY = 'c4n4ry-of-the-host';

/**
 * What a container does to its own tree while files are copied or programs started from outside.
 */
describeWith('mbuild withstands', { root: true, programs: ['strace'] }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let host: string;

  beforeAll(async () => {
    host = writeFiles(temp.dir('host'), { 'in/f': `${CANARY}\n`, f: `${CANARY}\n` });
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
  });

  afterEach(async () => {
    const ids = (await mbuild.ok(['ps', '-aq'])).split('\n').filter((id) => id !== '');
    if (ids.length > 0) await mbuild.ok(['rm', '-f', ...ids]);
    expect([readdirSync(host).sort(), readdirSync(join(host, 'in'))]).toEqual([['f', 'in'], ['f']]);
    expect(readFileSync(join(host, 'f'), 'utf8')).toBe(`${CANARY}\n`);
  });

  test('attack 15: a path is flipped between a directory and a link to the host while it is copied (CVE-2018-15664)', async () => {
    const flip = `mkdir -p /d/in; echo own > /d/in/f; while :; do ln -s ${host} /n; mv -T /n /x 2>/dev/null || { rm -rf /x; mv /n /x; }; rm -f /x; cp -a /d /x; done`;
    await mbuild.ok(['run', '-d', '--name', 'flipper', 'small-base', 'sh', '-c', flip]);
    const file = join(writeFiles(temp.dir('file'), { evil: 'evil\n' }), 'evil');
    const out = temp.dir('out');
    for (let i = 0; i < 6; i++) {
      await mbuild.run(['cp', 'flipper:/x/in/f', join(out, `f${i}`)]);
      await mbuild.run(['cp', '-L', 'flipper:/x', join(out, `d${i}`)]);
      await mbuild.run(['cp', file, 'flipper:/x/in/evil']);
      await mbuild.run(['cp', file, 'flipper:/x/evil']);
      const { stdout } = await mbuild.run(['exec', '-w', '/x/in', 'flipper', 'cat', 'f']);
      expect(stdout).not.toContain(CANARY);
    }
    expect(execFileSync('sh', ['-c', `grep -rl ${CANARY} ${out} || true`]).toString()).toBe('');
  });

  test.each([
    ['absolute', (to: string): string => to],
    ['relative', (to: string): string => `${'../'.repeat(20)}${to.slice(1)}`],
    ['through /proc', (to: string): string => `/proc/self/root${to}`],
    ['through /proc/1', (to: string): string => `/proc/1/root${to}`],
    ['of a descriptor', (): string => '/proc/self/fd/3'],
  ])('attack 15: files are copied through links: %s', async (_, target) => {
    await mbuild.ok([
      'run',
      '--name',
      'linked',
      'small-base',
      'sh',
      '-c',
      `ln -s ${target(host)} /x; ln -s ${target(host)}/f /f; ln -s ${target(host)}/new /new; mkdir /dir; ln -s ${target(host)} /dir/x`,
    ]);
    const out = temp.dir('out');
    const file = join(writeFiles(temp.dir('file'), { evil: 'evil\n' }), 'evil');
    for (const source of ['/x/f', '/x/in', '/f', '/dir', '/dir/x/.', '/x/.'])
      await mbuild.run(['cp', '-L', `linked:${source}`, join(out, source.replace(/\W/g, '_'))]);
    for (const dest of ['/x/evil', '/x/', '/x/in/f', '/f', '/new', '/dir/x/evil'])
      await mbuild.run(['cp', file, `linked:${dest}`]);
    await mbuild.run(['cp', '-', 'linked:/x'], {
      input: execFileSync('tar', ['-c', '-C', join(file, '..'), 'evil']),
    });
    expect(execFileSync('sh', ['-c', `grep -rl ${CANARY} ${out} || true`]).toString()).toBe('');
  });

  test('attack 15: nothing of the image is loaded or started outside of the container (CVE-2019-14271)', async () => {
    const programs = ['sh', 'tar', 'mount', 'umount', 'unshare', 'nsenter', 'git', 'ps', 'env'];
    const dir = writeFiles(temp.dir('context'), {
      ...Object.fromEntries(
        programs.map((name) => [`evil/${name}`, `#!/bin/sh\ntouch ${host}/pwned\n`]),
      ),
      'evil/lib.so': 'no library\n',
      Dockerfile: `FROM small-base\nCOPY --chmod=755 evil /evil\nCOPY evil/lib.so /lib/x86_64-linux-gnu/libnss_files.so.2\nENV LD_LIBRARY_PATH=/evil NODE_OPTIONS=--require=/evil/lib.so GIT_EXEC_PATH=/evil\n`,
    });
    await mbuild.ok(['build', '-t', 'evil', dir]);
    const trace = join(temp.dir('trace'), 'log');
    const traced = (...args: readonly string[]): ReturnType<typeof command> =>
      command('strace', ['-f', '-qq', '-o', trace, '-e', 'trace=execve,openat', MBUILD, ...args], {
        env: cleanEnv({ MBUILD_ROOT: mbuild.root }),
      });
    await mbuild.ok(['run', '-d', '--name', 'evil', 'evil', '/bin/sleep', '60']);
    for (const args of [
      ['cp', 'evil:/etc/passwd', '-'],
      ['cp', join(dir, 'Dockerfile'), 'evil:/tmp/'],
      ['exec', 'evil', '/bin/true'],
      [
        'build',
        '--no-cache',
        writeFiles(temp.dir('context'), {
          Dockerfile: 'FROM evil\nUSER daemon\nRUN ["/bin/true"]\n',
        }),
      ],
    ]) {
      await traced(...args);
      // Whoever opens them by a path of the host has not changed its root yet.
      const loaded = readFileSync(trace, 'utf8')
        .split('\n')
        .filter(
          (line) =>
            line.includes(mbuild.root) &&
            (/\.so\b/.test(line) || /execve\(/.test(line)) &&
            !line.includes(`"${MBUILD}"`) &&
            !line.includes('["'),
        );
      expect([args[0], loaded]).toEqual([args[0], []]);
    }
    expect(existsSync(join(host, 'pwned'))).toBe(false);
  });
});
