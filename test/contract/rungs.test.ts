import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { listXattrs } from '../../src/linux/xattr';
import { smallBaseTar } from '../support/bases';
import { cleanEnv } from '../support/command';
import { describeWith, findProgram } from '../support/needs';
import { openToOthers, useTemp, writeFiles } from '../support/temp';

const BIN = resolve(__dirname, '../../bin/mbuild');

/** What an unprivileged container leaves to root: docker's fourteen capabilities. */
const DOCKER =
  'chown,dac_override,fsetid,fowner,mknod,net_raw,setgid,setuid,setfcap,setpcap,net_bind_service,sys_chroot,kill,audit_write';

/**
 * Denies one system call, as docker's filter does even for who has CAP_SYS_ADMIN, and executes a
 * command. seccomp(2); linux/filter.h, linux/seccomp.h.
 */
const WITHOUT_PIVOT_ROOT = `
import ctypes, os, struct, sys
load, equal, give, denied, allowed = 0x20, 0x15, 0x06, 0x00050001, 0x7fff0000
code = b"".join(struct.pack("HBBI", *line) for line in [(load, 0, 0, 0), (equal, 0, 1, int(sys.argv[1])), (give, 0, 0, denied), (give, 0, 0, allowed)])
class Program(ctypes.Structure): _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
assert ctypes.CDLL(None, use_errno=True).prctl(22, 2, ctypes.byref(Program(4, code))) == 0
os.execvp(sys.argv[2], sys.argv[2:])
`;
const PIVOT_ROOT: Readonly<Record<string, number>> = { x64: 155, arm64: 41 };

/**
 * Everything by which trees can differ, done by COPY, WORKDIR and RUN; and in the end what proot
 * cannot keep: whom RUN gives files to. Pipes are made without a umask, for fuse-overlayfs 1.14
 * ignores it.
 */
const DOCKERFILE = `
FROM scratch AS base
ADD small-base.tar /
FROM base AS same
COPY --chown=7:8 links /opt/links
RUN echo hello > /etc/new; chmod 600 /etc/passwd; exec 3<>/etc/group; touch /etc/gone; rm /etc/gone
RUN chmod 600 /etc/passwd; exec 3<>/etc/passwd; rm /etc/new
COPY --chown=5:6 Dockerfile /opt/
WORKDIR /w/x
RUN --mount=type=cache,target=/root/.c echo y >> /root/.c/f; mkdir -p /d/e; rm -r /home/app; mkdir /home/app; touch /home/app/z; ln /etc/passwd /etc/pw2; mv /opt/Dockerfile /opt/D2; (umask 0; mkfifo /p); chmod 4755 /opt/D2; ln -s x /l
RUN --mount=type=bind,target=/ctx rm -rf /d /l && ln -s /etc /d && mkdir /l && cp /ctx/Dockerfile /l/ && mv /l/Dockerfile "/l/ü" && mv /home/app /home/moved
RUN --mount=type=tmpfs,target=/scratch --mount=type=secret,id=token,target=/run/secret touch /scratch/x && [ "$(cat /run/secret)" = s3cret ] && echo 127.0.0.2 me >> /etc/hosts
RUN ln -s of-root /opt/links/mine; mv /opt/links/file /opt/file; rm /opt/links/b; mkdir /opt/links/dir; echo more >> /opt/file; mkdir /fresh; mv /fresh /opt/fresh
USER app
RUN id -u > /tmp/id; ln -s of-app /tmp/l; mkdir /tmp/d; (umask 0; mkfifo /tmp/p); sleep 987654 & true
USER root
FROM same AS whole
RUN chown -R 5:6 /p /opt; touch /t; chgrp 6 /t
RUN cp /bin/busybox /given; chmod 6755 /given; chown 9:10 /given; mkdir -p /g/in; ln -s of-9 /g/l; ln -s of-root /g/again; (umask 0; mkfifo /g/p); cd /g/in; chown 9 ../l ../p .; \
  chown -h 9:10 ../l ../again; chgrp -h 11 ../l; mv ../l ../renamed; ln -sfn of-root /g/again; ln /given ../hard; chown 0:0 /opt/file; chown 12:13 /d/group; cp -p /given /g/copy; \
  chown 7 /dev/null /dev/stdout /proc/self/fd/1; chown 7 /g/none 2>/g/why || echo $? >> /g/why; cd / && chown 8 g/in/../../t
RUN chgrp -h 12 /g/renamed; chown -R 9:10 /g/in; mv /g/renamed /g/in/back; ln -s of-root /g/renamed; rm /g/again; chmod 4755 /g/copy
`;

