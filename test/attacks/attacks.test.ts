import { createHash } from 'node:crypto';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { listXattrs, setXattr } from '../../src/linux/xattr';
import { smallBase } from '../support/bases';
import type { CommandOptions, CommandResult } from '../support/command';
import { hostileTar, type HostileName } from '../support/hostile-tar';
import { Mbuild, REPOSITORY, instructionSteps } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { mountsLeft, useTemp, writeFiles } from '../support/temp';

/** A word that stands in files of the host alone: whoever prints it has been there. */
const CANARY = 'c4n4ry-of-the-host';

/**
 * Each test tries one known attack on builders with input that it makes itself, through the command
 * line. What depends on how RUN is isolated is tried on the least of the rungs as well.
 */
describe.each(['namespaces', 'chroot', 'oci'])('with RUN in %s', (isolation) =>
  describeWith(
    'mbuild withstands',
    { root: true, programs: isolation === 'oci' ? ['crun'] : [] },
    () => {
      const isBest = isolation === 'namespaces';
      const temp = useTemp();
      let mbuild: Mbuild;
      /** A directory of the host that no step may see or change. */
      let host: string;

      beforeAll(async () => {
        host = writeFiles(temp.dir('host'), {
          secret: `${CANARY}\n`,
          'empty/': '',
          'b/c/kept': `${CANARY}\n`,
          passwd: `evil:x:0:0::${CANARY}:/bin/sh\n`,
        });
        mbuild = new Mbuild(join(temp.dir('parent'), 'store'), { MBUILD_ISOLATION: isolation });
        await smallBase(mbuild);
      });

      afterEach(() => {
        // The host's files are as they were, nothing is mounted, nothing lies beside the store.
        expect(readdirSync(host).sort()).toEqual(['b', 'empty', 'passwd', 'secret']);
        expect([
          readFileSync(`${host}/secret`, 'utf8'),
          readdirSync(`${host}/empty`),
          readdirSync(`${host}/b/c`),
        ]).toEqual([`${CANARY}\n`, [], ['kept']]);
        expect(mountsLeft(dirname(mbuild.root))).toEqual([]);
        expect(readdirSync(dirname(mbuild.root))).toEqual(['store']);
      });

      const context = (
        lines: readonly string[],
        files: Readonly<Record<string, string | Uint8Array>> = {},
      ): string =>
        writeFiles(temp.dir('context'), {
          ...files,
          Dockerfile: ['FROM small-base', ...lines, ''].join('\n'),
        });
      const attempt = (
        lines: readonly string[],
        args: readonly string[] = [],
        options?: CommandOptions,
      ): Promise<CommandResult> =>
        mbuild.run(['build', '--progress=plain', '--no-cache', ...args, context(lines)], options);
      async function output(...lines: string[]): Promise<readonly string[]> {
        const { steps } = await mbuild.build(['--no-cache', context(lines)]);
        return instructionSteps(steps).at(-1)?.log ?? [];
      }

      if (isBest)
        it.each([0, 3, 4, 5, 7, 9, 12, 20, 80, 100])(
          'attack 01: a working directory behind descriptor %i',
          async (fd) => {
            const { stderr } = await attempt([
              `WORKDIR /proc/self/fd/${fd}`,
              `RUN cat ../../../../../../..${host}/secret; cat secret; true`,
            ]);
            expect(stderr.split('\n').filter((line) => line.includes(CANARY))).toEqual([]);
          },
        );

      it('attack 01: a working directory that is a link to a descriptor', async () => {
        const { stderr } = await attempt([
          'RUN ln -s /proc/self/fd/9 /w',
          'WORKDIR /w',
          `RUN cat ../../../../../..${host}/secret; true`,
        ]);
        expect(stderr).not.toContain(CANARY);
      });

      it('attack 02: a step writes to the program that started it', async () => {
        const programs = [process.execPath, join(REPOSITORY, 'dist/main.cjs')];
        const digests = (): string[] =>
          programs.map((file) => createHash('sha256').update(readFileSync(file)).digest('hex'));
        const before = digests();
        await output(
          'RUN printf "#!/proc/self/exe\\n" > /x; chmod 755 /x; (/x) 2>/dev/null; for p in /proc/[0-9]*/exe; do (printf evil > $p) 2>/dev/null; done; (printf evil >> /proc/1/exe) 2>/dev/null; true',
        );
        expect(digests()).toEqual(before);
      });

      it('attack 03: the image brings /dev/null, /proc and /dev as links', async () => {
        await output(`RUN ln -s ${host} /target; true`, 'RUN echo gone > /dev/null');
        for (const link of [
          `ln -s ${host}/secret /dev0/null && mv /dev0 /dev`,
          `ln -s ${host}/empty /dev`,
          `ln -s ${host} /proc`,
        ]) {
          const dir = context([
            'COPY made.tar /',
            `ADD made.tar /`,
            'RUN echo evil > /dev/null; touch /dev/x /proc/x; true',
          ]);
          const tree = temp.dir('tree');
          execFileSync('sh', [
            '-c',
            `cd ${tree} && mkdir dev0 && ${link.replace(/ \/(dev|proc)/g, ' ./$1')}; tar cf ${dir}/made.tar .`,
          ]);
          await mbuild.run(['build', '--progress=plain', dir]);
          expect(readFileSync(`${host}/secret`, 'utf8')).toBe(`${CANARY}\n`);
        }
      });

      it('attack 04: the target of a mount leads through links', async () => {
        await attempt([
          `RUN rm -rf /var && ln -s ${host} /var && ln -s ../../../../../..${host}/empty /rel`,
          'RUN --mount=type=cache,target=/var/b/new --mount=type=tmpfs,target=/rel/t --mount=type=secret,id=x,target=/var/s touch /var/b/new/x /rel/t/y; true',
        ]);
        expect(readdirSync(`${host}/b`)).toEqual(['c']);
      });

      it.each(['/proc', '/proc/self', '/proc/self/fd/..', '/to-proc/1', '/to-root', '/up'])(
        "attack 04: the target of a mount is the root or the kernel's: %s",
        async (target) => {
          for (const type of ['tmpfs', 'cache', 'bind']) {
            const { code, stderr } = await attempt([
              'RUN ln -s /proc /to-proc; ln -s / /to-root; ln -s ../../.. /up',
              `RUN --mount=type=${type},target=${target} echo "mounted"`,
            ]);
            expect([
              code,
              stderr.split('\n').find((line) => line.includes('cannot mount on')),
            ]).toEqual([1, expect.stringMatching(/the root|the kernel's/)]);
          }
        },
      );

      if (isBest)
        it('attack 05: cache-mount sub-path flipped during the step', async () => {
          const inCache = (command: string, options?: CommandOptions): Promise<CommandResult> =>
            attempt([`RUN --mount=type=cache,id=flip,target=/c ${command}`], [], options);
          const attack = async (name: string): Promise<void> => {
            const { stderr } = await attempt([
              `RUN --mount=type=cache,id=flip,target=/m,source=sub cat /m/secret; ls /m; touch /m/${name}`,
            ]);
            expect(stderr).not.toContain(CANARY);
          };
          await inCache(`ln -s ${host} /c/sub`);
          await attack('link');
          // As long as the attacks last, and from the moment that it has said so.
          let begun = (): void => undefined;
          const flips = new Promise<void>((resolve) => {
            begun = resolve;
          });
          const flip = `echo begun; until [ -e /c/end ]; do rm -rf /c/sub; ln -s ${host} /c/sub; rm -rf /c/sub; mkdir /c/sub; done`;
          const flipping = inCache(flip, {
            onStderr: (text) => /^#\d+ [\d.]+ begun$/m.test(text) && begun(),
          });
          try {
            await Promise.race([flips, flipping]);
            for (let i = 0; i < 8; i++) await attack(`flip${i}`);
          } finally {
            await inCache('touch /c/end');
          }
          expect(await flipping).toMatchObject({ code: 0 });
        }, 90_000);

      it('attack 06: the parent of a mount point is replaced by a link during the step', async () => {
        await attempt([
          `RUN --mount=type=cache,target=/a/b/c --mount=type=tmpfs,target=/t/empty mv /a /z; ln -s ${host} /a; mv /t /y; ln -s ${host} /t; true`,
        ]);
        expect(existsSync(`${host}/empty`)).toBe(true);
      });

      if (isBest)
        it.each([
          ['RUN --security=insecure id', /security\.insecure/],
          ['RUN --security=nonsense id', /security/],
          ['RUN --network=nonsense id', /network/],
          ['RUN --mount=type=nonsense id', /type/],
          ['RUN --mount=type=tmpfs,target=/t,size=-1 id', /size/],
          ['RUN --mount=type=cache,target=/t,mode=99999999999 id', /mode/],
          ['RUN --mount=type=cache,target=/t,uid=-5 id', /uid/],
          ['RUN --privileged id', /privileged/],
        ])('attack 07: rights and options that nobody granted: %s', async (line, message) => {
          const { code, stderr } = await attempt([line]);
          expect(code).toBe(1);
          expect(stderr).toMatch(message);
          expect(stderr).not.toMatch(/INTERNAL|at .*\.ts:/);
        });

      if (isBest)
        it.each([
          '../../../../../escape',
          '/etc',
          'a/../../b',
          '..',
          '.',
          'x'.repeat(10_000),
          'a\tb',
          '%00',
          '~',
        ])('attack 08: the id of a cache mount as a path (%#)', async (id) => {
          await output(`RUN --mount=type=cache,id="${id}",target=/c echo kept >> /c/f; ls /c`);
          expect(existsSync(join(dirname(mbuild.root), 'escape'))).toBe(false);
          expect(existsSync('/etc/f')).toBe(false);
        });

      if (isBest)
        it.each([
          'bind-propagation=shared',
          'options=rw',
          'z',
          'relabel=shared',
          'propagation=rshared',
          'nosuid',
          'upperdir=/etc',
        ])('attack 09: a mount option that is not on the list: %s', async (option) => {
          const { code, stderr } = await attempt([`RUN --mount=type=bind,target=/m,${option} id`]);
          expect(code).toBe(1);
          expect(stderr).toMatch(/DOCKERFILE_SYNTAX/);
        });

      it('attack 10: the source of a mount is a link to the root, and writes are kept', async () => {
        const dir = context([
          'RUN ln -s / /etc/link && ln -s ../../../../../.. /etc/up',
          'FROM small-base AS made',
          'COPY --from=0 /etc /etc',
          'FROM small-base',
          `RUN --mount=type=bind,from=made,source=/etc/link,target=/m,rw cat /m${host}/secret; touch /m/evil /m/etc/evil; true`,
          `RUN --mount=type=bind,from=made,source=/etc/up,target=/m,rw cat /m${host}/secret; ls /m/evil; true`,
          'RUN --mount=type=bind,target=/ctx,rw touch /ctx/new && rm /ctx/Dockerfile',
        ]);
        const { stderr, code } = await mbuild.run(['build', '--progress=plain', '--no-cache', dir]);
        expect(code).toBe(0);
        expect(stderr).not.toContain(CANARY);
        expect(stderr).toMatch(/\/m\/evil: No such file/);
        expect([existsSync('/evil'), readdirSync(dir)]).toEqual([false, ['Dockerfile']]);
      });

      it.each([
        ['a pipe', 'mkfifo /etc/passwd', /IMAGE_INVALID|USER_NOT_FOUND/],
        ['a link to the host', `ln -s ../../../../../..HOST/passwd /etc/passwd`, /USER_NOT_FOUND/],
        ['a hundred megabytes', 'truncate -s 100M /etc/passwd', /LIMIT_EXCEEDED/],
        ['a directory', 'mkdir /etc/passwd', /IMAGE_INVALID/],
        [
          'a link to itself',
          'ln -s passwd /etc/passwd',
          /COPY_FAILED|IMAGE_INVALID|USER_NOT_FOUND/,
        ],
      ])('attack 11: /etc/passwd of the image is %s', async (_, make, message) => {
        const { code, stderr } = await attempt([
          `RUN rm /etc/passwd; ${make.replace('HOST', host)}`,
          'USER evil',
          'RUN id',
        ]);
        expect(code).toBe(1);
        expect(stderr).toMatch(message);
      });

      if (isBest)
        it.each<HostileName>([
          'parent-name',
          'parent-in-the-middle',
          'absolute-name',
          'through-a-symlink',
          'through-an-absolute-symlink',
          'hard-link-outside',
        ])('attack 12: an archive writes outside of its place: %s', async (kind) => {
          const tar = hostileTar(kind, `${host}/empty`);
          writeFileSync(join(temp.dir('tar'), 'x.tar'), tar);
          const file = join(temp.dir('tar'), 'x.tar');
          writeFileSync(file, tar);
          await mbuild.run(['import', file, 'hostile']);
          await mbuild.run([
            'build',
            '--progress=plain',
            context(['ADD x.tar /d/'], { 'x.tar': tar }),
          ]);
          expect([
            existsSync('/mbuild-hostile'),
            existsSync(`${host}/empty/mbuild-hostile`),
          ]).toEqual([false, false]);
        });

      if (isBest)
        it('attack 14: setuid programs of layers are out of reach of other users', async () => {
          await output(
            'RUN cp /bin/busybox /suid 2>/dev/null || cp /bin/sh /suid; chmod 4755 /suid',
          );
          expect(statSync(mbuild.root).mode & 0o777).toBe(0o700);
          expect(() =>
            execFileSync(
              'setpriv',
              [
                '--reuid',
                '65534',
                '--regid',
                '65534',
                '--clear-groups',
                'ls',
                join(mbuild.root, 'layers'),
              ],
              { stdio: 'ignore' },
            ),
          ).toThrow();
        });

      it('attack 16: links of the context lead out of it', async () => {
        const dir = context(['COPY a/secret /x']);
        symlinkSync(host, join(dir, 'a'));
        symlinkSync(`${host}/secret`, join(dir, 'file'));
        expect(await mbuild.run(['build', '--progress=plain', dir])).toMatchObject({ code: 1 });
        for (const line of [
          'COPY file /x',
          'COPY . /x/',
          'COPY a/ /x/',
          'COPY a/* /x/',
          'COPY ../* /x/',
          'ADD file /x',
        ]) {
          writeFileSync(
            join(dir, 'Dockerfile'),
            `FROM small-base\n${line}\nRUN cat /x /x/* /x/*/*; true\n`,
          );
          const { stderr } = await mbuild.run(['build', '--progress=plain', dir]);
          expect([line, stderr.includes(CANARY)]).toEqual([line, false]);
        }
        symlinkSync(`${host}/secret`, join(dir, '.dockerignore'));
        expect((await mbuild.run(['build', '--progress=plain', dir])).stderr).not.toContain(CANARY);
      });

      it('attack 21: a secret stays in a layer, the history, a key or the store', async () => {
        const secret = 'hunter2-is-the-word';
        const dir = context([
          'RUN --mount=type=secret,id=t,target=/run/s --mount=type=secret,id=t,env=TOKEN [ "$(cat /run/s)" = "$TOKEN" ] && : > /done',
          'RUN env > /env; ls / > /ls',
        ]);
        await mbuild.build(['-t', 'secretive', '--secret', 'id=t,env=GIVEN', dir], {
          env: { GIVEN: secret },
        });
        const archive = join(temp.dir('archive'), 'image.tar');
        await mbuild.ok(['save', '-o', archive, 'secretive']);
        const found = spawnSync(
          'grep',
          ['-rlFa', '--devices=skip', secret, mbuild.root, archive, dir],
          { encoding: 'utf8' },
        );
        expect(found).toMatchObject({ status: 1, stdout: '' });
      });

      it('attack 23: what a step prints takes over the terminal or the CI', async () => {
        const { stderr, stdout } = await attempt([
          "RUN printf '\\033]52;c;ZXZpbA==\\007\\033[2J\\033[1;1Hx\\n::set-env name=A::b\\n\\rhidden\\b\\b\\n\\302\\2332J'",
        ]);
        expect(`${stdout}${stderr}`).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]/);
        expect(stderr.split('\n').filter((line) => line.startsWith('::'))).toEqual([]);
      });

      it('attack 25: endless output, and processes that outlive the step', async () => {
        const { code, stderr } = await attempt([
          'RUN yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | head -n 100000; (setsid sleep 98761234 &) ; exit 7',
        ]);
        expect(code).toBe(1);
        expect(stderr).toMatch(/exited with code 7/);
        expect(execFileSync('ps', ['-eo', 'args']).toString()).not.toContain('sleep 98761234');
      });

      it('attack 25: a step forks without end', async () => {
        const { code, stderr } = await attempt(
          ['RUN b() { b | b & b; }; b; sleep 98761235'],
          ['--pids-limit', '40', '--step-timeout', '5s'],
        );
        if (stderr.includes('cannot be set'))
          return console.log(
            `skipped: ${stderr.split('\n').find((line) => line.includes('cannot be set'))}`,
          );
        expect([code, stderr]).toEqual([1, expect.stringMatching(/fork|STEP_TIMEOUT/)]);
        expect(execFileSync('ps', ['-eo', 'args']).toString()).not.toContain('sleep 98761235');
      });

      if (isolation !== 'oci')
        it('attack 25: a tree that is deeper than a path can tell, in a layer, a cache and a container', async () => {
          // 1,476 directories and 4,392 bytes: more than recursions take, and than paths.
          const down = 'dd/'.repeat(40);
          const dig = (at: string): string =>
            `cd ${at}; mkdir a; n=0; while [ $n -lt 36 ]; do mv a b; mkdir -p a/${down}; mv b a/${down}; n=$((n+1)); done`;
          const { code, stderr } = await attempt([`RUN mkdir /x; ${dig('/x')}`]);
          expect([code, stderr]).toEqual([
            1,
            expect.stringMatching(
              /\[UNSUPPORTED\] hint: (shorten it: a path may have 4,095 bytes|delete them)/,
            ),
          ]);
          await attempt([`RUN ${dig('/tmp')}; exit 1`]);
          await mbuild.ok([
            'build',
            context([`RUN --mount=type=cache,id=deep,target=/c ${dig('/c')}`]),
          ]);
          expect(await mbuild.ok(['cache-mount', 'ls'])).toMatch(/^deep /m);
          await mbuild.ok(['cache-mount', 'rm', 'deep']);
          if (isBest) {
            await mbuild.ok(['run', '--name', 'digger', 'small-base', 'sh', '-c', dig('/tmp')]);
            await mbuild.ok(['system', 'df', '-v']);
            await mbuild.ok(['rm', 'digger']);
          }
          await mbuild.ok(['prune', '-f']);
          const left = execFileSync(
            'find',
            ['layers', 'active', 'tmp', 'cache', '-name', 'dd', '-path', '*/dd/dd/*'],
            { cwd: mbuild.root, encoding: 'utf8' },
          );
          expect(left).toBe('');
          expect(await mbuild.ok(['system', 'check'])).toContain('nothing is wrong');
        }, 90_000);

      if (isBest)
        it('attack 26: a layer spoofs marks of overlay', async () => {
          const tree = temp.dir('tree');
          mkdirSync(join(tree, 'd'));
          setXattr(join(tree, 'd'), 'trusted.overlay.opaque', Buffer.from('y'));
          setXattr(join(tree, 'd'), 'trusted.overlay.redirect', Buffer.from('/etc'));
          const tar = join(temp.dir('tar'), 'x.tar');
          execFileSync('tar', ['--xattrs', '--xattrs-include=*', '-cf', tar, '-C', tree, '.']);
          await mbuild.ok(['import', tar, 'spoof']);
          const layers = join(mbuild.root, 'layers');
          const marks = readdirSync(layers)
            .map((id) => join(layers, id, 'd'))
            .filter((dir) => existsSync(dir))
            .flatMap((dir) => listXattrs(dir));
          expect(marks).not.toContain('trusted.overlay.redirect');

          execFileSync('mknod', [join(tree, 'etc'), 'c', '0', '0']);
          execFileSync('tar', ['-cf', tar, '-C', tree, '.']);
          expect(lstatSync(join(tree, 'etc')).rdev).toBe(0);
          expect(await mbuild.run(['import', tar, 'device'])).toMatchObject({
            code: 1,
            stderr: expect.stringMatching(/ARCHIVE_UNSAFE/),
          });
        });
    },
  ),
);
