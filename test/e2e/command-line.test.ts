import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { MBUILD, instructionSteps, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

describeWith('the build command', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let context: string;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    context = writeFiles(temp.dir('context'), {
      Dockerfile: [
        'FROM small-base AS one',
        'ARG WHO=nobody',
        'RUN echo "$WHO" > /who',
        'FROM one AS two',
        'COPY file.txt /',
        'CMD ["cat", "/who"]',
        '',
      ].join('\n'),
      'other.Dockerfile': 'FROM small-base\nCMD ["echo", "other"]\n',
      'file.txt': 'file\n',
    });
  });

  it('needs no subcommand', async () => {
    const result = await mbuild.run(['-f', 'Dockerfile', '.'], { cwd: context });
    expect(result.code).toBe(0);
    expect(result.stderr).toContain('[two 1/1] COPY file.txt /');
  });

  it('takes -f from the context or the working directory', async () => {
    await mbuild.build(['-f', join(context, 'other.Dockerfile'), '-t', 'other', context], {
      cwd: '/',
    });
    expect((await mbuild.run(['run', '--rm', 'other'])).stdout).toBe('other\n');
    await mbuild.build(['-f', 'other.Dockerfile', '-t', 'other', '.'], { cwd: context });
    expect((await mbuild.run(['run', '--rm', 'other'])).stdout).toBe('other\n');
  });

  it('reads the Dockerfile from standard input with -f -', async () => {
    await mbuild.build(['-f', '-', '-t', 'piped', context], {
      input: 'FROM small-base\nCOPY file.txt /piped\nCMD ["cat", "/piped"]\n',
    });
    expect((await mbuild.run(['run', '--rm', 'piped'])).stdout).toBe('file\n');
  });

  it.each([
    ['plain', ['cf']],
    ['gzip', ['czf']],
    ['xz', ['cJf']],
  ])('reads a %s tar as the context from standard input', async (name, [flags = '']) => {
    const tar = execFileSync('tar', [flags, '-', '-C', context, '.']);
    await mbuild.build(['-t', `tar-${name}`, '-'], { input: tar });
    expect((await mbuild.run(['run', '--rm', `tar-${name}`, 'cat', '/file.txt'])).stdout).toBe(
      'file\n',
    );
  });

  it('takes a lone Dockerfile as the context from standard input', async () => {
    await mbuild.build(['-t', 'lone', '-'], {
      input: 'FROM small-base\nRUN echo lone > /lone\nCMD ["cat", "/lone"]\n',
    });
    expect((await mbuild.run(['run', '--rm', 'lone'])).stdout).toBe('lone\n');
  });

  it('gives build arguments, also from the environment, and names of all -t', async () => {
    await mbuild.build([
      '--build-arg',
      'WHO=alice',
      '-t',
      'who:a',
      '-t',
      'example.org/who:b',
      context,
    ]);
    expect((await mbuild.run(['run', '--rm', 'who:a'])).stdout).toBe('alice\n');
    expect((await mbuild.inspect('example.org/who:b')).RepoTags.sort()).toEqual([
      'example.org/who:b',
      'who:a',
    ]);
    await mbuild.build(['--build-arg', 'WHO', '-t', 'who:a', context], { env: { WHO: 'bob' } });
    expect((await mbuild.run(['run', '--rm', 'who:a'])).stdout).toBe('bob\n');
  });

  it('stops at --target', async () => {
    const { steps } = await mbuild.build(['--target', 'one', '-t', 'target', context]);
    expect(instructionSteps(steps).map((step) => step.name)).toEqual([
      '[one 2/2] RUN echo "nobody" > /who',
    ]);
    expect((await mbuild.run(['run', '--rm', 'target', 'ls', '/file.txt'])).code).not.toBe(0);
  });

  it('adds labels, and writes the image id and the metadata to files', async () => {
    const dir = temp.dir();
    await mbuild.ok([
      'build',
      '--label',
      'a=b',
      '--label',
      'c',
      '--iidfile',
      join(dir, 'iid'),
      '--metadata-file',
      join(dir, 'meta.json'),
      '-t',
      'labelled',
      context,
    ]);
    const id = readFileSync(join(dir, 'iid'), 'utf8');
    expect((await mbuild.inspect('labelled')).Id).toBe(id);
    const metadata = JSON.parse(readFileSync(join(dir, 'meta.json'), 'utf8')) as Record<
      string,
      unknown
    >;
    expect(metadata).toMatchObject({
      'containerimage.config.digest': id,
      'containerimage.digest': expect.stringMatching(/^sha256:/),
      'image.name': expect.stringContaining('labelled'),
    });
    expect((await mbuild.inspect(id)).Config.Labels).toEqual({ a: 'b', c: '' });
  });

  it('prints the image id alone with -q', async () => {
    const result = await mbuild.run(['build', '-q', '-t', 'quiet', context]);
    expect(result).toEqual({
      code: 0,
      stdout: `${(await mbuild.inspect('quiet')).Id}\n`,
      stderr: '',
    });
  });

  it('writes one JSON object a line with --progress=rawjson', async () => {
    const { code, stderr } = await mbuild.run(['build', '--progress=rawjson', context]);
    expect(code).toBe(0);
    const lines = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown);
    expect(lines.length).toBeGreaterThan(3);
  });

  it('builds everything again with --no-cache, to the same files', async () => {
    const before = await mbuild.build([context]);
    const again = await mbuild.build(['--no-cache', context]);
    expect(instructionSteps(again.steps).some((step) => step.cached)).toBe(false);
    expect(instructionSteps(again.steps)).toHaveLength(instructionSteps(before.steps).length);
  });

  it('takes the store from --root before MBUILD_ROOT, and makes it for its owner alone', async () => {
    const root = join(temp.dir(), 'made', 'here');
    expect(await mbuild.ok(['--root', root, 'images', '-q'])).toBe('');
    const result = await mbuild.run(['build', '--root', root, context]);
    expect(result.code).toBe(1); // small-base is in the other store
    expect(existsSync(root)).toBe(true);
  });

  it('keeps the network away with --network none', async () => {
    writeFiles(context, {
      'net.Dockerfile':
        'FROM small-base\nRUN cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d " " > /interfaces\nCMD ["cat", "/interfaces"]\n',
    });
    await mbuild.build([
      '--network',
      'none',
      '-f',
      join(context, 'net.Dockerfile'),
      '-t',
      'net',
      context,
    ]);
    expect((await mbuild.run(['run', '--rm', 'net'])).stdout).toBe('lo\n');
  });

  it('reads a Dockerfile out of a pipe, and waits for none that nobody writes to', async () => {
    const dir = writeFiles(temp.dir('piped'), {
      'real.Dockerfile': 'FROM small-base\nLABEL piped=yes\n',
    });
    execFileSync('mkfifo', [join(dir, 'Dockerfile')]);
    expect(await mbuild.run(['build', dir])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('[DOCKERFILE_EMPTY]') as string,
    });
    execFileSync(
      'bash',
      ['-c', '"$0" build -q -t piped -f <(sleep 0.1; cat real.Dockerfile) .', MBUILD],
      { cwd: dir, env: { PATH: process.env['PATH'], MBUILD_ROOT: mbuild.root } },
    );
    expect((await mbuild.inspect('piped')).Config.Labels).toEqual({ piped: 'yes' });
  });

  it.each([
    [
      'a Dockerfile that is a link to itself',
      ['build', '-f', 'loop', '.'],
      1,
      'DOCKERFILE_NOT_FOUND',
    ],
    [
      'a folder to write to that is a file',
      ['build', '-o', 'type=local,dest=Dockerfile', '.'],
      125,
      'USAGE',
    ],
    [
      'a folder to write to in which nothing can be made',
      ['build', '-o', 'type=local,dest=/proc/out', '.'],
      125,
      'USAGE',
    ],
    [
      'a store in which nothing can be made',
      ['--root', '/proc/store/deep', 'images'],
      1,
      'STORE_UNUSABLE',
    ],
    [
      'a volume where nothing can be made',
      ['run', '--rm', '-v', '/proc/volume:/v', 'small-base', 'true'],
      125,
      'USAGE',
    ],
    [
      'a secret that is not there, though no step asks for it',
      ['build', '--secret', 'id=x,src=/no/such/file', '.'],
      1,
      'SECRET_MISSING',
    ],
    [
      'a repository that cannot be reached',
      ['build', 'https://127.0.0.1:1/x.git'],
      1,
      'GIT_FAILED',
    ],
    [
      'a context to list that is not there',
      ['context', 'ls', '/no/such/folder'],
      1,
      'CONTEXT_NOT_FOUND',
    ],
    [
      'a working directory of a container that leads nowhere',
      ['run', '--rm', '-w', 'here', 'small-base', 'true'],
      125,
      'USAGE',
    ],
    [
      'a filter of prune that does not exist, before it asks',
      ['prune', '--filter', 'foo=bar'],
      125,
      'USAGE',
    ],
    [
      'a time of prune that is none, before it asks',
      ['builder', 'prune', '--filter', 'until=abc'],
      125,
      'USAGE',
    ],
  ])('refuses %s with the way out', async (_, args, code, errorCode) => {
    const dir = writeFiles(temp.dir('refused'), { Dockerfile: 'FROM small-base\n' });
    symlinkSync('loop', join(dir, 'loop'));
    const result = await mbuild.run(args, { cwd: dir });
    expect(result).toMatchObject({
      code,
      stdout: '',
      stderr: expect.stringContaining(`[${errorCode}] hint: `) as string,
    });
  });

  it('leaves a folder that cannot be a store as it was', async () => {
    const dir = writeFiles(temp.dir('unusable'), { 'ground.json': '{"marks":"others"}' });
    expect(await mbuild.run(['--root', dir, 'images'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('[STORE_UNUSABLE]') as string,
    });
    expect(readdirSync(dir)).toEqual(['ground.json']);
  });

  it('refuses an invalid name before it builds', async () => {
    const result = await mbuild.run(['build', '-t', 'team/UPPER', '.'], { cwd: context });
    expect(result.code).not.toBe(0);
    expect(result.stderr).toContain('team/UPPER');
    expect(result.stderr).not.toMatch(/^#/m);
  });

  it.each([
    [['build', '--tga', 'x', '.'], /--tga[\s\S]*--tag/],
    [['bulid', '.'], /bulid[\s\S]*build/],
    [['build'], /requires 1 argument/],
    [['build', '.', 'extra'], /extra|one|argument/],
    [['build', '--output', 'type=nonsense', '.'], /nonsense/],
    [['build', '--progress', 'fancy', '.'], /fancy/],
  ])('%j is refused as a mistake of usage', async (args, message) => {
    const result = await mbuild.run(args, { cwd: context });
    expect(result.code).toBe(125);
    expect(result.stderr).toMatch(message);
    expect(result.stdout).toBe('');
  });
});
