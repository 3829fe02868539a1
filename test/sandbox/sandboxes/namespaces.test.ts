import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { execFileSync } from 'node:child_process';
import { isMbuildError } from '../../../src/diagnostics/error';
import { ALL_CAPABILITIES, DEFAULT_CAPABILITIES } from '../../../src/sandbox/capabilities';
import { NamespaceSandbox } from '../../../src/sandbox/sandboxes/namespaces';
import type { ExitStatus, ProcessIo, ProcessSpec } from '../../../src/sandbox/sandbox';

const BUSYBOX = '/bin/busybox';
const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log('skipped: the namespace sandbox needs root');

(isRoot ? describe : describe.skip)('the namespace sandbox', () => {
  let dir: string;
  let base: string;
  let sandbox: NamespaceSandbox;

  beforeAll(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'mbuild-sandbox-'));
    base = path.join(dir, 'layers', 'base');
    mkdirSync(path.join(base, 'bin'), { recursive: true });
    execFileSync('cp', [BUSYBOX, path.join(base, 'bin/busybox')]);
    execFileSync(BUSYBOX, ['--install', '-s', path.join(base, 'bin')]);
    for (const name of readdirSync(path.join(base, 'bin'))) {
      if (name === 'busybox') continue;
      rmSync(path.join(base, 'bin', name));
      execFileSync('ln', ['-s', 'busybox', path.join(base, 'bin', name)]);
    }
    mkdirSync(path.join(dir, 'state'));
    sandbox = new NamespaceSandbox(path.join(dir, 'state'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  let runs = 0;
  async function run(
    args: readonly string[],
    change: Partial<ProcessSpec> = {},
    signal = new AbortController().signal,
    io: Partial<ProcessIo> = {},
  ): Promise<{ status: ExitStatus; out: string; err: string; upper: string }> {
    const upper = path.join(dir, 'layers', `upper${runs}`);
    const work = path.join(dir, `work${runs++}`);
    for (const made of [upper, work]) mkdirSync(made);
    const spec: ProcessSpec = {
      args,
      env: ['PATH=/bin'],
      cwd: '/',
      user: { uid: 0, gid: 0, groups: [0] },
      rootfs: {
        kind: 'overlay',
        lowers: [base],
        upper,
        work,
        options: ['redirect_dir=off', 'metacopy=off', 'index=off', 'volatile'],
      },
      mounts: [],
      mountPoints: [],
      network: 'host',
      hostname: 'box',
      capabilities: DEFAULT_CAPABILITIES,
      confined: true,
      ...change,
    };
    const text = { stdout: '', stderr: '' };
    const status = await sandbox.run(
      spec,
      {
        output: (stream, data) => {
          text[stream] += Buffer.from(data).toString();
        },
        ...io,
      },
      { signal, events: () => undefined },
    );
    return { status, out: text.stdout, err: text.stderr, upper };
  }

  it('reports the exit code and both outputs', async () => {
    const { status, out, err } = await run([
      'sh',
      '-c',
      'echo out; echo err >&2; echo more > /dev/stdout; exit 3',
    ]);
    expect([status.code, out, err]).toEqual([3, 'out\nmore\n', 'err\n']);
  });

  it('a command on a terminal may write without reading what was typed', async () => {
    const typed = Readable.from([Buffer.alloc(1 << 20, 'x\n')]);
    const { out } = await run(
      ['sh', '-c', 'stty raw -echo; sleep 0.2; seq 100000 150000; head -c 4 >/dev/null; echo END'],
      {},
      undefined,
      { stdin: typed, terminal: { columns: 80, rows: 24 } },
    );
    expect([out.includes('\n150000\n'), out.slice(-4)]).toEqual([true, 'END\n']);
  });

  it('names the signal that ended the command', async () => {
    const { status } = await run(['sh', '-c', "sh -c 'kill -SEGV $$'; exit $?"]);
    expect(status.code).toBe(139);
  });

  it("leaves the command's writes in the upper directory and nothing else", async () => {
    const { upper } = await run(['touch', '/made'], {
      mounts: [
        {
          kind: 'file',
          target: '/etc/hosts',
          content: Buffer.from('127.0.0.1 localhost\n'),
          mode: 0o644,
          uid: 0,
          gid: 0,
          readonly: false,
        },
        { kind: 'tmpfs', target: '/very/deep/place' },
      ],
      mountPoints: [
        { path: '/etc/hosts', kind: 'file' },
        { path: '/very', kind: 'directory' },
        { path: '/very/deep', kind: 'directory' },
        { path: '/very/deep/place', kind: 'directory' },
      ],
    });
    expect(readdirSync(upper)).toEqual(['made']);
  });

  it('has namespaces of its own: it is process 1, with its own host name and no mount of the host', async () => {
    const { out } = await run([
      'sh',
      '-c',
      'echo $$; hostname; grep -c . /proc/mounts; grep -E "ext4|xfs|btrfs" /proc/mounts',
    ]);
    const [pid, host, , ...foreign] = out.trim().split('\n');
    expect([pid, host, foreign]).toEqual(['1', 'box', []]);
  });

  it('keeps eleven capabilities for root and none for others', async () => {
    const caps = ['sh', '-c', 'grep Cap /proc/self/status | sort'];
    const root = (await run(caps)).out
      .split('\n')
      .map((line) => line.split('\t')[1])
      .filter(Boolean);
    expect(root).toEqual([
      '0000000000000000',
      '00000000800405fb',
      '00000000800405fb',
      '0000000000000000',
      '00000000800405fb',
    ]);
    const user = (await run(caps, { user: { uid: 1000, gid: 1000, groups: [1000, 7] } })).out;
    expect(user).toMatch(/CapEff:\t0{16}/);
    expect(user).toMatch(/CapPrm:\t0{16}/);
  });

  it('runs as the given user with the given groups', async () => {
    const { out } = await run(['sh', '-c', 'id -u; id -g; id -G'], {
      user: { uid: 5, gid: 6, groups: [6, 7, 8] },
    });
    expect(out).toBe('5\n6\n6 7 8\n');
  });

  it('masks what tells of the host and keeps kernel settings read-only', async () => {
    const { out, err } = await run([
      'sh',
      '-c',
      'wc -c < /proc/timer_list; echo 1 > /proc/sys/kernel/panic; mkdir /sys/x; echo done',
    ]);
    expect(out).toBe('0\ndone\n');
    expect(err).toMatch(/Read-only file system/);
  });

  it('cannot make or open devices', async () => {
    const { err, out } = await run([
      'sh',
      '-c',
      'mknod /dev/mem c 1 1; mknod /sda b 8 0; head -c 1 /dev/zero | wc -c',
    ]);
    expect(err.match(/Operation not permitted/g)).toHaveLength(2);
    expect(out).toBe('1\n');
  });

  it.each([
    ['unshare -m true'],
    ['mkdir /m && mount -t tmpfs none /m'],
    ['umount /proc'],
    ['swapoff /x'],
    ['hostname other'],
  ])('filters system calls: `%s` is not permitted', async (command) => {
    const { status, err } = await run([
      'sh',
      '-c',
      `grep -q "Seccomp:.2" /proc/self/status && ${command}`,
    ]);
    expect(status.code).not.toBe(0);
    expect(err).toMatch(/Operation not permitted|are you root/);
  });

  it('filters nothing for --security=insecure', async () => {
    const { status } = await run(
      ['sh', '-c', 'mkdir /m && mount -t tmpfs none /m && grep -q "Seccomp:.0" /proc/self/status'],
      { confined: false, capabilities: ALL_CAPABILITIES },
    );
    expect(status.code).toBe(0);
  });

  it('does not open a device that a layer brings along', async () => {
    execFileSync('mknod', ['-m', '666', path.join(base, 'zero'), 'c', '1', '5']);
    try {
      expect((await run(['head', '-c', '1', '/zero'])).err).toMatch(/Permission denied/);
    } finally {
      rmSync(path.join(base, 'zero'));
    }
  });

  it("inherits no descriptor of mbuild's", async () => {
    const { out } = await run(['sh', '-c', 'ls /proc/self/fd']);
    expect(out.trim().split('\n')).toEqual(['0', '1', '2', '3']); // 3 is ls's own
  });

  it.each([5, 9, 20, 100])('has no working directory behind descriptor %i', async (fd) => {
    await expect(run(['true'], { cwd: `/proc/self/fd/${fd}` })).rejects.toMatchObject({
      code: 'EXEC_FAILED',
    });
  });

  it('enters a working directory that its user could not enter', async () => {
    mkdirSync(path.join(base, 'private/inside'), { recursive: true });
    chmodSync(path.join(base, 'private'), 0o700);
    const { status, out } = await run(
      ['sh', '-c', 'readlink /proc/self/cwd; ls /private; id -u; grep Cap /proc/self/status'],
      { cwd: '/private/inside', user: { uid: 7, gid: 8, groups: [] } },
    );
    expect(out).toMatch(/^\/private\/inside\n7\nCapInh:\t0{16}\nCapPrm:\t0{16}\nCapEff:\t0{16}\n/);
    expect(status.code).toBe(0);
  });

  it.each([0, 7])('has no working directory behind descriptors of init as user %i', async (uid) => {
    for (const fd of [0, 3, 4, 5, 6, 7, 8, 9]) {
      await expect(
        run(['true'], { cwd: `/proc/1/fd/${fd}`, user: { uid, gid: uid, groups: [] } }),
      ).rejects.toMatchObject({ code: 'EXEC_FAILED' });
    }
  });

  it('ends what the command left running', async () => {
    const mark = `${Date.now()}${process.pid}`;
    const { status } = await run(['sh', '-c', `sleep ${mark} & echo started`]);
    expect(status.code).toBe(0);
    expect(execFileSync('ps', ['-eo', 'args']).toString()).not.toContain(`sleep ${mark}`);
  });

  it('ends the whole tree when the build is canceled', async () => {
    const mark = `${Date.now()}${process.pid}`;
    const controller = new AbortController();
    const running = run(['sh', '-c', `sleep ${mark} & sleep ${mark}`], {}, controller.signal);
    setTimeout(() => controller.abort(), 150);
    await expect(running).rejects.toMatchObject({ code: 'CANCELED' });
    expect(execFileSync('ps', ['-eo', 'args']).toString()).not.toContain(`sleep ${mark}`);
  });

  it('gives a step without network a loopback alone', async () => {
    const { out } = await run(
      ['sh', '-c', 'ls /sys/class/net; ip addr show lo | grep -c "inet 127.0.0.1"'],
      { network: 'none' },
    );
    expect(out).toBe('lo\n1\n');
  });

  it('gives secrets as files that are in memory alone', async () => {
    const { out, upper } = await run(
      [
        'sh',
        '-c',
        'cat /run/secrets/token; ls -ln /run/secrets/token | cut -c1-10; grep -c "/run/secrets/token tmpfs" /proc/mounts',
      ],
      {
        mounts: [
          {
            kind: 'file',
            target: '/run/secrets/token',
            content: Buffer.from('s3cret\n'),
            mode: 0o400,
            uid: 3,
            gid: 4,
            readonly: true,
          },
        ],
        mountPoints: [
          { path: '/run', kind: 'directory' },
          { path: '/run/secrets', kind: 'directory' },
          { path: '/run/secrets/token', kind: 'file' },
        ],
      },
    );
    expect(out).toBe('s3cret\n-r--------\n1\n');
    expect(readdirSync(upper)).toEqual([]);
  });

  it('binds directories of the host, read-only when asked', async () => {
    const shared = path.join(dir, 'shared');
    mkdirSync(shared);
    writeFileSync(path.join(shared, 'file'), 'content');
    const mount = {
      kind: 'bind' as const,
      source: shared,
      subpath: '/',
      target: '/mnt',
      readonly: true,
    };
    const { out, err } = await run(['sh', '-c', 'cat /mnt/file; touch /mnt/new'], {
      mounts: [mount],
      mountPoints: [{ path: '/mnt', kind: 'directory' }],
    });
    expect(out).toBe('content');
    expect(err).toMatch(/Read-only file system/);
  });

  it('opens a part of a bound directory without leaving it through a link', async () => {
    const cache = path.join(dir, 'cache');
    mkdirSync(path.join(cache, 'etc'), { recursive: true });
    writeFileSync(path.join(cache, 'etc/inside'), 'inside');
    symlinkSync('/etc', path.join(cache, 'sub'));
    const mount = {
      kind: 'bind' as const,
      source: cache,
      subpath: '/sub',
      target: '/mnt',
      readonly: false,
    };
    const { out } = await run(['ls', '/mnt'], {
      mounts: [mount],
      mountPoints: [{ path: '/mnt', kind: 'directory' }],
    });
    expect(out).toBe('inside\n');
  });

  it.each([
    [['nope'], 'EXEC_NOT_FOUND', /nope: executable file not found in \$PATH/],
    [['/nope'], 'EXEC_NOT_FOUND', /\/nope: no such file/],
    [['/etc'], 'EXEC_FAILED', /permission denied/],
  ])('says why %j could not be executed', async (args, code, message) => {
    const error: unknown = await run(args).catch((reason: unknown) => reason);
    expect(isMbuildError(error) && error.code).toBe(code);
    expect(String(error)).toMatch(message);
  });

  it('leaves no mount and no temporary file behind', async () => {
    await run(['true']);
    expect(execFileSync('cat', ['/proc/mounts']).toString()).not.toContain(dir);
    expect(
      readdirSync(path.join(dir, 'state')).filter(
        (name) => name.startsWith('program-') || name.startsWith('stubs-'),
      ),
    ).toEqual([]);
  });
});
