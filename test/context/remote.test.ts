import { chmodSync, existsSync, readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { downloadFile, downloadName, type DownloadServices } from '../../src/context/download';
import { isGitAddress, parseGitAddress } from '../../src/context/git-url';
import { resolveGit } from '../../src/context/git';
import { checkoutGit } from '../../src/context/git-checkout';
import { LocalContentStore } from '../../src/content/local-store';
import { isMbuildError } from '../../src/diagnostics/error';
import { toText } from '../../src/linux/paths';
import { digestOf, type Digest } from '../../src/oci/digest';
import { FileClient } from '../../src/registry/download-file';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';
import { commitFolder, gitIn } from '../support/web-server';

const NEVER = new AbortController().signal;
const COMMIT = 'a'.repeat(40);

describe('git addresses', () => {
  it.each([
    [
      'https://host/x/y.git',
      {
        remote: 'https://host/x/y.git',
        protocol: 'https',
        host: 'host',
        ref: undefined,
        subdir: undefined,
        submodules: true,
      },
    ],
    ['https://host/y.git#main', { ref: 'main', subdir: undefined }],
    ['https://host/y.git#:dir', { ref: undefined, subdir: 'dir' }],
    ['https://host/y.git#v1.0:a/./b//c/', { ref: 'v1.0', subdir: 'a/b/c' }],
    [
      'https://host/y.git?tag=v1&subdir=/a',
      { remote: 'https://host/y.git', ref: 'refs/tags/v1', subdir: 'a' },
    ],
    ['https://host/y.git?branch=feature/x', { ref: 'refs/heads/feature/x' }],
    [`https://host/y.git?commit=${COMMIT}`, { commit: COMMIT }],
    [
      `https://host/y.git?checksum=abcdef1&keep-git-dir=true&submodules=0`,
      { commit: 'abcdef1', keepGitDir: true, submodules: false },
    ],
    ['https://host/y.git?keep-git-dir', { keepGitDir: true }],
    [
      'https://user:p%40ss@host:8443/y.git',
      {
        remote: 'https://host:8443/y.git',
        display: 'https://host:8443/y.git',
        host: 'host:8443',
        credentials: { username: 'user', password: 'p@ss' },
      },
    ],
    [
      'git@github.com:x/y.git#main',
      { remote: 'git@github.com:x/y.git', protocol: 'ssh', ref: 'main' },
    ],
    [
      'ssh://git@host:22/x/y.git',
      { remote: 'ssh://git@host:22/x/y.git', protocol: 'ssh', host: undefined },
    ],
    ['github.com/x/y#main', { remote: 'https://github.com/x/y', ref: 'main' }],
    ['git://host/y', { protocol: 'git' }],
    ['https://host/y.git?checksum=a&mtime=commit', { commit: 'a', mtime: 'commit' }],
    [
      `https://host/y.git?fetch-by-commit#${COMMIT}`,
      { commit: COMMIT, fetchByCommit: true, mtime: 'checkout' },
    ],
    ['file:///repos/y.git', { protocol: 'file' }],
  ])('%s', (text, expected) => {
    expect(parseGitAddress(text)).toMatchObject(expected);
  });

  it.each([
    'https://host/y.git#-x',
    'https://host/y.git#--upload-pack=x',
    'https://host/y.git#a b',
    'https://host/y.git#a..b',
    'https://host/y.git#a@{1}',
    'https://host/y.git#a.lock',
    'https://host/y.git#/a',
    'https://host/y.git#a/',
    'https://host/y.git#a*',
    'https://host/y.git#a\n',
    'https://host/y.git#main:..',
    'https://host/y.git#main:a/../../b',
    'https://host/y.git?subdir=..',
    'https://host/y.git?ref=',
    'https://host/y.git?commit=xyz',
    'https://host/y.git?submodules=maybe',
    'https://host/y.git?upload-pack=x',
    'https://host/y.git?ref=a#b',
    'https://host/y.git?ref=a&ref=a',
    'https://host/y.git?submodules&submodules',
    'https://host/y.git?mtime=now',
    'https://host/y.git?mtime=',
    'https://host/y.git?fetch-by-commit',
    'https://host/y.git?fetch-by-commit&commit=abc',
    'ext::sh -c x',
    'ext::x',
    '-oProxyCommand=x',
    '--upload-pack=x',
    'ssh://-oProxyCommand=x/y',
    'git@-oProxyCommand=x:y',
    'git@host:-x',
    'ftp://host/y.git',
    'javascript:x',
    '',
  ])('%j is refused', (text) => {
    expect(() => parseGitAddress(text)).toThrow(expect.objectContaining({ code: 'GIT_FAILED' }));
  });

  it('never become an option, nor lead out of the repository, whatever is written', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((text) => `https://host/y.git#${text}`),
          fc.string().map((text) => `https://host/y.git?${text}`),
          fc.webUrl({ withFragments: true, withQueryParameters: true }),
        ),
        (text) => {
          try {
            const { remote, ref, subdir, display } = parseGitAddress(text);
            expect(
              [remote, ref ?? '', display].some(
                (part) => part.startsWith('-') || /[\0-\x1f]/.test(part),
              ),
            ).toBe(false);
            expect((subdir ?? '').split('/').includes('..')).toBe(false);
          } catch (error) {
            if (!isMbuildError(error, 'GIT_FAILED')) throw error;
          }
        },
      ),
    );
  });

  it.each([
    ['https://host/x.git', true],
    ['https://host/x.git#main', true],
    ['https://host/x.git?ref=a', true],
    ['git@host:x', true],
    ['ssh://host/x', true],
    ['github.com/x/y', true],
    ['https://host/x', false],
    ['https://host/x.tar.gz', false],
    ['https://host/x?y=z.git', false],
    ['./x.git', false],
    ['folder', false],
  ])('%s is one: %s', (text, expected) => {
    expect(isGitAddress(text)).toBe(expected);
  });
});

