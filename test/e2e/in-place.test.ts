import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { DEBIAN_MODULES, smallBaseTar } from '../support/bases';
import { cleanEnv } from '../support/command';
import { Mbuild, REPOSITORY } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

/** What an unprivileged container leaves to root. */
const DOCKER =
  '-all,+chown,+dac_override,+fsetid,+fowner,+mknod,+net_raw,+setgid,+setuid,+setfcap,+setpcap,+net_bind_service,+sys_chroot,+kill,+audit_write';

const DOCKERFILE = `
FROM scratch AS base
ADD small-base.tar /
FROM base
RUN [ -d /proc/1 ] && echo new > /etc/new && rm /etc/group && mkdir -p /run/x && chmod 700 /home/app
RUN echo again > /etc/new; ln -s /etc /l; mv /home/app /home/moved
RUN --mount=type=cache,target=/root/.c echo y >> /root/.c/f
RUN --mount=type=tmpfs,target=/scratch touch /scratch/x; chmod 1777 /
WORKDIR /w/x
COPY Dockerfile .
USER app
RUN id -u > /tmp/id; cat /proc/self/cmdline > /dev/null; sleep 987655 & true
`;

const scattered = (): string | undefined =>
  existsSync(`${DEBIAN_MODULES}/cjs-module-lexer`)
    ? `needs a Node.js in one piece: parts of this one are in ${DEBIAN_MODULES}`
    : undefined;

describeWith(
  '--isolation=in-place',
  { root: true, programs: ['setpriv', 'unshare', 'ldd', 'tar', 'bash'], also: scattered },
  () => {
    const temp = useTemp();

    /**
     * A root directory with mbuild alone, as fixtures/in-place/Dockerfile makes it, and a context
     * in /mbuild/context.
     */
    function throwAwayRoot(dockerfile: string): string {
      const root = temp.dir('place');
      const home = join(root, 'mbuild');
      for (const dir of ['bin', 'lib', 'app/node_modules', 'tmp'])
        mkdirSync(join(home, dir), { recursive: true });
      for (const dir of ['proc', 'dev', 'etc']) mkdirSync(join(root, dir));
      const node = realpathSync(process.execPath);
      copyFileSync(node, join(home, 'bin/node'));
      for (const [library] of execFileSync('ldd', [node], { encoding: 'utf8' }).matchAll(/\/\S+/g))
        copyFileSync(
          library,
          join(home, 'lib', basename(library).startsWith('ld-linux') ? 'ld.so' : basename(library)),
        );
      for (const part of [
        'package.json',
        'bin',
        'dist',
        'node_modules/koffi',
        'node_modules/@koromix',
      ])
        cpSync(join(REPOSITORY, part), join(home, 'app', part), {
          recursive: true,
          dereference: true,
        });
      writeFiles(root, {
        'mbuild/in-place': '',
        'mbuild/context/Dockerfile': dockerfile.trimStart(),
      });
      copyFileSync(smallBaseTar(temp.dir('base')), join(home, 'context/small-base.tar'));
      return root;
    }

    /** Runs mbuild there, with /proc and /dev, and the rights of a default container. */
    function inside(
      root: string,
      ...args: readonly string[]
    ): { code: number | null; stdout: string; stderr: string } {
      const script =
        'mount --bind "$0" "$0" && cd "$0" && mount -t proc proc proc && mount -t tmpfs dev dev && for d in null zero urandom; do touch dev/$d && mount --bind /dev/$d dev/$d; done && exec setpriv --bounding-set "$1" --inh-caps -all chroot "$0" /mbuild/lib/ld.so --library-path /mbuild/lib /mbuild/bin/node /mbuild/app/bin/start.cjs "${@:2}"';
      const { status, stdout, stderr } = spawnSync(
        'unshare',
        ['--mount', '--pid', '--fork', 'bash', '-c', script, root, DOCKER, ...args],
        {
          encoding: 'utf8',
          env: cleanEnv({
            TMPDIR: '/mbuild/tmp',
            MBUILD_ROOT: '/mbuild/store',
            MBUILD_ISOLATION: 'in-place',
          }),
        },
      );
      return { code: status, stdout, stderr };
    }

    const build = ['build', '-q', '--source-date-epoch', '1700000000', '/mbuild/context'];

    it('gives the image that every other isolation gives, has /proc for steps, and leaves the container as it was', async () => {
      const root = throwAwayRoot(DOCKERFILE);
      const context = join(root, 'mbuild/context');
      const expected = await new Mbuild(temp.dir('store')).ok([
        'build',
        '-q',
        '--source-date-epoch',
        '1700000000',
        context,
      ]);
      expect(inside(root, ...build)).toEqual({ code: 0, stdout: `${expected}\n`, stderr: '' });
      expect(readdirSync(root).sort()).toEqual(['dev', 'etc', 'mbuild', 'proc']);
      expect(readdirSync(join(root, 'etc'))).toEqual([]);
    });

    it('keeps the container as it was when a step fails, and when an image brings a /mbuild of its own', () => {
      const root = throwAwayRoot(
        'FROM scratch AS base\nADD small-base.tar /\nFROM base\nRUN echo here > /here; rm -r /etc; exit 3\n',
      );
      expect(inside(root, ...build)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('exited with code 3'),
      });
      writeFileSync(
        join(root, 'mbuild/context/Dockerfile'),
        'FROM scratch AS base\nADD small-base.tar /\nCOPY Dockerfile /mbuild/x\nFROM base\nRUN true\n',
      );
      expect(inside(root, ...build)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining("the image's /mbuild cannot be put into the container"),
      });
      expect(readdirSync(root).sort()).toEqual(['dev', 'etc', 'mbuild', 'proc']);
    });

    it('is refused where the machine is not a throw-away container, and never chosen by itself', async () => {
      const mbuild = new Mbuild(temp.dir('store'));
      const dir = writeFiles(temp.dir('context'), { Dockerfile: 'FROM scratch\n' });
      const here = await mbuild.run(['--isolation=in-place', 'build', dir]);
      expect([here.code, here.stderr]).toEqual([
        1,
        expect.stringContaining('/mbuild/in-place does not exist'),
      ]);
      const root = throwAwayRoot(DOCKERFILE);
      expect(JSON.parse(inside(root, 'doctor', '--format', 'json').stdout)).toMatchObject({
        chosen: 'chroot',
      });
      expect(inside(root, '--root', '/dev/store', ...build)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('needs its store in /mbuild'),
      });
      writeFiles(root, { 'usr/bin/program': '' });
      expect(inside(root, ...build)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('/ holds more than mbuild, such as /usr/bin/program'),
      });
      rmSync(join(root, 'mbuild/in-place'));
      expect(inside(root, ...build)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('/mbuild/in-place does not exist'),
      });
    });
  },
);
