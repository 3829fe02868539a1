import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { smallBaseTar } from '../support/bases';
import { cleanEnv } from '../support/command';
import { describeWith, findProgram } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

const BIN = resolve(__dirname, '../../bin/mbuild');

/** What an unprivileged container leaves to root: docker's fourteen capabilities. */
const DOCKER = 'chown,dac_override,fsetid,fowner,mknod,net_raw,setgid,setuid,setfcap,setpcap,net_bind_service,sys_chroot,kill,audit_write';

/** Everything by which trees can differ, done by COPY, WORKDIR and RUN. */
const DOCKERFILE = `
FROM scratch AS base
ADD small-base.tar /
FROM base
RUN echo hello > /etc/new; chmod 600 /etc/passwd; exec 3<>/etc/group; touch /etc/gone; rm /etc/gone
RUN chmod 600 /etc/passwd; exec 3<>/etc/passwd; rm /etc/new
COPY --chown=5:6 Dockerfile /opt/
WORKDIR /w/x
RUN --mount=type=cache,target=/root/.c echo y >> /root/.c/f; mkdir -p /d/e; rm -r /home/app; mkdir /home/app; touch /home/app/z; ln /etc/passwd /etc/pw2; mv /opt/Dockerfile /opt/D2; mkfifo /p; chown 5:6 /p; chmod 4755 /opt/D2; ln -s x /l
RUN --mount=type=bind,target=/ctx rm -rf /d /l && ln -s /etc /d && mkdir /l && cp /ctx/Dockerfile /l/ && mv /l/Dockerfile "/l/ü" && mv /home/app /home/moved
RUN --mount=type=tmpfs,target=/scratch --mount=type=secret,id=token,target=/run/secret touch /scratch/x && [ "$(cat /run/secret)" = s3cret ] && echo 127.0.0.2 me >> /etc/hosts
USER app
RUN id -u > /tmp/id; sleep 987654 & true
`;

describeWith('every rung of the ladder gives the same image', { root: true, programs: ['setpriv', 'tar'] }, () => {
  const temp = useTemp();
  let context: string;
  let expected: string;

  /** Builds on a store of its own, and returns the image's id. */
  function build(name: string, { prefix = [], flags = [], root = join(temp.dir(name), 'store'), env = {} }: { prefix?: readonly string[]; flags?: readonly string[]; root?: string; env?: Record<string, string> } = {}): string {
    const args = [...prefix, BIN, '--root', root, ...flags, 'build', '-q', '--source-date-epoch', '1700000000', '--secret', 'id=token,env=TOKEN', context];
    const { status, stdout, stderr } = spawnSync(args[0] ?? '', args.slice(1), { encoding: 'utf8', env: { ...cleanEnv(), ...env, TOKEN: 's3cret' } });
    expect(stderr).toBe('');
    expect(status).toBe(0);
    return stdout.trim();
  }

  beforeAll(() => {
    context = writeFiles(temp.dir('context'), { Dockerfile: DOCKERFILE.trimStart() });
    copyFileSync(smallBaseTar(temp.dir('base')), join(context, 'small-base.tar'));
    chmodSync(context, 0o755);
    chmodSync(join(context, 'small-base.tar'), 0o644);
    expected = build('overlay');
  });

  test('root with overlays, again', () => expect(build('again')).toBe(expected));

  test('root with copies instead of overlays', () => expect(build('copies', { flags: ['--snapshotter=copy'] })).toBe(expected));

  test('root with a changed root alone', () => expect(build('chroot', { flags: ['--isolation=chroot'] })).toBe(expected));

  test.each(['crun', 'runc'])('root with %s as runtime', (runtime) => {
    if (findProgram(runtime) === undefined) return console.log(`skipped: ${runtime} is not installed`);
    expect(build(runtime, { flags: ['--isolation=oci', '--runtime', runtime] })).toBe(expected);
    expect(build(`${runtime}-copies`, { flags: ['--isolation=oci', '--runtime', runtime, '--snapshotter=copy'] })).toBe(expected);
  });

  test('root of a container without privileges', () => {
    const prefix = ['setpriv', '--bounding-set', `-all,${DOCKER.split(',').map((name) => `+${name}`).join(',')}`, '--inh-caps', '-all'];
    expect(build('container', { prefix })).toBe(expected);
    expect(spawnSync('setpriv', [...prefix.slice(1), BIN, 'doctor', '--format', 'json'], { encoding: 'utf8' }).stdout).toMatch(/"chosen":"chroot"/);
  });

  const user = 'mbuild-test-user';
  const canTest = ['useradd', 'userdel', 'newuidmap', 'newgidmap'].every((name) => findProgram(name) !== undefined) && isReachable();
  if (!canTest) console.log('skipped: an ordinary user needs useradd, newuidmap, and a checkout that others can read');
  (canTest ? test : test.skip)('an ordinary user with subordinate ids', () => {
    execFileSync('useradd', ['--no-create-home', user]);
    try {
      execFileSync('usermod', ['--add-subuids', '700000-765535', '--add-subgids', '700000-765535', user]);
      const folder = temp.dir('user');
      for (let dir = folder; dir !== '/' && dir !== '/tmp'; dir = resolve(dir, '..')) chmodSync(dir, 0o755);
      mkdirSync(join(folder, 'own'));
      execFileSync('chown', [user, join(folder, 'own')]);
      const id = execFileSync('id', ['-u', user]).toString().trim();
      const prefix = ['setpriv', '--reuid', id, '--regid', id, '--clear-groups'];
      expect(build('user', { prefix, root: join(folder, 'own', 'store'), env: { TMPDIR: join(folder, 'own'), HOME: join(folder, 'own') } })).toBe(expected);
      // Only the namespace's root may delete what its users own.
      execFileSync('rm', ['-rf', join(folder, 'own')]);
    } finally {
      execFileSync('userdel', [user]);
    }
  });

  /** True when a user who is not root can start mbuild. */
  function isReachable(): boolean {
    return spawnSync('setpriv', ['--reuid', '65534', '--regid', '65534', '--clear-groups', BIN, '--version']).status === 0;
  }
});