describe('names of fetched files', () => {
  it.each([
    ['https://host/a/b.txt', 'b.txt'],
    ['https://host/a/b.txt?x=/y#z', 'b.txt'],
    ['https://host/', '__unnamed__'],
    ['https://host', '__unnamed__'],
    ['https://host/dir/', 'dir'],
    ['https://host/sp%20ace%2Fx', 'x'],
    ['https://host/..%2f..%2fetc%2fpasswd', 'passwd'],
    ['https://host/%E4', '%E4'],
  ])('%s → %s', (url, name) => {
    expect(downloadName(new URL(url))).toBe(name);
  });

  it.each([`https://host/a%2F..`, 'https://host/a%00b', `https://host/${'x'.repeat(4096)}`])(
    '%.40s has none',
    (url) => {
      expect(() => downloadName(new URL(url))).toThrow(
        expect.objectContaining({ code: 'DOWNLOAD_FAILED' }),
      );
    },
  );

  it('are always the name of a file in the destination', () => {
    fc.assert(
      fc.property(fc.webUrl({ withQueryParameters: true }), fc.string(), (url, more) => {
        try {
          const name = downloadName(new URL(`${url}/${encodeURIComponent(more)}`));
          expect(
            name === '' ||
              name === '.' ||
              name === '..' ||
              name.includes('/') ||
              name.includes('\0'),
          ).toBe(false);
        } catch (error) {
          if (!isMbuildError(error, 'DOWNLOAD_FAILED')) throw error;
        }
      }),
    );
  });
});

