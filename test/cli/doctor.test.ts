import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { storeFacts, storeText, type StorePlace } from '../../src/cli/format/store-facts';
import { userNamespaceFix } from '../../src/sandbox/isolations/user-namespaces';
import type { IsolationName } from '../../src/sandbox/isolations/isolations';
import { cleanEnv } from '../support/command';
import { MBUILD } from '../support/mbuild';
import { describeWith, findProgram } from '../support/needs';
import { openToOthers, useTemp, writeFiles } from '../support/temp';

const temp = useTemp();

describe('the store', () => {
  const untried = (): never => {
    throw new Error('tried out');
  };
  const place: StorePlace = {
    root: '/s',
    fileSystem: 'ext4',
    known: undefined,
    ground: () => ({ marks: 'trusted' }),
  };
  const refused = { marks: 'user', reason: 'cannot mount overlay (EINVAL)' } as const;

  test.each<[string, Partial<StorePlace>, IsolationName | undefined, string]>([
    ['on a disk', {}, 'namespaces', 'Store: /s on ext4, trees by overlay\n'],
    [
      'that is there already',
      { known: { marks: 'trusted' }, ground: untried },
      'namespaces',
      'Store: /s on ext4, trees by overlay\n',
    ],
    [
      'where nothing can be mounted',
      {},
      'chroot',
      'Store: /s on ext4, trees by copy (nothing can be mounted)\n',
    ],
    [
      'of who has no rights',
      {},
      'proot',
      'Store: /s on ext4, trees by copy (nothing can be mounted)\n',
    ],
    [
      'in a container',
      { fileSystem: 'overlay', ground: () => ({ marks: 'files', reason: 'an overlay itself' }) },
      'namespaces',
      'Store: /s on overlay, trees by copy (an overlay itself)\n   to get overlays: put the store on a volume: docker run -v mbuild:/s …\n',
    ],
    [
      'whose overlay the kernel refused',
      { known: refused },
      'namespaces',
      'Store: /s on ext4, trees by copy (cannot mount overlay (EINVAL))\n   to get overlays: put the store on a local file system: --root DIR\n',
    ],
    [
      'that machines would share',
      { fileSystem: 'nfs', ground: untried },
      'namespaces',
      'Store: /s on nfs, cannot be used (several machines can share nfs, but builds can only protect their files from builds on the same machine)\n   to get a store: put the store on a disk of this machine: --root DIR\n',
    ],
    [
      'that was moved there',
      { fileSystem: 'nfs', known: { marks: 'trusted' } },
      'namespaces',
      'Store: /s on nfs, trees by overlay\n',
    ],
  ])('%s', (_, facts, chosen, text) =>
    expect(storeText(storeFacts({ ...place, ...facts }, chosen))).toBe(text),
  );
});

describe('what forbids user namespaces is undone by', () => {
  test.each([
    ['sysctl -w user.max_user_namespaces=15000', { 'user/max_user_namespaces': '0\n' }],
    [
      'sysctl -w kernel.unprivileged_userns_clone=1',
      { 'user/max_user_namespaces': '63000\n', 'kernel/unprivileged_userns_clone': '0\n' },
    ],
    [
      'sysctl -w kernel.apparmor_restrict_unprivileged_userns=0',
      {
        'user/max_user_namespaces': '63000\n',
        'kernel/unprivileged_userns_clone': '1\n',
        'kernel/apparmor_restrict_unprivileged_userns': '1\n',
      },
    ],
    [
      'docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined',
      {
        'user/max_user_namespaces': '63000\n',
        'kernel/apparmor_restrict_unprivileged_userns': '0\n',
      },
    ],
    ['docker run --security-opt seccomp=unconfined', {}],
  ])('%s', (fix, settings) => {
    const root = writeFiles(
      temp.dir(),
      Object.fromEntries(
        Object.entries(settings).map(([name, value]) => [`proc/sys/${name}`, value]),
      ),
    );
    expect(userNamespaceFix(root)).toContain(fix);
  });
});

interface Found {
  readonly limits: string;
  readonly limitsFix?: string;
  readonly rungs: readonly {
    readonly name: string;
    readonly works: boolean;
    readonly why: string;
    readonly fix?: string;
  }[];
  readonly store: {
    readonly snapshotter: string;
    readonly fileSystem: string;
    readonly why?: string;
    readonly fix?: string;
    readonly fuse?: { readonly works: boolean; readonly why: string };
  };
}

