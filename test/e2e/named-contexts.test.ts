import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { cleanEnv } from '../support/command';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';
import { commitFolder, file, startWebServer, type WebServer } from '../support/web-server';

describeWith('named contexts', { root: true, programs: ['tar', 'python3', 'git'] }, () => {
  const temp = useTemp();
  let server: WebServer;
  let repositories: string;
  let mbuild: Mbuild;
  let folder: string;

  beforeAll(async () => {
    repositories = temp.dir('repositories');
    server = await startWebServer(repositories);
    mbuild = new Mbuild(temp.dir('store'));
    folder = writeFiles(temp.dir('named'), {
      'file.txt': 'of the folder\n',
      'skipped.txt': '',
      '.dockerignore': 'skipped.txt\n',
    });
    await smallBase(mbuild);
    await mbuild.build([
      '-t',
      'other:1',
      writeFiles(temp.dir(), {
        Dockerfile: 'FROM scratch\nENV WHO=other\nCOPY <<EOF /file.txt\nof the image\nEOF\n',
      }),
    ]);
  });

  afterAll(() => server.stop());

  /** The files that a build leaves, by path; directories are not listed. */
  async function built(
    dockerfile: string,
    ...args: readonly string[]
  ): Promise<Map<string, string>> {
    const tar = join(temp.dir(), 'root.tar');
    await mbuild.build([
      ...args,
      writeFiles(temp.dir('context'), { Dockerfile: dockerfile }),
      '--output',
      `type=tar,dest=${tar}`,
    ]);
    const root = join(temp.dir(), 'root');
    mkdirSync(root);
    execFileSync('tar', ['-xf', tar, '-C', root], { env: cleanEnv() });
    const paths = execFileSync('find', ['.', '-type', 'f'], { cwd: root })
      .toString()
      .trim()
      .split('\n')
      .sort();
    return new Map(paths.map((path) => [path.slice(2), readFileSync(join(root, path), 'utf8')]));
  }

  const VALUES: readonly (readonly [string, () => string | Promise<string>, string])[] = [
    ['a folder', () => folder, 'of the folder\n'],
    ['an image', () => 'docker-image://other:1', 'of the image\n'],
    [
      'a layout',
      async () => {
        const layout = join(temp.dir(), 'layout');
        await mbuild.build([
          writeFiles(temp.dir(), {
            Dockerfile: 'FROM other:1\nCOPY <<EOF /file.txt\nof the layout\nEOF\n',
          }),
          '-t',
          'named:v2',
          '--output',
          `type=oci,tar=false,dest=${layout}`,
        ]);
        return `oci-layout://${layout}:v2`;
      },
      'of the layout\n',
    ],
    [
      'a repository',
      () => {
        commitFolder(
          writeFiles(temp.dir(), { 'sub/file.txt': 'of the repository\n' }),
          repositories,
          'named',
        );
        return `${server.url}/git/named.git#main:sub`;
      },
      'of the repository\n',
    ],
    [
      'an archive at an address',
      () => {
        server.pages.set('/a.tar', file(execFileSync('tar', ['-c', '-C', folder, 'file.txt'])));
        return `${server.url}/a.tar`;
      },
      'of the folder\n',
    ],
    ['a stage', () => 'target:inner', 'of the stage\n'],
  ];
  const INNER = 'FROM scratch AS inner\nCOPY <<EOF /file.txt\nof the stage\nEOF\n';

  it.each(VALUES)('%s can be copied from, stood upon and mounted', async (_, make, text) => {
    const value = await make();
    const files = await built(
      `${INNER}FROM named AS upon\nFROM small-base AS ran\nRUN --mount=from=named,target=/m,source=/ cp /m/file.txt /ran.txt\nFROM scratch\nCOPY --from=named /file.txt /copied.txt\nCOPY --from=upon / /upon/\nCOPY --from=ran /ran.txt /\n`,
      '--build-context',
      `named=${value}`,
    );
    expect(files.get('copied.txt')).toBe(text);
    expect(files.get('upon/file.txt')).toBe(text);
    expect(files.get('ran.txt')).toBe(text);
    expect(files.has('upon/skipped.txt')).toBe(false);
  });

  it('take the place of an image however its name is written, and bring its config', async () => {
    await mbuild.build([
      '-t',
      'took',
      '--build-context',
      'alpine=docker-image://other:1',
      writeFiles(temp.dir(), { Dockerfile: 'FROM docker.io/library/alpine:latest\nLABEL a=b\n' }),
    ]);
    expect((await mbuild.inspect('took')).Config.Env).toContain('WHO=other');
  });

  it('replace a stage with all its instructions', async () => {
    const files = await built(
      'FROM scratch AS base\nCOPY Dockerfile /of-the-stage\nFROM base\nCOPY Dockerfile /top\n',
      '--build-context',
      `base=${folder}`,
    );
    expect([...files.keys()]).toEqual(['.dockerignore', 'file.txt', 'top']);
  });

  it.each([
    ['target:upon', 'CIRCULAR_STAGES'],
    ['target:nowhere', 'UNKNOWN_STAGE'],
    ['/nowhere', 'CONTEXT_NOT_FOUND'],
    ['docker-image://never-there:1', 'IMAGE_NOT_FOUND|REGISTRY'],
    ['oci-layout:///nowhere', 'IMAGE_NOT_FOUND'],
  ])('named=%s is refused where it is used', async (value, code) => {
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM scratch AS other\nFROM named AS upon\nCOPY --from=other / /x/\n',
    });
    const { code: exit, stderr } = await mbuild.run([
      'build',
      '--pull=never',
      '--build-context',
      `named=${value}`,
      context,
    ]);
    expect(exit).toBe(1);
    expect(stderr).toMatch(new RegExp(code));
    expect(stderr).toContain('Dockerfile:2');
  });

  it('are the only way to folders of images on the host', async () => {
    const { stderr } = await mbuild.run([
      'build',
      writeFiles(temp.dir(), { Dockerfile: 'FROM oci-layout:///etc\n' }),
    ]);
    expect(stderr).toContain('REFERENCE_INVALID');
  });
});
