import { createServer } from 'node:net';
import path from 'node:path';
import { mkdirSync } from 'node:fs';
import { smallBase } from '../support/bases';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

describe('words that tools say to docker', () => {
  const temp = useTemp();
  const fresh = (): Mbuild => new Mbuild(temp.dir());

  it.each([
    [['buildx', 'version']],
    [['buildx', 'ls']],
    [['buildx', 'inspect', '--bootstrap']],
    [['buildx', 'create', '--use', '--name', 'b']],
    [['buildx', 'use', 'default']],
    [['buildx', 'rm', 'b']],
    [['buildx', 'du']],
    [['buildx', 'install']],
    [['context', 'show']],
    [['context', 'use', 'default']],
    [['network', 'ls']],
    [['--version', '']],
    [['--context', 'default', 'images', '-q']],
    [['-l', 'error', 'images', '-q']],
    [['--config', '/nowhere', 'images', '-q']],
    [['system', 'prune', '-af', '--volumes']],
    [['events', '--since', '1m', '--until', '0s']],
  ])('%j ends well', async (args) => {
    expect(await fresh().run(args)).toMatchObject({ code: 0 });
  });

  it.each([
    [['--tlsverify', 'images'], 'another machine'],
    [['-H', 'tcp://other:2375', 'images'], 'another machine'],
    [['--context', 'other', 'images'], 'the only context is "default"'],
    [['buildx', 'create', '--driver', 'remote'], 'no driver "remote"'],
    [['network', 'inspect', 'mine'], 'no such network'],
    [['volume', 'inspect', 'mine'], 'no such volume'],
  ])('%j is refused in words', async (args, message) => {
    const { code, stderr } = await fresh().run(args);
    expect(code).not.toBe(0);
    expect(stderr).toContain(message);
  });

  it("-c is docker's context before a command, and a limit of a build elsewhere", async () => {
    const dir = writeFiles(temp.dir(), { Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' });
    expect(await fresh().run(['-c', '512', '.'], { cwd: dir })).toMatchObject({ code: 0 });
  });

  it("answers with docker's keys", async () => {
    const mbuild = fresh();
    const processor = process.arch === 'x64' ? 'x86_64' : 'aarch64';
    expect(await mbuild.ok(['info', '-f', '{{.OSType}}/{{.Architecture}}'])).toBe(
      `linux/${processor}`,
    );
    expect(await mbuild.ok(['info', '-f', '{{json .SecurityOptions}}'])).toContain('seccomp');
    expect(await mbuild.ok(['version', '-f', '{{.Server.Os}}/{{.Server.Arch}}'])).toMatch(
      /^linux\/(amd64|arm64)$/,
    );
    expect(await mbuild.ok(['version', '-f', '{{.Client.APIVersion}}'])).toMatch(/^1\.\d+$/);
    expect(await mbuild.ok(['context', 'ls', '--format', 'json'])).toContain('"Current":true');
  });

  it("context ls PATH goes on listing a build's files, with a note", async () => {
    const dir = writeFiles(temp.dir(), { Dockerfile: 'FROM scratch\n', file: 'x' });
    const { stdout, stderr } = await fresh().run(['context', 'ls', dir]);
    expect(stdout).toContain('file');
    expect(stderr).toContain("'mbuild context files'");
    expect(await fresh().ok(['context', 'files', dir])).toBe(stdout.trimEnd());
  });

  describe('--load', () => {
    const build = async (home: string) => {
      const dir = writeFiles(temp.dir(), { Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' });
      const env = { HOME: home, PATH: '/nowhere', DOCKER_HOST: '' };
      const mbuild = fresh();
      const node = path.dirname(process.execPath);
      const result = await mbuild.run(['build', '--load', '-t', 'x', dir], {
        env: { ...env, PATH: `${node}:/usr/bin:/bin` },
      });
      return { ...result, images: await mbuild.ok(['images', '--format', '{{.Repository}}']) };
    };

    it('a directory in the place of a socket is no engine', async () => {
      const home = temp.dir();
      mkdirSync(path.join(home, '.docker/run/docker.sock'), { recursive: true });
      expect(await build(home)).toMatchObject({ code: 0, images: 'x' });
    });

    it('a socket at which nobody answers is no engine', async () => {
      const home = temp.dir('h');
      mkdirSync(path.join(home, '.docker/run'), { recursive: true });
      const server = createServer((socket) => socket.destroy());
      await new Promise<void>((resolve) => {
        server.listen(path.join(home, '.docker/run/docker.sock'), resolve);
      });
      try {
        const { code, images, stderr } = await build(home);
        expect({ code, images }).toEqual({ code: 0, images: 'x' });
        expect(stderr).toContain('nobody answers at unix://');
      } finally {
        server.close();
      }
    });
  });

  describeWith('containers', { root: true }, () => {
    it('take mounts as tools write them, and streams by name', async () => {
      const mbuild = fresh();
      await smallBase(mbuild);
      const dir = writeFiles(temp.dir(), { file: 'from the host\n' });
      const run = (...args: readonly string[]) => mbuild.run(['run', '--rm', ...args]);
      const bind = `type=bind,source=${dir},target=/w,readonly`;
      expect(await run('--mount', bind, 'small-base', 'cat', '/w/file')).toMatchObject({
        stdout: 'from the host\n',
      });
      expect((await run('--mount', bind, 'small-base', 'touch', '/w/x')).code).not.toBe(0);
      expect(await run('-v', `${dir}:/w:delegated`, 'small-base', 'true')).toMatchObject({
        code: 0,
      });
      expect(
        await run('--mount', 'type=tmpfs,target=/t', 'small-base', 'touch', '/t/x'),
      ).toMatchObject({ code: 0 });
      const missing = await run(
        '--mount',
        'type=bind,source=/no/such,target=/w',
        'small-base',
        'true',
      );
      expect(missing).toMatchObject({ code: 125 });
      expect(missing.stderr).toContain('/no/such, which is to be mounted, does not exist');
      const both = ['small-base', 'sh', '-c', 'echo out; echo err >&2'];
      expect(await run('-a', 'STDERR', ...both)).toMatchObject({ stdout: '', stderr: 'err\n' });
    });

    it('have volumes that are listed, used, refused while in use, and removed', async () => {
      const mbuild = fresh();
      await smallBase(mbuild);
      expect(await mbuild.ok(['volume', 'create', 'data'])).toBe('data');
      await mbuild.ok([
        'run',
        '--name',
        'user',
        '--mount',
        'source=data,target=/d',
        'small-base',
        'touch',
        '/d/kept',
      ]);
      expect(await mbuild.ok(['volume', 'ls', '-q'])).toBe('data');
      const refused = await mbuild.run(['volume', 'rm', 'data']);
      expect(refused).toMatchObject({ code: 1 });
      expect(refused.stderr).toContain('is used by container user');
      const events = await mbuild.ok([
        'events',
        '--since',
        '10m',
        '--until',
        '0s',
        '--format',
        '{{.Action}} {{.Actor.Attributes.name}}',
      ]);
      expect(events.split('\n')).toEqual(['create user', 'start user', 'die user']);
      await mbuild.ok(['rm', 'user']);
      expect(await mbuild.ok(['run', '--rm', '-v', 'data:/d', 'small-base', 'ls', '/d'])).toBe(
        'kept',
      );
      expect(await mbuild.ok(['volume', 'prune', '-f'])).not.toContain('data');
      expect(await mbuild.ok(['volume', 'prune', '-af'])).toContain('data');
      expect(await mbuild.ok(['volume', 'ls', '-q'])).toBe('');
    });
  });
});