describe('downloads', () => {
  const temp = useTemp();

  /** A store, and a server that counts what it is asked. */
  async function withServer(
    answer: (
      etag: string | undefined,
      authorization: string | undefined,
    ) => {
      status: number;
      body?: string | Buffer;
      headers?: Record<string, string>;
    },
    use: (
      url: URL,
      services: DownloadServices,
      requests: () => number,
      held: Set<Digest>,
    ) => Promise<void>,
  ): Promise<void> {
    let requests = 0;
    const server = createServer((request, response) => {
      requests++;
      const { status, body, headers } = answer(
        request.headers['if-none-match'],
        request.headers.authorization,
      );
      response.writeHead(status, headers).end(body);
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    const client = new FileClient({ env: {}, attempts: 2, pauseMs: 1 });
    const root = temp.dir('store');
    const held = new Set<Digest>();
    try {
      const url = new URL(
        `http://user:secret@127.0.0.1:${(server.address() as AddressInfo).port}/f?token=secret`,
      );
      await use(
        url,
        {
          root,
          content: new LocalContentStore(root),
          files: client,
          secret: () => undefined,
          hold: (digest) => held.add(digest),
        },
        () => requests,
        held,
      );
    } finally {
      await client.close();
      server.closeAllConnections();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    }
  }

  it('are blobs of the store that are held, and leave no credentials in it', async () => {
    await withServer(
      () => ({
        status: 200,
        body: 'content',
        headers: { 'last-modified': 'Tue, 01 Feb 2022 03:04:05 GMT' },
      }),
      async (url, services, _, held) => {
        const { digest, size, mtime, hostPath } = await downloadFile(
          url,
          undefined,
          services,
          NEVER,
        );
        expect({ digest, size, mtime }).toEqual({
          digest: digestOf('content'),
          size: 7,
          mtime: Date.UTC(2022, 1, 1, 3, 4, 5) / 1000,
        });
        expect(readFileSync(hostPath, 'utf8')).toBe('content');
        expect(held.has(digest)).toBe(true);
        const [record = ''] = readdirSync(join(services.root, 'downloads'));
        expect(record + readFileSync(join(services.root, 'downloads', record), 'utf8')).not.toMatch(
          /secret|user|token/,
        );
      },
    );
  });

  it('are fetched again when their blob was collected or their record is damaged', async () => {
    await withServer(
      (etag) =>
        etag === undefined
          ? { status: 200, body: 'content', headers: { etag: '"1"' } }
          : { status: 304 },
      async (url, services, requests) => {
        const { digest } = await downloadFile(url, undefined, services, NEVER);
        await downloadFile(url, undefined, services, NEVER);
        services.content.setAside(digest);
        await downloadFile(url, undefined, services, NEVER);
        expect(services.content.size(digest)).toBe(7);
        writeFiles(join(services.root, 'downloads'), {
          [readdirSync(join(services.root, 'downloads'))[0] ?? '']: 'damaged',
        });
        await downloadFile(url, digest, services, NEVER);
        expect(requests()).toBe(4);
      },
    );
  });

  it('have the time 0 where the server tells none', async () => {
    await withServer(
      () => ({ status: 200, body: 'content' }),
      async (url, services) => {
        expect((await downloadFile(url, undefined, services, NEVER)).mtime).toBe(0);
      },
    );
  });

  it('are taken out of the gzip that the server keeps them in, also for the checksum', async () => {
    const headers = { 'content-encoding': 'gzip' };
    await withServer(
      () => ({ status: 200, body: gzipSync('content'), headers }),
      async (url, services) => {
        const { hostPath } = await downloadFile(url, digestOf('content'), services, NEVER);
        expect(readFileSync(hostPath, 'utf8')).toBe('content');
      },
    );
    await withServer(
      () => ({ status: 200, body: 'no gzip', headers }),
      async (url, services) => {
        await expect(downloadFile(url, undefined, services, NEVER)).rejects.toMatchObject({
          code: 'DOWNLOAD_FAILED',
        });
      },
    );
  });

  it.each([
    [{ 'HTTP_AUTH_HEADER_127.0.0.1': 'Basic abc\n' }, 'Basic abc'],
    [{ 'HTTP_AUTH_TOKEN_127.0.0.1': 't' }, 'Bearer t'],
    [{ 'HTTP_AUTH_TOKEN_127.0.0.1': 't', 'HTTP_AUTH_HEADER_127.0.0.1': 'h' }, 'Bearer t'],
    [{ HTTP_AUTH_TOKEN_other: 't' }, `Basic ${Buffer.from('user:secret').toString('base64')}`],
  ])(
    'with the secrets %j are asked for as %s',
    async (secrets: Record<string, string>, expected) => {
      const seen: (string | undefined)[] = [];
      await withServer(
        (_etag, authorization) => {
          seen.push(authorization);
          return { status: 200, body: 'content' };
        },
        async (url, services) => {
          const secret = (id: string): Buffer | undefined =>
            secrets[id] === undefined ? undefined : Buffer.from(secrets[id]);
          await downloadFile(url, undefined, { ...services, secret }, NEVER);
        },
      );
      expect(seen).toEqual([expected]);
    },
  );

  it('of the wrong checksum leave nothing', async () => {
    await withServer(
      () => ({ status: 200, body: 'other' }),
      async (url, services) => {
        await expect(downloadFile(url, digestOf('content'), services, NEVER)).rejects.toMatchObject(
          { code: 'CHECKSUM_MISMATCH' },
        );
        expect(services.content.list()).toEqual([]);
      },
    );
  });

  it('stop when the build does', async () => {
    await withServer(
      () => ({ status: 503 }),
      async (url, services) => {
        await expect(
          downloadFile(url, undefined, services, AbortSignal.abort()),
        ).rejects.toMatchObject({ code: 'CANCELED' });
      },
    );
  });
});

describeWith('git repositories', { programs: ['git'] }, () => {
  const temp = useTemp();

  function repository(): {
    readonly url: string;
    readonly commit: string;
    readonly folder: string;
  } {
    const folder = writeFiles(temp.dir('work'), {
      'file.txt': 'one\n',
      'dir/inner.txt': 'inner\n',
    });
    const repositories = temp.dir('repositories');
    const commit = commitFolder(folder, repositories, 'r');
    return { url: `file://${repositories}/r.git`, commit, folder };
  }

  it('are resolved: a branch before a tag of the same name, an annotated tag to its commit', async () => {
    const { url, commit, folder } = repository();
    gitIn(folder, 'tag', 'same');
    gitIn(folder, 'tag', '--annotate', '--message=x', 'annotated');
    gitIn(folder, 'commit', '--quiet', '--allow-empty', '--message=second');
    gitIn(folder, 'branch', 'same');
    const second = gitIn(folder, 'rev-parse', 'HEAD');
    const services = { root: temp.dir('store'), secret: () => undefined };
    const commitOf = async (rest: string): Promise<string> =>
      (await resolveGit(parseGitAddress(url + rest), services, NEVER)).commit;
    expect(await commitOf('')).toBe(second);
    expect(await commitOf('#same')).toBe(second);
    expect(await commitOf('#refs/tags/same')).toBe(commit);
    expect(await commitOf('#annotated')).toBe(commit);
    expect(await commitOf(`?tag=annotated&commit=${gitIn(folder, 'rev-parse', 'annotated')}`)).toBe(
      commit,
    );
    await expect(commitOf('?tag=main')).rejects.toMatchObject({ code: 'GIT_FAILED' });
  });

  it('are checked out by the name of a tag object, with and without their directory', async () => {
    const { url, commit, folder } = repository();
    gitIn(folder, 'tag', '--annotate', '--message=x', 'annotated');
    const tag = gitIn(folder, 'rev-parse', 'annotated');
    const services = { root: temp.dir('store'), secret: () => undefined };
    const resolved = await resolveGit(parseGitAddress(`${url}#${tag}`), services, NEVER);
    const { tree, close } = await checkoutGit(resolved, true, services, NEVER);
    expect(gitIn(toText(tree.path), 'rev-parse', 'HEAD')).toBe(commit);
    expect(tree.lstat('/file.txt')).toBeDefined();
    close();
    const plain = await checkoutGit(resolved, false, services, NEVER);
    expect(plain.tree.children('/').map(({ path }) => path)).toEqual(['/dir', '/file.txt']);
    plain.close();
  });

  it('have the time of their commit where the query asks for it', async () => {
    const { url, folder } = repository();
    const services = { root: temp.dir('store'), secret: () => undefined };
    const resolved = await resolveGit(parseGitAddress(`${url}?mtime=commit`), services, NEVER);
    const { tree, close } = await checkoutGit(resolved, false, services, NEVER);
    const time = Number(gitIn(folder, 'show', '--no-patch', '--format=%ct'));
    expect(
      ['/', '/dir', '/dir/inner.txt'].map((path) => (tree.lstat(path)?.stats.mtimeMs ?? 0) / 1000),
    ).toEqual([time, time, time]);
    close();
  });

  it('are fetched by their commit alone, though the branch that is named is another or none', async () => {
    const { url, commit, folder } = repository();
    gitIn(folder, 'commit', '--quiet', '--allow-empty', '--message=second');
    const services = { root: temp.dir('store'), secret: () => undefined };
    for (const branch of ['main', 'none']) {
      const address = parseGitAddress(`${url}?branch=${branch}&fetch-by-commit&commit=${commit}`);
      const resolved = await resolveGit(address, services, NEVER);
      expect(resolved).toMatchObject({ commit, ref: `refs/heads/${branch}` });
      (await checkoutGit(resolved, false, services, NEVER)).close();
    }
  });

  it('say which files are pointers of Git LFS, where nothing fetches them', async () => {
    const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 12345\n';
    const folder = writeFiles(temp.dir('work'), {
      '.gitattributes': '*.bin filter=lfs -text\n',
      'a.bin': pointer,
      'text.md': `In a text: ${pointer}`,
    });
    const repositories = temp.dir('repositories');
    commitFolder(folder, repositories, 'r');
    const services = { root: temp.dir('store'), secret: () => undefined };
    const address = parseGitAddress(`file://${repositories}/r.git`);
    const resolved = await resolveGit(address, services, NEVER);
    const { warnings, close } = await checkoutGit(resolved, false, services, NEVER);
    expect(warnings).toEqual([
      expect.objectContaining({
        code: 'GitLfsPointer',
        message: expect.stringMatching(/^a\.bin is a pointer of Git LFS in /),
      }),
    ]);
    close();
  });

  it.each([
    ['a path that leads out', '../../../out', 'https://127.0.0.1:1/x'],
    ['a path into git', '.git/hooks', 'https://127.0.0.1:1/x'],
    ['an address that is an option', 'sub', '--upload-pack=touch ran'],
    ['an address that runs a program', 'sub', 'ext::sh -c "touch% ran"'],
    ['a path of this machine', 'sub', '/etc'],
    ['a file address', 'sub', 'file:///etc'],
  ])('do nothing outside for a submodule with %s', async (_what, place, address) => {
    const { url, folder } = repository();
    writeFiles(folder, {
      '.gitmodules': `[submodule "evil"]\n\tpath = ${place}\n\turl = ${address}\n`,
    });
    const commit = gitIn(folder, 'rev-parse', 'HEAD');
    gitIn(folder, 'add', '.gitmodules');
    if (place === 'sub')
      gitIn(folder, 'update-index', '--add', '--cacheinfo', `160000,${commit},sub`);
    gitIn(folder, 'commit', '--quiet', '--message=evil');
    const root = temp.dir('store');
    const services = { root, secret: () => undefined };
    const resolved = await resolveGit(parseGitAddress(url), services, NEVER);
    const outcome = await checkoutGit(resolved, false, services, NEVER).then(
      ({ close, tree }) => {
        const names = tree.children('/').map(({ path }) => path);
        close();
        return names;
      },
      (error: { readonly code?: string }) => error.code,
    );
    // Git itself passes over a path that it does not take; an address that may not be asked is an
    // error.
    expect(place === 'sub' ? outcome : outcome?.includes('/out')).toBe(
      place === 'sub' ? 'GIT_FAILED' : false,
    );
    expect(existsSync(join(root, 'out'))).toBe(false);
    expect(readdirSync(root).includes('ran')).toBe(false);
  });

  it.each([
    '--upload-pack=x',
    '-x',
    'a b',
    'a\nb',
    'a..b',
    'a.lock',
    '@{u}',
    'a:b?c',
    'refs/heads/../x',
    '$(touch ran)',
    'a\u202eb',
    '..',
  ])('are not asked for the ref %j', (ref) => {
    expect(() => parseGitAddress(`https://a.test/r.git?ref=${encodeURIComponent(ref)}`)).toThrow(
      /is not the name of a branch, tag or commit/,
    );
  });

  it('are checked out by several at once, into directories that go', async () => {
    const { url, commit } = repository();
    const services = { root: temp.dir('store'), secret: () => undefined };
    const resolved = { address: parseGitAddress(`${url}#:dir`), commit, ref: undefined };
    const checkouts = await Promise.all(
      [1, 2, 3].map(() => checkoutGit(resolved, false, services, NEVER)),
    );
    expect(checkouts.map(({ tree }) => tree.children('/').map(({ path }) => path))).toEqual([
      ['/inner.txt'],
      ['/inner.txt'],
      ['/inner.txt'],
    ]);
    for (const { close } of checkouts) close();
    expect(readdirSync(join(services.root, 'tmp'))).toEqual([]);
    expect(
      readdirSync(join(services.root, 'git')).filter((name) => !name.endsWith('.lock')).length,
    ).toBe(1);
  });

  it('of SHA-256 and without any file are repositories too', async () => {
    const folder = temp.dir('sha256');
    gitIn(folder, 'init', '--quiet', '--object-format=sha256', '--initial-branch=main');
    gitIn(folder, 'commit', '--quiet', '--allow-empty', '--message=empty');
    const services = { root: temp.dir('store'), secret: () => undefined };
    const resolved = await resolveGit(parseGitAddress(`file://${folder}/.git`), services, NEVER);
    expect(resolved.commit.length).toBe(64);
    const { tree, close } = await checkoutGit(resolved, false, services, NEVER);
    expect(tree.children('/')).toEqual([]);
    close();
  });

  it('get tokens over https alone, and credentials of the address in no argument', async () => {
    const bin = temp.dir('bin');
    const seen = join(bin, 'seen');
    writeFiles(bin, {
      git: `#!/bin/sh\necho "$@" >> ${seen}\nenv | grep '^GIT_CONFIG_' >> ${seen}\nexit 1\n`,
    });
    chmodSync(join(bin, 'git'), 0o755);
    const path = process.env.PATH;
    const services = {
      root: temp.dir('store'),
      secret: (id: string) =>
        id === 'GIT_AUTH_TOKEN.one.test' ? Buffer.from('tok3n\n') : undefined,
    };
    const asked = async (address: string): Promise<string> => {
      writeFiles(bin, { seen: '' });
      await expect(resolveGit(parseGitAddress(address), services, NEVER)).rejects.toMatchObject({
        code: 'GIT_FAILED',
      });
      return readFileSync(seen, 'utf8');
    };
    process.env.PATH = `${bin}:${path ?? ''}`;
    try {
      const token = Buffer.from('x-access-token:tok3n').toString('base64');
      expect(await asked('https://one.test/r.git')).toContain(`http.https://one.test/.extraHeader`);
      expect(await asked('https://one.test/r.git')).toContain(token);
      expect(await asked('http://one.test/r.git')).not.toContain(token);
      expect(await asked('https://two.test/r.git')).not.toContain(token);
      const own = await asked('https://user:hunter2@two.test/r.git');
      expect(own).toContain(Buffer.from('user:hunter2').toString('base64'));
      expect(own.split('\n')[0]).not.toMatch(/hunter2|user:|extraHeader/);
    } finally {
      process.env.PATH = path;
    }
  });
});