function doctor(prefix: readonly string[], env: Readonly<Record<string, string>> = {}): Found {
  const [program = '', ...args] = [...prefix, MBUILD, 'doctor', '--format', 'json'];
  const { stdout } = spawnSync(program, args, { encoding: 'utf8', env: { ...cleanEnv(), ...env } });
  return JSON.parse(stdout) as Found;
}

describeWith('doctor', { root: true, programs: ['setpriv', 'unshare', 'mount'] }, () => {
  const NOBODY = [
    findProgram('setpriv') ?? '',
    '--reuid',
    '65534',
    '--regid',
    '65534',
    '--clear-groups',
  ];
  const isReachable = spawnSync('setpriv', [...NOBODY.slice(1), MBUILD, '--version']).status === 0;
  if (!isReachable) console.log('skipped: an ordinary user needs a checkout that others can read');

  (isReachable ? test : test.skip)(
    'names the programs that an ordinary user lacks, and the packages that have them',
    () => {
      const [programs, own] = [temp.dir('path'), temp.dir('own')];
      symlinkSync(process.execPath, join(programs, 'node'));
      chownSync(own, 65534, 65534);
      for (const dir of [programs, own]) openToOthers(dir);
      const { rungs } = doctor(NOBODY, {
        PATH: programs,
        MBUILD_ROOT: join(own, 'store'),
        TMPDIR: own,
      });
      const rung = (name: string): unknown => rungs.find((one) => one.name === name);
      // Where user namespaces cannot be had at all, that is what is said first.
      const namespaces = rungs.find(({ name }) => name === 'single-id')?.works === true;
      if (namespaces)
        expect(rung('user-namespace')).toMatchObject({
          works: false,
          why: 'the program newuidmap is missing',
          fix: expect.stringContaining('apt-get install uidmap'),
        });
      expect(rung('proot')).toMatchObject({
        works: false,
        why: 'the program proot is missing',
        fix: 'as root: apt-get install proot',
      });
    },
  );

  (isReachable ? test : test.skip)(
    'says how an ordinary user gets limits where there are none',
    () => {
      const own = temp.dir('own');
      chownSync(own, 65534, 65534);
      openToOthers(own);
      const { limits, limitsFix } = doctor(NOBODY, {
        MBUILD_ROOT: join(own, 'store'),
        TMPDIR: own,
      });
      expect(limits).toMatch(
        /cannot be set on this machine and have no effect: .*(EACCES|controller)/,
      );
      if (limits.includes('EACCES')) expect(limitsFix).toBe('sudo mbuild …');
    },
  );

  describeWith(
    'with fuse-overlayfs',
    {
      programs: ['fuse-overlayfs'],
      also: () => (isReachable ? undefined : 'needs a checkout that others can read'),
    },
    () =>
      test('tries it for an ordinary user also where flags of the file system cannot be changed', () => {
        const place = temp.dir('place');
        openToOthers(place);
        const { store } = doctor(
          [
            'unshare',
            '--mount',
            'sh',
            '-c',
            'mount -t tmpfs -o nosuid,nodev,mode=1777 none "$0" && exec "$@"',
            place,
            ...NOBODY,
          ],
          { MBUILD_ROOT: join(place, 'store'), TMPDIR: place },
        );
        expect(store.fuse).toMatchObject({
          why: expect.stringMatching(
            /serves trees|^\/dev\/fuse does not exist|^\/dev\/fuse cannot be opened/,
          ),
        });
      }),
  );

  test('says what --snapshotter=fuse-overlayfs would need', () => {
    const programs = temp.dir('path');
    symlinkSync(process.execPath, join(programs, 'node'));
    const { store } = doctor([], { PATH: programs });
    expect(store).toMatchObject({
      fuse: {
        works: false,
        why: 'the program fuse-overlayfs is missing',
        fix: expect.stringContaining('apt-get install fuse-overlayfs'),
      },
    });
  });

  test('says why trees are copied where the store is on an overlay, and what would help', () => {
    const place = temp.dir('place');
    for (const name of ['lower', 'upper', 'work', 'merged']) mkdirSync(join(place, name));
    chmodSync(place, 0o755);
    const mount =
      'mount -t overlay overlay -o "lowerdir=$0/lower,upperdir=$0/upper,workdir=$0/work" "$0/merged" && exec "$@"';
    const { store } = doctor(['unshare', '--mount', 'sh', '-c', mount, place], {
      MBUILD_ROOT: join(place, 'merged/store'),
    });
    expect(store).toMatchObject({
      snapshotter: 'copy',
      fileSystem: 'overlay',
      why: expect.stringContaining('itself is on an overlay'),
      fix: expect.stringContaining('docker run -v mbuild:'),
    });
  });
});
