import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, symlinkSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { cleanEnv, command, type CommandResult } from '../support/command';
import { MBUILD, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { TEST_USER, noRegistry, startRegistry, type TestRegistry } from '../support/registry';
import { useTemp, writeFiles } from '../support/temp';

/** A Dockerfile that is built in each place: its base comes from the registry. */
const dockerfile = (host: string): string =>
  `FROM ${host}/base:1\nARG WHO=nobody\nRUN echo "for $WHO" > /who\nCOPY a.txt /\n`;

describeWith(
  "kaniko's command line",
  { root: true, programs: ['git', 'tar'], also: noRegistry },
  () => {
    const temp = useTemp();
    let registry: TestRegistry;
    let executor: string;

    beforeAll(async () => {
      registry = await startRegistry();
      const mbuild = new Mbuild(temp.dir('store'));
      await smallBase(mbuild, `${registry.host}/base:1`);
      await mbuild.ok(['push', `${registry.host}/base:1`]);
      executor = join(temp.dir('kaniko'), 'executor');
      symlinkSync(MBUILD, executor);
    });
    afterAll(async () => registry?.stop());

    /** A pod of its own: an empty store, unless one is given. */
    function kaniko(
      args: readonly string[],
      options: {
        env?: Record<string, string>;
        cwd?: string;
        input?: Uint8Array;
        store?: string;
      } = {},
    ): Promise<CommandResult> {
      const { env = {}, cwd, input, store = temp.dir('store') } = options;
      return command(executor, args, { cwd, input, env: cleanEnv({ MBUILD_ROOT: store, ...env }) });
    }

    const workspace = (): string =>
      writeFiles(temp.dir('workspace'), {
        Dockerfile: dockerfile(registry.host),
        'docker/Dockerfile.prod': dockerfile(registry.host),
        'a.txt': 'a\n',
      });

    async function digestOf(name: string, tag: string): Promise<string | null> {
      const answer = await fetch(`http://${registry.host}/v2/${name}/manifests/${tag}`, {
        headers: {
          accept:
            'application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json',
        },
      });
      return answer.headers.get('docker-content-digest');
    }

    it("GitLab's recipe: entry point with context, Dockerfile and a destination", async () => {
      const project = workspace();
      const result = await kaniko([
        '--context',
        project,
        '--dockerfile',
        `${project}/docker/Dockerfile.prod`,
        '--destination',
        `${registry.host}/group/app:v1.0`,
        '--build-arg',
        'WHO=gitlab',
      ]);
      expect([result.code, result.stderr]).toEqual([0, expect.stringContaining('not cached')]);
      expect(await digestOf('group/app', 'v1.0')).toMatch(/^sha256:/);
    });

    it("Tekton's task: IMAGE, EXTRA_ARGS and a digest file as the result", async () => {
      const project = workspace();
      const digest = join(project, 'IMAGE_DIGEST');
      const names = join(project, 'names');
      const tagged = join(project, 'tagged');
      const { code } = await kaniko([
        '--skip-tls-verify-pull',
        '--dockerfile=./docker/Dockerfile.prod',
        `--context=${project}`,
        `--destination=${registry.host}/tekton/app:1`,
        `--destination=${registry.host}/tekton/other:2`,
        `--digest-file=${digest}`,
        `--image-name-with-digest-file=${names}`,
        `--image-name-tag-with-digest-file=${tagged}`,
      ]);
      expect(code).toBe(0);
      const pushed = (await digestOf('tekton/app', '1')) ?? '';
      expect(await digestOf('tekton/other', '2')).toBe(pushed);
      expect(readFileSync(digest, 'utf8')).toBe(pushed);
      expect(readFileSync(names, 'utf8')).toBe(
        `${registry.host}/tekton/app@${pushed}\n${registry.host}/tekton/other@${pushed}\n`,
      );
      expect(readFileSync(tagged, 'utf8')).toBe(
        `${registry.host}/tekton/app:1@${pushed}\n${registry.host}/tekton/other:2@${pushed}\n`,
      );
    });

    it("Jenkins' pipeline: -f and -c from the working directory, --cache=true", async () => {
      const project = workspace();
      const build = (): Promise<CommandResult> =>
        kaniko(
          [
            '-f',
            `${project}/Dockerfile`,
            '-c',
            project,
            '--insecure',
            '--skip-tls-verify',
            '--cache=true',
            `--destination=${registry.host}/jenkins/app`,
          ],
          { cwd: project },
        );
      const first = await build();
      expect([first.code, first.stderr.match(/what kaniko left in it/g)?.length]).toEqual([0, 1]);
      expect(await digestOf('jenkins/app/cache', 'mbuild')).toMatch(/^sha256:/);
      const second = await build();
      expect(second.stderr).toMatch(/2 of 2 steps from the cache/);
    });

    it("Argo's workflow: a git context with a ref, and a sub path", async () => {
      const repository = writeFiles(temp.dir('git'), {
        'work/app/Dockerfile': dockerfile(registry.host),
        'work/app/a.txt': 'a\n',
      });
      const git = (...args: string[]) =>
        execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@b', ...args], {
          cwd: join(repository, 'work'),
        });
      git('init', '-q', '-b', 'main');
      git('add', '.');
      git('commit', '-qm', 'one');
      execFileSync('git', [
        'clone',
        '-q',
        '--bare',
        join(repository, 'work'),
        join(repository, 'app.git'),
      ]);
      const { code, stderr } = await kaniko(
        [
          `--context=git://${repository}/app.git#refs/heads/main`,
          '--context-sub-path=app',
          `--destination=${registry.host}/argo/app:1`,
        ],
        { env: { GIT_PULL_METHOD: 'file' } },
      );
      expect([code, code === 0 ? '' : stderr]).toEqual([0, '']);
      expect(await digestOf('argo/app', '1')).toMatch(/^sha256:/);
    });

    it('a tar on standard input; a tarball and a layout without a push', async () => {
      const project = workspace();
      const input = execFileSync('tar', ['-C', project, '-cz', '.']);
      const { code, stderr } = await kaniko(
        [
          '--context=tar://stdin',
          '--no-push',
          `--destination=${registry.host}/never/pushed:1`,
          `--tar-path=${project}/image.tar`,
          `--oci-layout-path=${project}/layout`,
          '--reproducible',
        ],
        { input },
      );
      expect([code, code === 0 ? '' : stderr]).toEqual([0, '']);
      expect(existsSync(join(project, 'layout/index.json'))).toBe(true);
      const manifest = execFileSync('tar', ['-xOf', join(project, 'image.tar'), 'manifest.json']);
      expect(JSON.parse(manifest.toString())).toMatchObject([
        { RepoTags: [`${registry.host}/never/pushed:1`] },
      ]);
      expect(await digestOf('never/pushed', '1')).toBeNull();
    });

    it('mirrors are asked instead of Docker Hub, which is not asked at all on request', async () => {
      const project = writeFiles(temp.dir('workspace'), {
        Dockerfile: 'FROM docker.io/library/base:1\n',
      });
      const build = (...more: string[]): Promise<CommandResult> =>
        kaniko([
          `--context=${project}`,
          `--destination=${registry.host}/mirrored:1`,
          `--registry-map=docker.io=${registry.host}/mirror`,
          ...more,
        ]);
      const missing = await build('--skip-default-registry-fallback');
      expect([missing.code, missing.stderr]).toEqual([
        1,
        expect.stringContaining('no mirror has base, and docker.io is not to be asked'),
      ]);
      const mbuild = new Mbuild(temp.dir('store'));
      await mbuild.ok(['pull', `${registry.host}/base:1`]);
      await mbuild.ok(['tag', `${registry.host}/base:1`, `${registry.host}/mirror/library/base:1`]);
      await mbuild.ok(['push', `${registry.host}/mirror/library/base:1`]);
      expect((await build('--skip-default-registry-fallback')).code).toBe(0);
    });

    it('the warmer fetches what a later build needs from no registry', async () => {
      const project = workspace();
      const cache = temp.dir('cache');
      const warmed = await command(
        MBUILD,
        ['kaniko', 'warmer', `--cache-dir=${cache}`, `--dockerfile=${project}/Dockerfile`],
        { env: cleanEnv() },
      );
      expect([warmed.code, warmed.stderr]).toEqual([0, expect.any(String)]);
      const built = await kaniko(
        [`--context=${project}`, '--no-push', `--cache-dir=${cache}`, '-v', 'warn'],
        { env: { MBUILD_OFFLINE: '1', MBUILD_ROOT: '' } },
      );
      expect([built.code, built.stderr]).toEqual([0, '']);
    });

    it('what means nothing here is a note; an unknown flag is an error', async () => {
      const project = workspace();
      const { code, stderr } = await kaniko([
        `--context=${project}`,
        '--no-push',
        '--snapshotMode=redo',
        '--use-new-run',
        '--force',
      ]);
      expect(code).toBe(0);
      expect(stderr).toContain('note: --snapshot-mode is accepted and ignored');
      const unknown = await kaniko(['--snapshot-mod=redo']);
      expect([unknown.code, unknown.stderr]).toEqual([
        125,
        expect.stringContaining('did you mean "--snapshot-mode"?'),
      ]);
    });

    it('a tag that may not be moved is a note on request', async () => {
      const strict = await startImmutable(registry.host);
      try {
        const args = [`--context=${workspace()}`, `--destination=${strict.host}/fixed/app:1`];
        const refused = await kaniko(args);
        expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('immutable')]);
        const passed = await kaniko([...args, '--push-ignore-immutable-tag-errors']);
        expect([passed.code, passed.stderr]).toEqual([
          0,
          expect.stringContaining('note: the tag is there already and may not be moved'),
        ]);
      } finally {
        await strict.stop();
      }
    });

    it('a push that is not allowed is refused before the first step runs', async () => {
      const locked = await startRegistry({ auth: true });
      try {
        const project = workspace();
        const args = [`--context=${project}`, `--destination=${locked.host}/private/app:1`];
        const refused = await kaniko(args);
        expect([refused.code, refused.stderr]).toEqual([
          1,
          expect.stringContaining('REGISTRY_DENIED'),
        ]);
        expect(refused.stderr).not.toContain('RUN');
        const config = writeFiles(temp.dir('docker'), {
          'config.json': JSON.stringify({
            auths: {
              [locked.host]: {
                auth: Buffer.from(`${TEST_USER.username}:${TEST_USER.password}`).toString('base64'),
              },
            },
          }),
        });
        const allowed = await kaniko(args, { env: { DOCKER_CONFIG: config } });
        expect([allowed.code, allowed.code === 0 ? '' : allowed.stderr]).toEqual([0, '']);
      } finally {
        await locked.stop();
      }
    });
  },
);

/** The registry, seen through one that answers as ECR does for a tag that may not be moved. */
async function startImmutable(target: string): Promise<{ host: string; stop(): Promise<void> }> {
  const server = createServer((incoming, answer) => {
    if (incoming.method === 'PUT' && incoming.url?.includes('/manifests/1') === true) {
      incoming.resume();
      const message =
        "The image tag '1' already exists in the 'app' repository and cannot be overwritten because the tag is immutable.";
      answer.writeHead(400, { 'content-type': 'application/json' });
      answer.end(JSON.stringify({ errors: [{ code: 'TAG_INVALID', message }] }));
      return;
    }
    const [hostname, port] = target.split(':');
    const { method, url: path, headers } = incoming;
    const onward = request({ hostname, port, method, path, headers }, (response) => {
      answer.writeHead(response.statusCode ?? 500, response.headers);
      response.pipe(answer);
    });
    incoming.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    host: `127.0.0.1:${port}`,
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