describeWith(
  'every rung of the ladder gives the same image',
  { root: true, programs: ['setpriv', 'tar'] },
  () => {
    const temp = useTemp();
    let context: string;
    /** Ids of the whole image, and of the part that is the same on every rung. */
    let expected: string;
    let same: string;

    interface Way {
      readonly prefix?: readonly string[];
      readonly flags?: readonly string[];
      readonly root?: string;
      readonly env?: Readonly<Record<string, string>>;
      readonly target?: 'whole' | 'same';
      readonly folder?: string;
    }

    /** Builds on a store of its own, and returns the image's id. */
    function build(
      name: string,
      {
        prefix = [],
        flags = [],
        root = join(temp.dir(name), 'store'),
        env = {},
        target = 'whole',
        folder = context,
      }: Way = {},
    ): string {
      const args = [
        ...prefix,
        BIN,
        '--root',
        root,
        ...flags,
        'build',
        '-q',
        '--target',
        target,
        '--source-date-epoch',
        '1700000000',
        '--secret',
        'id=token,env=TOKEN',
        folder,
      ];
      const { status, stdout, stderr } = spawnSync(args[0] ?? '', args.slice(1), {
        encoding: 'utf8',
        env: { ...cleanEnv(), ...env, TOKEN: 's3cret' },
      });
      expect(stderr).toBe('');
      expect(status).toBe(0);
      return stdout.trim();
    }

    beforeAll(() => {
      context = writeFiles(temp.dir('context'), {
        Dockerfile: DOCKERFILE.trimStart(),
        'links/file': 'x\n',
        'links/deep/y': 'y\n',
      });
      for (const name of ['a', 'b', 'deep/c']) symlinkSync('file', join(context, 'links', name));
      copyFileSync(smallBaseTar(temp.dir('base')), join(context, 'small-base.tar'));
      chmodSync(context, 0o755);
      chmodSync(join(context, 'small-base.tar'), 0o644);
      expected = build('overlay');
      same = build('overlay-same', { target: 'same' });
    });

    const canServe = existsSync('/dev/fuse') && findProgram('fuse-overlayfs') !== undefined;
    if (!canServe) console.log('skipped: trees by fuse-overlayfs need the program and /dev/fuse');
    const testFuse = canServe ? test : test.skip;

    test('root with overlays, again', () => expect(build('again')).toBe(expected));

    test('root with copies instead of overlays', () =>
      expect(build('copies', { flags: ['--snapshotter=copy'] })).toBe(expected));

    testFuse('root with fuse-overlayfs', () =>
      expect(build('fuse', { flags: ['--snapshotter=fuse-overlayfs'] })).toBe(expected),
    );

    test.each([
      [
        'another overlay',
        [],
        'mount -t overlay overlay -o "lowerdir=$0/lower,upperdir=$0/upper,workdir=$0/work" "$0/merged"',
      ],
      [
        'FUSE',
        ['/dev/fuse', findProgram('fuse-overlayfs') ?? 'fuse-overlayfs'],
        'fuse-overlayfs -o "lowerdir=$0/lower,upperdir=$0/upper,workdir=$0/work" "$0/merged" 2>/dev/null',
      ],
    ])('root with the store on %s', (name, needed, mount) => {
      const missing = needed.filter((file) => !existsSync(file));
      if (missing.length > 0) return console.log(`skipped: there is no ${missing.join(', ')}`);
      const place = temp.dir('place');
      for (const name of ['lower', 'upper', 'work', 'merged']) mkdirSync(join(place, name));
      // Unmounted for the program behind it to end.
      const prefix = [
        'unshare',
        '--mount',
        'sh',
        '-c',
        `${mount} && { "$@"; code=$?; umount "$0/merged"; exit $code; }`,
        place,
      ];
      expect(build('', { prefix, root: join(place, 'merged/store') })).toBe(expected);
      // It cannot serve a tree that another one serves.
      if (canServe && name !== 'FUSE')
        expect(
          build('', {
            prefix,
            root: join(place, 'merged/served'),
            flags: ['--snapshotter=fuse-overlayfs'],
          }),
        ).toBe(expected);
    });

    test('root with a changed root alone', () =>
      expect(build('chroot', { flags: ['--isolation=chroot'] })).toBe(expected));

    describe.each(['crun', 'runc'])('root with %s as runtime', (runtime) =>
      describeWith(runtime, { programs: [runtime] }, () =>
        test('gives it, too', () => {
          expect(build(runtime, { flags: ['--isolation=oci', '--runtime', runtime] })).toBe(
            expected,
          );
          expect(
            build(`${runtime}-copies`, {
              flags: ['--isolation=oci', '--runtime', runtime, '--snapshotter=copy'],
            }),
          ).toBe(expected);
        }),
      ),
    );

    test('root of a container without privileges', () => {
      const prefix = [
        'setpriv',
        '--bounding-set',
        `-all,${DOCKER.split(',')
          .map((name) => `+${name}`)
          .join(',')}`,
        '--inh-caps',
        '-all',
      ];
      expect(build('container', { prefix })).toBe(expected);
      expect(
        spawnSync('setpriv', [...prefix.slice(1), BIN, 'doctor', '--format', 'json'], {
          encoding: 'utf8',
        }).stdout,
      ).toMatch(/"chosen":"chroot"/);
    });

    describeWith(
      'root that may mount, but not switch the root',
      {
        programs: ['python3'],
        also: () =>
          process.arch in PIVOT_ROOT
            ? undefined
            : `needs the number of pivot_root on ${process.arch}`,
      },
      () => {
        const prefix = ['python3', '-c', WITHOUT_PIVOT_ROOT, String(PIVOT_ROOT[process.arch])];

        test('has a changed root', () => {
          expect(build('filtered', { prefix })).toBe(expected);
          const { chosen, rungs } = JSON.parse(
            spawnSync('python3', [...prefix.slice(1), BIN, 'doctor', '--format', 'json'], {
              encoding: 'utf8',
            }).stdout,
          ) as { chosen: string; rungs: { name: string; why: string }[] };
          expect(chosen).toBe('chroot');
          expect(rungs.find(({ name }) => name === 'namespaces')?.why).toBe(
            'cannot switch the root (EPERM)',
          );
        });

        test('hands a store on to root who may, and takes it back', () => {
          const [root, out] = [temp.dir('handed'), temp.dir('handed-out')];
          const folder = writeFiles(temp.dir('handed-context'), {
            Dockerfile:
              'FROM scratch\nADD small-base.tar /\nRUN if [ -d /proc/1 ]; then echo all; else echo some; fi > /processes\nCMD ["cat", "/processes"]\n',
          });
          copyFileSync(join(context, 'small-base.tar'), join(folder, 'small-base.tar'));
          const processes = (...words: readonly string[]): string => {
            const [program = '', ...args] = [
              ...words,
              BIN,
              '--root',
              root,
              'build',
              '-q',
              '--no-cache',
              '--output',
              `type=local,dest=${out}`,
              folder,
            ];
            expect(spawnSync(program, args, { encoding: 'utf8', env: cleanEnv() })).toMatchObject({
              status: 0,
              stderr: '',
            });
            return readFileSync(join(out, 'processes'), 'utf8').trim();
          };
          expect([processes(...prefix), processes(), processes(...prefix)]).toEqual([
            'some',
            'all',
            'some',
          ]);
        });
      },
    );

    const user = 'mbuild-test-user';
    const RANGES = ['--add-subuids', '700000-765535', '--add-subgids', '700000-765535'];
    const canTest =
      ['useradd', 'userdel', 'newuidmap', 'newgidmap'].every(
        (name) => findProgram(name) !== undefined,
      ) && isReachable();
    if (!canTest)
      console.log(
        'skipped: an ordinary user needs useradd, newuidmap, and a checkout that others can read',
      );
    const testUser = canTest ? test : test.skip;

    testUser('an ordinary user with subordinate ids', () =>
      asUser('user', RANGES, (way) => {
        expect(build('user', way)).toBe(expected);
        expect(chosen(way)).toBe('user-namespace');
        for (const runtime of ['crun', 'runc'].filter((name) => findProgram(name) !== undefined))
          expect(
            build('user', {
              ...way,
              flags: ['--isolation=oci', '--runtime', runtime],
              root: `${way.root}-${runtime}`,
            }),
          ).toBe(expected);
      }),
    );

    testUser.each(['crun', 'runc'])(
      'an ordinary user with %s as runtime keeps his control groups from steps',
      (runtime) =>
        asUser('groups', RANGES, (way) => {
          if (findProgram(runtime) === undefined)
            return console.log(`skipped: there is no ${runtime}`);
          const folder = writeFiles(temp.dir('groups-context'), {
            Dockerfile:
              'FROM scratch\nADD small-base.tar /\nRUN ls -A /sys/fs/cgroup > /seen; test -d /sys/kernel\n',
          });
          copyFileSync(join(context, 'small-base.tar'), join(folder, 'small-base.tar'));
          openToOthers(folder);
          const out = temp.dir('groups-out');
          openToOthers(out);
          chmodSync(out, 0o777);
          const { status, stderr } = spawnSync(
            way.prefix?.[0] ?? '',
            [
              ...(way.prefix?.slice(1) ?? []),
              BIN,
              '--root',
              way.root ?? '',
              'build',
              '-q',
              '--isolation=oci',
              '--runtime',
              runtime,
              '--output',
              `type=local,dest=${join(out, 'tree')}`,
              folder,
            ],
            { encoding: 'utf8', env: { ...cleanEnv(), ...way.env } },
          );
          expect([status, stderr]).toEqual([0, '']);
          expect(readFileSync(join(out, 'tree/seen'), 'utf8')).toBe('');
        }),
    );

    const mayOpen = canServe && (statSync('/dev/fuse').mode & 0o006) === 0o006;
    if (canServe && !mayOpen) console.log('skipped: only root may open /dev/fuse');
    const testUserFuse = canTest && mayOpen ? testFuse : test.skip;

    testUserFuse('an ordinary user with subordinate ids and fuse-overlayfs', () =>
      asUser('user-fuse', RANGES, (way) => {
        expect(build('user', { ...way, flags: ['--snapshotter=fuse-overlayfs'] })).toBe(expected);
      }),
    );

    testUserFuse('an ordinary user with one id and fuse-overlayfs', () =>
      asUser('one-fuse', [], (way) => {
        expect(
          build('one', { ...way, target: 'same', flags: ['--snapshotter=fuse-overlayfs'] }),
        ).toBe(same);
        // It cannot change a named pipe of a layer below.
        const folder = writeFiles(temp.dir('one-context'), {
          Dockerfile: DOCKERFILE.trimStart().replace('chown -R 5:6 /p /opt', 'chown -R 5:6 /opt'),
          'links/file': 'x\n',
        });
        for (const name of ['a', 'b']) symlinkSync('file', join(folder, 'links', name));
        copyFileSync(join(context, 'small-base.tar'), join(folder, 'small-base.tar'));
        openToOthers(folder);
        const ids = ['fuse-overlayfs', 'overlay'].map((kind) =>
          build('one', {
            ...way,
            folder,
            flags: [`--snapshotter=${kind}`],
            root: `${way.root}-${kind}`,
          }),
        );
        expect(ids[0]).toBe(ids[1]);
      }),
    );

    testUser('an ordinary user with one id', () =>
      asUser('one', [], (way) => {
        expect(build('one', way)).toBe(expected);
        expect(
          build('one', { ...way, flags: ['--snapshotter=copy'], root: `${way.root}-copies` }),
        ).toBe(expected);
        expect(chosen(way)).toBe('single-id');
      }),
    );

    testUser('an ordinary user with one id and a changed root alone', () =>
      asUser('one-chroot', [], (way) => {
        // Where a part of /proc is hidden, none can be mounted.
        const prefix = [
          'unshare',
          '--mount',
          'sh',
          '-c',
          'mount -t tmpfs none /proc/scsi 2>/dev/null || mount -t tmpfs none /proc/fs; exec "$@"',
          'sh',
          ...way.prefix,
        ];
        expect(build('one-chroot', { ...way, prefix })).toBe(expected);
        const [program = '', ...args] = [...prefix, BIN, '--root', way.root, 'doctor'];
        expect(
          spawnSync(program, args, { encoding: 'utf8', env: { ...cleanEnv(), ...way.env } }).stdout,
        ).toMatch(/single-id +works +only one id, and chroot/);
      }),
    );

    testUser("with one id, a build says once that what a RUN makes as another user is root's", () =>
      asUser('become', [], (way) => {
        const folder = writeFiles(temp.dir('become-context'), {
          Dockerfile:
            'FROM scratch\nADD small-base.tar /\nRUN chown 5 /etc/passwd\nRUN start-stop-daemon -S -c daemon -x /bin/touch -- /made\nRUN start-stop-daemon -S -c app -x /bin/true\n',
        });
        copyFileSync(join(context, 'small-base.tar'), join(folder, 'small-base.tar'));
        openToOthers(folder);
        const [program = '', ...args] = [
          ...way.prefix,
          BIN,
          '--root',
          way.root,
          'build',
          '--progress=plain',
          folder,
        ];
        const { status, stderr } = spawnSync(program, args, {
          encoding: 'utf8',
          env: { ...cleanEnv(), ...way.env },
        });
        expect({ status, warnings: stderr.slice(stderr.indexOf('1 warning')) }).toEqual({
          status: 0,
          warnings: expect.stringMatching(
            /^1 warning found:\n - OwnersNotKept: only one user id is available: RUN became another user \(1\), whose files belong to root \(line 4\)\n/,
          ),
        });
      }),
    );

    testUser(
      'with one id, giving away what is no part of the tree succeeds and leaves nothing on it',
      () =>
        asUser('elsewhere', [], (way) => {
          const host = temp.dir('elsewhere-host');
          writeFiles(host, { file: 'x' });
          execFileSync('chmod', ['-R', 'a+rwX', host]);
          const folder = writeFiles(temp.dir('elsewhere-context'), {
            Dockerfile:
              'FROM scratch\nADD small-base.tar /\nRUN chown 5:6 /host/file /etc/hosts /dev/null && mkdir /tmp/here && chown 7 /tmp/here && ln -s /host/file /tmp/here/out && chown 7 /tmp/here/out\nRUN ln -s ../../../../../../../../../..' +
              `${host}/file /up && chown 7 /up 2>&1 | grep 'No such file'\n`,
          });
          copyFileSync(join(context, 'small-base.tar'), join(folder, 'small-base.tar'));
          openToOthers(folder);
          const [program = '', ...args] = [
            ...way.prefix,
            BIN,
            '--root',
            way.root,
            'build',
            '-v',
            `${host}:/host`,
            '-q',
            folder,
          ];
          expect(
            spawnSync(program, args, { encoding: 'utf8', env: { ...cleanEnv(), ...way.env } }),
          ).toMatchObject({ status: 0, stderr: '' });
          expect(listXattrs(join(host, 'file'))).toEqual([]);
        }),
    );

    testUser.each([
      ['subordinate ids', RANGES],
      ['one id', []],
    ])('with %s, all files of --output type=local are whose mbuild is', (_, ids) =>
      asUser('local', ids, (way) => {
        const folder = writeFiles(temp.dir('local-context'), {
          Dockerfile:
            'FROM scratch\nCOPY --chown=5:6 file /given/file\nCOPY --chown=0:7 --chmod=2755 file /file\n',
          file: 'x',
        });
        openToOthers(folder);
        const out = join(way.root, '../out');
        const [program = '', ...args] = [
          ...way.prefix,
          BIN,
          '--root',
          way.root,
          'build',
          '-q',
          '--output',
          `type=local,dest=${out}`,
          folder,
        ];
        expect(
          spawnSync(program, args, { encoding: 'utf8', env: { ...cleanEnv(), ...way.env } }),
        ).toMatchObject({ status: 0, stderr: '' });
        const { uid, gid } = statSync(out);
        expect(uid).not.toBe(0);
        expect(
          ['file', 'given', 'given/file']
            .map((name) => statSync(join(out, name)))
            .map((stats) => [stats.uid, stats.gid, stats.mode & 0o7777]),
        ).toEqual([
          [uid, gid, 0o2755],
          [uid, gid, 0o755],
          [uid, gid, 0o644],
        ]);
      }),
    );

    testUser.each([
      ['subordinate ids', RANGES, []],
      ['subordinate ids and no network', RANGES, ['--network', 'none']],
      ['one id', [], []],
    ])(
      'with %s, containers are entered and ended from outside, whoever runs in them',
      (_, ids, flags) =>
        asUser('containers', ids, (way) => {
          const tar = join(way.root, '../small-base.tar');
          copyFileSync(join(context, 'small-base.tar'), tar);
          openToOthers(dirname(tar));
          const mbuild = (...words: readonly string[]): string => {
            const [program = '', ...args] = [...way.prefix, BIN, '--root', way.root, ...words];
            const { status, stdout, stderr } = spawnSync(program, args, {
              encoding: 'utf8',
              env: { ...cleanEnv(), ...way.env },
            });
            expect({ words, status, stderr }).toEqual({ words, status: 0, stderr: '' });
            return stdout.trim();
          };
          mbuild('import', tar, 'base');
          try {
            for (const name of ['first', 'second'])
              mbuild(
                'run',
                '-d',
                '--name',
                name,
                ...flags,
                '--user',
                '5',
                'base',
                'sh',
                '-c',
                "trap 'exit 3' TERM; while :; do sleep 0.05; done",
              );
            expect(mbuild('exec', 'second', 'id', '-u')).toBe('5');
            expect(
              mbuild(
                'exec',
                '--user',
                '0',
                'first',
                'sh',
                '-c',
                'echo made > /made; cat /made; ls -d /proc/1',
              ),
            ).toBe('made\n/proc/1');
            mbuild('stop', '-t', '20', 'first');
            expect(mbuild('ps', '-a', '--filter', 'name=first', '--format', '{{.Status}}')).toMatch(
              /^Exited \(3\)/,
            );
            mbuild('start', 'first');
            expect(mbuild('commit', 'first', 'made')).toMatch(/^sha256:/);
            mbuild('kill', 'first');
          } finally {
            mbuild('rm', '-f', 'first', 'second');
          }
        }),
    );

    testUser.each([
      ['subordinate ids', RANGES],
      ['one id', []],
    ])(
      'an ordinary user with %s, on a file system with flags that he may not take away',
      (_, ids) =>
        asUser('flags', ids, (way) => {
          const place = temp.dir('flags-place');
          openToOthers(place);
          const prefix = [
            'unshare',
            '--mount',
            'sh',
            '-c',
            'mount -t tmpfs -o nosuid,nodev,mode=1777 none "$0" && exec "$@"',
            place,
            ...way.prefix,
          ];
          expect(
            build('flags', {
              ...way,
              prefix,
              root: join(place, 'store'),
              env: { ...way.env, TMPDIR: place },
            }),
          ).toBe(expected);
        }),
    );

    testUser('a store with nothing in it becomes that of a user with ids when there are some', () =>
      asUser('later', [], (way) => {
        const [program = '', ...args] = [...way.prefix, BIN, '--root', way.root];
        expect(
          spawnSync(program, [...args, 'images'], {
            encoding: 'utf8',
            env: { ...cleanEnv(), ...way.env },
          }).status,
        ).toBe(0);
        expect(JSON.parse(readFileSync(join(way.root, 'ground.json'), 'utf8'))).toMatchObject({
          ground: { owners: 'beside' },
        });
        execFileSync('usermod', [...RANGES, user]);
        expect(build('later', way)).toBe(expected);
        expect(JSON.parse(readFileSync(join(way.root, 'ground.json'), 'utf8'))).toMatchObject({
          ground: { owners: 'kernel', canMount: true },
        });
      }),
    );

    testUser('a store is used as it was made, and by nobody else', () =>
      asUser('bound', [], (way) => {
        build('bound', { ...way, target: 'same' });
        const asRoot = spawnSync(BIN, ['--root', way.root, 'images'], {
          encoding: 'utf8',
          env: cleanEnv(),
        });
        expect(asRoot.stderr).toMatch(
          /was made by a user without ids of other users.*\n\[STORE_UNUSABLE\]/,
        );
        const pinned = spawnSync(
          'setpriv',
          [...way.prefix.slice(1), BIN, '--root', way.root, '--isolation=user-namespace', 'images'],
          { encoding: 'utf8', env: { ...cleanEnv(), ...way.env } },
        );
        expect(pinned.stderr).toMatch(
          /--isolation=user-namespace does not work here: a range for mbuild-test-user in \/etc\/subuid is missing\n.*usermod --add-subuids/,
        );
      }),
    );

    const canTrace = canTest && findProgram('proot') !== undefined;
    if (!canTrace)
      console.log('skipped: a user with neither namespaces nor capabilities needs proot');
    (canTrace ? test : test.skip)(
      'an ordinary user with neither user namespaces nor capabilities',
      () =>
        asUser('bare', [], (way) => {
          // Who has another root than his namespace can make no user namespace: user_namespaces(7).
          const place = temp.dir('bare-root');
          const prefix = [
            'unshare',
            '--mount',
            'sh',
            '-c',
            `mount --rbind / ${place} && exec chroot ${place} "$@"`,
            'sh',
            ...way.prefix,
          ];
          expect(build('bare', { ...way, prefix, target: 'same' })).toBe(same);
          expect(chosen({ ...way, prefix })).toBe('proot');
        }),
    );

    testUser(
      'where nothing can be had, a RUN is refused before the first step, and COPY alone builds',
      () =>
        asUser('refused', [], (way) => {
          const place = temp.dir('refused-root');
          const programs = temp.dir('refused-path');
          chmodSync(programs, 0o755);
          symlinkSync(process.execPath, join(programs, 'node'));
          const prefix = [
            '--mount',
            'sh',
            '-c',
            `mount --rbind / ${place} && exec chroot ${place} "$@"`,
            'sh',
            ...way.prefix,
            'env',
            `PATH=${programs}`,
            BIN,
            '--root',
            way.root,
          ];
          const mbuild = (...args: readonly string[]): ReturnType<typeof spawnSync> =>
            spawnSync('unshare', [...prefix, ...args], {
              encoding: 'utf8',
              env: { ...cleanEnv(), ...way.env },
            });
          const refused = mbuild('build', '--progress=plain', context);
          expect(refused.status).toBe(1);
          expect(refused.stderr).toMatch(
            /^error: RUN cannot be isolated here: .*proot: the program proot is missing\n\[SANDBOX_UNAVAILABLE\] hint: as root: apt-get install proot/,
          );
          expect(mbuild('build', '-q', '--target', 'base', context)).toMatchObject({
            status: 0,
            stderr: '',
          });
        }),
    );

    /** Makes a user for the time of a test, with a folder of its own. */
    function asUser(
      name: string,
      ids: readonly string[],
      use: (way: Required<Pick<Way, 'prefix' | 'root' | 'env'>>) => void,
    ): void {
      execFileSync('useradd', [
        '--no-create-home',
        '--key',
        'SUB_UID_COUNT=0',
        '--key',
        'SUB_GID_COUNT=0',
        user,
      ]);
      const folder = temp.dir(name);
      const own = join(folder, 'own');
      try {
        if (ids.length > 0) execFileSync('usermod', [...ids, user]);
        openToOthers(folder);
        mkdirSync(own);
        execFileSync('chown', [user, own]);
        const id = execFileSync('id', ['-u', user]).toString().trim();
        use({
          prefix: ['setpriv', '--reuid', id, '--regid', id, '--clear-groups'],
          root: join(own, 'store'),
          env: { TMPDIR: own, HOME: own },
        });
      } finally {
        // Only the namespace's root, or ours, may delete what its users own.
        execFileSync('rm', ['-rf', own]);
        execFileSync('userdel', [user]);
      }
    }

    /** What the doctor says is taken. */
    function chosen({ prefix = [], env, root = '' }: Way): string {
      const [program = '', ...args] = [
        ...prefix,
        BIN,
        '--root',
        root,
        'doctor',
        '--format',
        'json',
      ];
      const { stdout } = spawnSync(program, args, {
        encoding: 'utf8',
        env: { ...cleanEnv(), ...env },
      });
      return (JSON.parse(stdout) as { chosen: string }).chosen;
    }

    /** True when a user who is not root can start mbuild. */
    function isReachable(): boolean {
      return (
        spawnSync('setpriv', [
          '--reuid',
          '65534',
          '--regid',
          '65534',
          '--clear-groups',
          BIN,
          '--version',
        ]).status === 0
      );
    }
  },
);
