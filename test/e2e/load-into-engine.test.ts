import { createHash } from 'node:crypto';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { cleanEnv } from '../support/command';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';
import { podman, podmanFlags } from '../support/unpack';

describeWith('build --load', { root: true, programs: ['podman'] }, () => {
  const temp = useTemp();
  let root: string;
  let work: string;
  let socket: string;
  let service: ChildProcess;
  let context: string;

  beforeAll(async () => {
    root = temp.dir('store');
    await smallBase(new Mbuild(root));
    context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM small-base\nRUN echo loaded > /f\n',
    });
    work = temp.dir('podman');
    socket = join(work, 'podman.sock');
    service = spawn(
      'podman',
      [...podmanFlags(work), 'system', 'service', '--time', '0', `unix://${socket}`],
      { env: cleanEnv({ HOME: work }), stdio: 'ignore' },
    );
    while (!existsSync(socket) && service.exitCode === null)
      await new Promise((resolve) => {
        setTimeout(resolve, 50);
      });
  });
  afterAll(async () => {
    const ended = new Promise((resolve) => service.once('exit', resolve));
    service.kill('SIGKILL');
    await ended;
  });

  const loaded = (name: string): string =>
    podman(work, ['image', 'inspect', '--format', '{{.Id}}', name]).trim();

  it.each(['DOCKER_HOST', 'CONTAINER_HOST', "docker's context"])(
    'hands the image to the engine of %s, and keeps it',
    async (how) => {
      const home = temp.dir('home');
      const mbuild = new Mbuild(root, {
        HOME: home,
        ...(how === "docker's context" ? {} : { [how]: `unix://${socket}` }),
      });
      if (how === "docker's context") {
        writeFiles(home, {
          '.docker/config.json': JSON.stringify({ currentContext: 'near' }),
          [`.docker/contexts/meta/${createHash('sha256').update('near').digest('hex')}/meta.json`]:
            JSON.stringify({ Name: 'near', Endpoints: { docker: { Host: `unix://${socket}` } } }),
        });
      }
      const tag = `example.org/loaded:${how.replace(/[^a-z]/gi, '').toLowerCase()}`;
      const { id } = await mbuild.build([
        '-t',
        tag,
        ...(how === 'DOCKER_HOST' ? ['--output', 'type=docker'] : ['--load']),
        context,
      ]);
      expect(`sha256:${loaded(tag)}`).toBe(id);
      expect((await mbuild.inspect(tag)).Id).toBe(id);
    },
  );

  it('says so when the engine does not answer', async () => {
    const { code, stderr } = await new Mbuild(root, {
      DOCKER_HOST: `unix://${work}/nobody.sock`,
    }).run(['build', '--load', '-t', 'x', context]);
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(
        /cannot load the image into unix:.*nobody\.sock[^]*set DOCKER_HOST to use another one/,
      ),
    ]);
  });

  it('shows what the engine says when it refuses', async () => {
    const path = join(work, 'full.sock');
    const server: Server = createServer((request, response) => {
      request.resume();
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end('{"stream":"Loading"}\n{"error":"no space left on device"}\n');
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    try {
      const { code, stderr } = await new Mbuild(root, { DOCKER_HOST: `unix://${path}` }).run([
        'build',
        '--load',
        '-t',
        'x',
        context,
      ]);
      expect([code, stderr]).toEqual([
        1,
        expect.stringContaining('did not load the image: no space left on device'),
      ]);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it('refuses an address that it cannot speak to, with the way out', async () => {
    const { code, stderr } = await new Mbuild(root, { DOCKER_HOST: 'ssh://me@far' }).run([
      'build',
      '--load',
      '-t',
      'x',
      context,
    ]);
    expect([code, stderr]).toEqual([
      1,
      expect.stringContaining('--output type=docker,dest=image.tar'),
    ]);
  });
});
