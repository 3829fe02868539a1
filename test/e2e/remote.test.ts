import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { cleanEnv } from '../support/command';
import { Mbuild, instructionSteps } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';
import { treeOf, type TreeEntry } from '../support/tree';
import { commitFolder, file, gitIn, startWebServer, type WebServer } from '../support/web-server';

const MODIFIED = 'Tue, 01 Feb 2022 03:04:05 GMT';
const MODIFIED_SECONDS = Date.parse(MODIFIED) / 1000;

describeWith('sources from elsewhere', { root: true, programs: ['tar', 'python3', 'git'] }, () => {
  const temp = useTemp();
  let server: WebServer;
  let repositories: string;
  let mbuild: Mbuild;

  beforeAll(async () => {
    repositories = temp.dir('repositories');
    server = await startWebServer(repositories);
    mbuild = new Mbuild(temp.dir('store'));
  });

  afterAll(async () => {
    await server.stop();
  });

  beforeEach(() => {
    server.pages.clear();
    server.log.length = 0;
  });

  /** Builds a Dockerfile; returns its files and the way to them. */
  async function built(
    dockerfile: string,
    args: readonly string[] = [],
    on = mbuild,
  ): Promise<{
    tree: Map<string, TreeEntry>;
    root: string;
    text: (path: string) => string;
    cached: boolean[];
  }> {
    const context = writeFiles(temp.dir('context'), { Dockerfile: dockerfile });
    return builtFrom([...args, context], on);
  }

  async function builtFrom(args: readonly string[], on = mbuild): ReturnType<typeof built> {
    const tar = join(temp.dir(), 'root.tar');
    const { steps } = await on.build([...args, '--output', `type=tar,dest=${tar}`]);
    const root = join(temp.dir(), 'root');
    mkdirSync(root);
    execFileSync('tar', ['-xpf', tar, '--numeric-owner', '-C', root], { env: cleanEnv() });
    return {
      tree: treeOf(root, { mtime: true }),
      root,
      text: (path) => readFileSync(join(root, path), 'utf8'),
      cached: instructionSteps(steps).map((step) => step.cached),
    };
  }

  async function refused(dockerfile: string, args: readonly string[] = []): Promise<string> {
    const context = writeFiles(temp.dir('context'), { Dockerfile: dockerfile });
    const result = await mbuild.run(['build', '--progress=plain', ...args, context]);
    expect(result.code).toBe(1);
    return result.stderr;
  }

  function sha256(text: string): string {
    return `sha256:${createHash('sha256').update(text).digest('hex')}`;
  }

  describe('ADD of an http address', () => {
    it('brings a file of mode 0600 with the name of the address and the time of the server', async () => {
      server.pages.set(
        '/dir/file.txt',
        file('fetched\n', {
          'last-modified': MODIFIED,
          'content-disposition': 'attachment; filename="../../evil"',
        }),
      );
      server.pages.set('/', file('root\n'));
      const { tree, text } = await built(
        `FROM scratch\nADD ${server.url}/dir/file.txt?x=/y /a/\nADD ${server.url}/dir/file.txt /b/other\nADD ${server.url} /c/\n`,
      );
      expect(tree.get('a/file.txt')).toMatchObject({
        type: 'file',
        mode: '0600',
        uid: 0,
        gid: 0,
        mtime: MODIFIED_SECONDS,
      });
      expect(text('b/other')).toBe('fetched\n');
      expect(text('c/__unnamed__')).toBe('root\n');
      expect([...tree.keys()].filter((path) => path.includes('evil'))).toEqual([]);
    });

    it('takes --chmod and --chown, and unpacks with --unpack alone', async () => {
      const source = writeFiles(temp.dir(), { 'packed.txt': 'packed\n' });
      execFileSync('tar', ['-czf', join(source, 'a.tgz'), '-C', source, 'packed.txt']);
      server.pages.set('/a.tgz', file(readFileSync(join(source, 'a.tgz'))));
      const { tree } = await built(
        `FROM scratch\nADD --chmod=755 --chown=5:6 ${server.url}/a.tgz /plain/\nADD --unpack ${server.url}/a.tgz /unpacked/\n`,
      );
      expect(tree.get('plain/a.tgz')).toMatchObject({ type: 'file', mode: '0755', uid: 5, gid: 6 });
      expect(tree.get('unpacked/packed.txt')).toMatchObject({ type: 'file', size: 7 });
    });

    it('asks the server whether the file changed, and fetches it again only then', async () => {
      server.pages.set('/f', file('one', { etag: '"1"' }));
      const dockerfile = `FROM scratch\nADD ${server.url}/f /f\n`;
      await built(dockerfile);
      const again = await built(dockerfile);
      expect(again.cached).toEqual([true]);
      expect(server.log).toEqual(['GET /f 200', 'GET /f 304']);
      server.pages.set('/f', file('two', { etag: '"2"' }));
      const changed = await built(dockerfile);
      expect(changed.cached).toEqual([false]);
      expect(changed.text('f')).toBe('two');
    });

    it('with a checksum needs the server once, and refuses another file at the line that names it', async () => {
      server.pages.set('/sum', file('content'));
      const good = `FROM scratch\nADD --checksum=${sha256('content')} ${server.url}/sum /sum\n`;
      await built(good);
      expect((await built(good)).cached).toEqual([true]);
      expect(server.log).toEqual(['GET /sum 200']);
      const stderr = await refused(
        `FROM scratch\n\nADD --checksum=${sha256('other')} ${server.url}/sum /sum\n`,
      );
      expect(stderr).toContain('CHECKSUM_MISMATCH');
      expect(stderr).toContain('Dockerfile:3');
      expect(
        await refused(`FROM scratch\nADD --checksum=md5:12 ${server.url}/sum /sum\n`),
      ).toContain('DOCKERFILE_SEMANTIC');
    });

    it('says what the server answered, and tries again when that may pass', async () => {
      expect(
        await refused(
          `FROM scratch\nADD ${server.url.replace('//', '//user:hunter2@')}/nowhere /f\n`,
        ),
      ).toMatch(/Dockerfile:2[\s\S]*nowhere could not be fetched: the server answered 404/);
      let calls = 0;
      server.pages.set('/busy', (request, response) =>
        ++calls === 1 ? response.writeHead(503).end() : file('there')(request, response),
      );
      server.pages.set('/breaks', (request, response) => {
        if (++calls > 3) return file('whole file')(request, response);
        response.writeHead(200, { 'content-length': '10' });
        response.write('who', () => response.destroy());
      });
      const { text } = await built(
        `FROM scratch\nADD ${server.url}/busy /busy\nADD ${server.url}/breaks /breaks\n`,
      );
      expect(text('busy')).toBe('there');
      expect(text('breaks')).toBe('whole file');
    });

    it('follows redirects, and keeps credentials from other hosts and from messages', async () => {
      const seen: (string | undefined)[] = [];
      const other = await startWebServer();
      try {
        other.pages.set('/target', (request, response) => {
          seen.push(request.headers.authorization);
          file('target')(request, response);
        });
        server.pages.set('/from', (request, response) => {
          seen.push(request.headers.authorization);
          response.writeHead(302, { location: `${other.url}/target` }).end();
        });
        const { text } = await built(
          `FROM scratch\nADD ${server.url.replace('//', '//user:hunter2@')}/from /f\n`,
        );
        expect(text('f')).toBe('target');
        expect(seen).toEqual([
          `Basic ${Buffer.from('user:hunter2').toString('base64')}`,
          undefined,
        ]);
        server.pages.set('/loop', (_, response) =>
          response.writeHead(302, { location: '/loop' }).end(),
        );
        expect(await refused(`FROM scratch\nADD ${server.url}/loop /f\n`)).toContain(
          'more than 10 redirects',
        );
        server.pages.set('/file', (_, response) =>
          response.writeHead(302, { location: 'file:///etc/passwd' }).end(),
        );
        expect(await refused(`FROM scratch\nADD ${server.url}/file /f\n`)).toContain(
          'an address that is not http or https',
        );
      } finally {
        await other.stop();
      }
    });

    it('refuses flags that the source does not have', async () => {
      expect(await refused(`FROM scratch\nADD --checksum=${sha256('')} Dockerfile /f\n`)).toContain(
        '--checksum needs another source',
      );
      expect(await refused(`FROM scratch\nADD --keep-git-dir ${server.url}/f /f\n`)).toContain(
        '--keep-git-dir is only for git',
      );
    });
  });

  describe('ADD of a git repository', () => {
    /** A repository with a branch, a tag, a folder and links; its commits by what they are. */
    function makeRepository(name: string): {
      readonly url: string;
      readonly first: string;
      readonly second: string;
      readonly folder: string;
    } {
      const folder = writeFiles(temp.dir(name), {
        'top.txt': 'one\n',
        'sub/in.txt': 'in\n',
        'sub/run.sh': '#!/bin/sh\n',
        Dockerfile: 'FROM scratch\nCOPY . /\n',
      });
      execFileSync('chmod', ['755', join(folder, 'sub/run.sh')]);
      symlinkSync('sub', join(folder, 'link'));
      symlinkSync('/etc', join(folder, 'outside'));
      const first = commitFolder(folder, repositories, name);
      gitIn(folder, 'tag', '--annotate', '--message=tagged', 'v1');
      writeFileSync(join(folder, 'top.txt'), 'two\n');
      gitIn(folder, 'commit', '--quiet', '--all', '--message=second');
      gitIn(folder, 'branch', 'feature/x');
      return {
        url: `${server.url}/git/${name}.git`,
        first,
        second: gitIn(folder, 'rev-parse', 'HEAD'),
        folder,
      };
    }

    it("brings the files of the default branch with git's modes, owned by root, without git's directory", async () => {
      const { url } = makeRepository('plain');
      const { tree, text } = await built(`FROM scratch\nADD ${url} /src\n`);
      expect(text('src/top.txt')).toBe('two\n');
      expect(tree.get('src/top.txt')).toMatchObject({ mode: '0644', uid: 0, gid: 0 });
      expect(tree.get('src/sub/run.sh')).toMatchObject({ mode: '0755' });
      expect(tree.get('src/sub')).toMatchObject({ type: 'directory', mode: '0755' });
      expect(tree.get('src/outside')).toMatchObject({ type: 'symlink' });
      expect([...tree.keys()].some((path) => path.includes('.git'))).toBe(false);
    });

    it('takes branches, tags, commits and folders from fragment and query', async () => {
      const { url, first, second } = makeRepository('refs');
      const { text, tree } = await built(
        [
          'FROM scratch',
          `ADD ${url}#v1 /tag`,
          `ADD ${url}#feature/x /branch`,
          `ADD ${url}#${first} /commit`,
          `ADD ${url}#main:sub /sub`,
          `ADD ${url}?tag=v1&subdir=/sub/ /query`,
          `ADD ${url}?branch=main&commit=${second} /checked`,
          `ADD --checksum=${first.slice(0, 10)} ${url}#v1 /short`,
          `ADD ${url}#:link /link`,
          '',
        ].join('\n'),
      );
      expect(
        ['tag', 'branch', 'commit', 'checked', 'short'].map((path) => text(`${path}/top.txt`)),
      ).toEqual(['one\n', 'two\n', 'one\n', 'two\n', 'one\n']);
      expect(tree.get('sub/in.txt')).toBeDefined();
      expect(tree.get('query/in.txt')).toBeDefined();
      expect(tree.get('link/in.txt')).toBeDefined();
    });

    it('is keyed by the commit: a moved branch is fetched, a full commit asks nobody', async () => {
      const { url, folder, first } = makeRepository('moving');
      const dockerfile = `FROM scratch\nADD ${url}#main /src\n`;
      await built(dockerfile);
      expect((await built(dockerfile)).cached).toEqual([true]);
      writeFileSync(join(folder, 'top.txt'), 'three\n');
      gitIn(folder, 'commit', '--quiet', '--all', '--message=third');
      const moved = await built(dockerfile);
      expect(moved.cached).toEqual([false]);
      expect(moved.text('src/top.txt')).toBe('three\n');

      const pinned = `FROM scratch\nADD ${url}#${first} /src\n`;
      await built(pinned);
      server.log.length = 0;
      expect((await built(pinned)).cached).toEqual([true]);
      expect(server.log).toEqual([]);
    });

    it("keeps git's directory with --keep-git-dir, as a repository that is clean", async () => {
      const { url, second } = makeRepository('kept');
      const { root, tree } = await built(
        `FROM scratch\nADD --keep-git-dir ${url}#main /src\nADD ${url}?tag=v1&keep-git-dir=1 /tag\n`,
      );
      const git = (...args: string[]): string =>
        gitIn(join(root, 'src'), '-c', 'safe.directory=*', ...args);
      expect(git('rev-parse', 'HEAD')).toBe(second);
      expect(git('status', '--porcelain', '--branch')).toBe('## main');
      expect(git('config', 'remote.origin.url')).toBe(url);
      expect(gitIn(join(root, 'tag'), '-c', 'safe.directory=*', 'describe', '--tags')).toBe('v1');
      expect(tree.get('src/.git/hooks')).toBeUndefined();
    });

    it('brings submodules, unless they are not wanted', async () => {
      const inner = makeRepository('inner');
      const folder = writeFiles(temp.dir('outer'), { 'outer.txt': 'outer\n' });
      commitFolder(folder, repositories, 'outer');
      writeFileSync(
        join(folder, '.gitmodules'),
        '[submodule "module"]\n\tpath = module\n\turl = ../inner.git\n',
      );
      gitIn(folder, 'update-index', '--add', '--cacheinfo', `160000,${inner.second},module`);
      gitIn(folder, 'add', '.gitmodules');
      gitIn(folder, 'commit', '--quiet', '--message=module');
      const { tree } = await built(
        `FROM scratch\nADD ${server.url}/git/outer.git /with\nADD ${server.url}/git/outer.git?submodules=false /without\n`,
      );
      expect(tree.get('with/module/top.txt')).toMatchObject({ type: 'file' });
      expect(tree.get('with/module/.git')).toBeUndefined();
      expect(tree.get('without/module/top.txt')).toBeUndefined();
    });

    it('refuses a commit that is not the one of the checksum', async () => {
      const { url, second } = makeRepository('sums');
      const stderr = await refused(`FROM scratch\nADD --checksum=${second} ${url}#v1 /src\n`);
      expect(stderr).toMatch(/CHECKSUM_MISMATCH/);
      expect(stderr).toContain('Dockerfile:2');
    });

    it.each([
      ['#--upload-pack=touch${IFS}/tmp/pwned', 'not the name of a branch'],
      ['?ref=--upload-pack=x', 'not the name of a branch'],
      ['#main:../../etc', 'leads out of the repository'],
      ['#main:sub/../../x', 'leads out of the repository'],
      ['#main:outside', 'has no directory outside'],
      ['#main:top.txt', 'has no directory top.txt'],
      ['#main:.git', 'has no directory .git'],
      ['#nosuch', 'has no branch or tag nosuch'],
      ['#a..b', 'not the name of a branch'],
      ['?unknown=1', '"unknown" in its query is unknown'],
      ['?ref=main#v1', 'contradict each other'],
      [`#${'0'.repeat(40)}`, 'has no commit'],
    ])('refuses the address …git%s', async (rest, message) => {
      const url = existsSync(join(repositories, 'hostile.git'))
        ? `${server.url}/git/hostile.git`
        : makeRepository('hostile').url;
      const stderr = await refused(`FROM scratch\nADD ${url}${rest} /src\n`);
      expect(stderr).toContain('GIT_FAILED');
      expect(stderr).toContain(message);
    });

    it('never lets a submodule reach the disk of the host, nor a repository run its hooks', async () => {
      const marker = join(temp.dir(), 'ran');
      const { folder } = makeRepository('trap');
      const secret = makeRepository('secret');
      writeFileSync(
        join(folder, '.gitmodules'),
        `[submodule "m"]\n\tpath = m\n\turl = ${secret.folder}\n`,
      );
      gitIn(folder, 'update-index', '--add', '--cacheinfo', `160000,${secret.second},m`);
      gitIn(folder, 'add', '.gitmodules');
      gitIn(folder, 'commit', '--quiet', '--message=trap');
      expect(await refused(`FROM scratch\nADD ${server.url}/git/trap.git /src\n`)).toMatch(
        /transport 'file' not allowed/,
      );

      mkdirSync(join(folder, '.git', 'hooks'), { recursive: true });
      for (const hook of ['post-checkout', 'pre-receive', 'post-index-change'])
        writeFileSync(join(folder, '.git', 'hooks', hook), `#!/bin/sh\ntouch ${marker}\n`, {
          mode: '0755',
        });
      const home = writeFiles(temp.dir('home'), {
        '.gitconfig': `[core]\n\thooksPath = ${join(folder, '.git', 'hooks')}\n[url "file:///etc/"]\n\tinsteadOf = ${server.url}\n`,
      });
      await builtFrom(
        [`${server.url}/git/trap.git#v1`],
        new Mbuild(mbuild.root, {
          HOME: home,
          GIT_DIR: '/nowhere',
          GIT_CONFIG_COUNT: '1',
          GIT_CONFIG_KEY_0: 'core.hooksPath',
          GIT_CONFIG_VALUE_0: join(folder, '.git', 'hooks'),
        }),
      );
      expect(existsSync(marker)).toBe(false);
    });
  });

  describe('a build context from elsewhere', () => {
    it('can be a git repository: a ref, a folder, its ignore file, its own Dockerfile', async () => {
      const folder = writeFiles(temp.dir('repository'), {
        'app/Dockerfile': 'FROM scratch\nCOPY . /\n',
        'app/file.txt': 'file\n',
        'app/skipped.txt': 'skipped\n',
        'app/.dockerignore': 'skipped.txt\n',
        'other.Dockerfile': 'FROM scratch\nCOPY app/file.txt /other\n',
      });
      commitFolder(folder, repositories, 'context');
      const { tree } = await builtFrom([`${server.url}/git/context.git#main:app`]);
      expect(tree.get('file.txt')).toMatchObject({ uid: 0, gid: 0, mode: '0644' });
      expect(tree.get('skipped.txt')).toBeUndefined();
      expect([...tree.keys()].some((path) => path.startsWith('.git'))).toBe(false);
      expect(
        (
          await builtFrom(['-f', 'other.Dockerfile', `file://${join(folder, '.git')}#main`])
        ).tree.get('other'),
      ).toBeDefined();
      const kept = await builtFrom([
        '-f',
        'app/Dockerfile',
        '--build-arg',
        'BUILDKIT_CONTEXT_KEEP_GIT_DIR=1',
        `${server.url}/git/context.git`,
      ]);
      expect(kept.tree.get('.git/HEAD')).toBeDefined();
      const again = await builtFrom([
        '-f',
        'app/Dockerfile',
        '--build-arg',
        'BUILDKIT_CONTEXT_KEEP_GIT_DIR=1',
        `${server.url}/git/context.git`,
      ]);
      expect(again.cached).toEqual([true]);
    });

    it('reads no Dockerfile and no ignore file through a link that leaves the repository', async () => {
      const outside = writeFiles(temp.dir('outside'), {
        Dockerfile: 'FROM scratch\nTOP SECRET\n',
        ignore: 'secret-pattern[\n',
      });
      const folder = writeFiles(temp.dir('repository'), {
        'real.Dockerfile': 'FROM scratch\nCOPY real.Dockerfile /\n',
      });
      symlinkSync(join(outside, 'Dockerfile'), join(folder, 'Dockerfile'));
      symlinkSync(join(outside, 'ignore'), join(folder, 'real.Dockerfile.dockerignore'));
      commitFolder(folder, repositories, 'links');
      const result = await mbuild.run(['build', `${server.url}/git/links.git`]);
      expect(result.code).toBe(1);
      expect(result.stderr).toContain('DOCKERFILE_NOT_FOUND');
      expect(result.stderr).not.toContain('SECRET');
      expect(
        (await builtFrom(['-f', 'real.Dockerfile', `${server.url}/git/links.git`])).tree.get(
          'real.Dockerfile',
        ),
      ).toBeDefined();
      const escaped = await mbuild.run([
        'build',
        '-f',
        `../../../../../..${outside}/Dockerfile`,
        `${server.url}/git/links.git`,
      ]);
      expect(escaped.stderr).not.toContain('SECRET');
    });

    it('can be an archive at an address, or a Dockerfile alone', async () => {
      const folder = writeFiles(temp.dir(), {
        Dockerfile: 'FROM scratch\nCOPY file.txt /\n',
        'file.txt': 'in the archive\n',
      });
      server.pages.set('/context.tar.gz', file(execFileSync('tar', ['-cz', '-C', folder, '.'])));
      expect((await builtFrom([`${server.url}/context.tar.gz`])).text('file.txt')).toBe(
        'in the archive\n',
      );
      server.pages.set('/Dockerfile', file('FROM scratch\nCOPY <<EOF /here\nalone\nEOF\n'));
      expect((await builtFrom([`${server.url}/Dockerfile`])).text('here')).toBe('alone\n');
      server.pages.set('/broken', file('FROM scratch\nWRONG\n'));
      expect((await mbuild.run(['build', `${server.url}/broken`])).stderr).toContain('broken:2');
    });

    it('leaves nothing behind in the temporary folders', async () => {
      expect(
        readdirSync(join(mbuild.root, 'tmp')).filter((name) => name.startsWith('git.')),
      ).toEqual([]);
    });
  });
});
