import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ReplayReport, ReplayRun } from '../../src/bench/report';
import { cleanEnv, succeed } from '../support/command';
import { Mbuild, REPOSITORY } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp } from '../support/temp';

/** A repository with a working directory, whose commits are an hour apart. */
class Project {
  #commits = 0;

  constructor(readonly dir: string) {}

  static async create(dir: string, ...flags: string[]): Promise<Project> {
    const project = new Project(dir);
    await project.git('init', '-q', '-b', 'main', ...flags, '.');
    return project;
  }

  write(files: Readonly<Record<string, string>>): this {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(this.dir, name)), { recursive: true });
      writeFileSync(join(this.dir, name), text);
    }
    return this;
  }

  async commit(subject: string): Promise<void> {
    await this.git('add', '--all');
    await this.git('commit', '-q', '--allow-empty', '-m', subject);
  }

  async git(...args: string[]): Promise<string> {
    const date = `${1_700_000_000 + 3600 * this.#commits++} +0000`;
    const who = { GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@b', GIT_AUTHOR_DATE: date };
    return succeed('git', ['-c', 'gc.auto=0', ...args], {
      cwd: this.dir,
      env: cleanEnv({
        ...who,
        GIT_COMMITTER_NAME: 'a',
        GIT_COMMITTER_EMAIL: 'a@b',
        GIT_COMMITTER_DATE: date,
      }),
    });
  }
}

/** Bases are in no store, users are made by steps. */
const NEXT = `FROM node:20-alpine AS build
WORKDIR /app
COPY package.json ./
RUN npm ci
COPY . .
RUN npm run build
FROM node:20-alpine
RUN addgroup app && adduser -G app -D app
COPY --from=build --chown=app:app /app/dist $APP_HOME/dist
COPY --chown=node run.sh /run.sh
USER app
RUN id
`;

describeWith('bench replay of histories as projects have them', { programs: ['git'] }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;

  beforeAll(() => {
    mbuild = new Mbuild(temp.dir('store'));
  });

  async function replay(dir: string, ...args: string[]): Promise<ReplayReport> {
    const { stdout } = await mbuild.run(['bench', 'replay', '--format', 'json', ...args, dir]);
    return JSON.parse(stdout) as ReplayReport;
  }

  function only({ runs }: ReplayReport): ReplayRun {
    const [run] = runs;
    if (run === undefined) throw new Error('no run');
    return run;
  }

  async function nextProject(): Promise<Project> {
    const project = await Project.create(temp.dir('next'));
    project.write({ Dockerfile: NEXT, 'package.json': '{}\n', 'run.sh': '#!/bin/sh\n' });
    await project.commit('first');
    project.write({ 'src/a.js': 'a\n' });
    await project.commit('a source');
    project.write({ 'run.sh': '#!/bin/sh\necho\n' });
    await project.commit('a script');
    return project;
  }

  it('goes on where users, variables and bases are not known, and says what stands for itself', async () => {
    const { dir } = await nextProject();
    const report = await replay(dir, '--git', 'HEAD');
    const run = only(report);
    expect(run.totals).toMatchObject({ replayed: 3, refused: 0, unreadable: 0 });
    expect(run.commits.map(({ steps }) => steps.length)).toEqual([9, 9, 9]);
    expect(report.notes).toContain(
      'the image node:20-alpine is not in the store: its variables, users and triggers stand for themselves',
    );
    const unknown = run.instructions.flatMap((row) => row.unknown);
    expect(unknown).toEqual([
      '--chown=app:app stands for itself: an earlier step makes it',
      '--chown=node stands for itself: an earlier step makes it',
    ]);
    // Equal text on an equal tree is an equal key.
    const second = run.commits[1]?.steps.map(({ outcome }) => outcome.slice(0, 1)).join('');
    expect(second).toBe('hhhmmhmmm');
  });

  it('counts what a build refuses apart, in every format, and ends with 1 where nothing is left', async () => {
    const project = await Project.create(temp.dir('refused'));
    project.write({ Dockerfile: 'FROM base\nRUN a\nCOPY missing /\n' });
    await project.commit('a source is missing');
    project.write({ Dockerfile: 'FROM base\nNONSENSE\n' });
    await project.commit('a Dockerfile that does not parse');
    project.write({ Dockerfile: 'FROM base\nRUN a\n' });
    await project.commit('a good one');
    const run = only(await replay(project.dir, '--git', 'HEAD'));
    expect(run.totals).toMatchObject({ replayed: 1, refused: 2, hits: 1, misses: 0, hitRatio: 1 });
    expect(run.commits.map(({ problem }) => problem?.message)).toEqual([
      '"/missing" not found in the build context',
      expect.stringMatching(/NONSENSE/),
      undefined,
    ]);
    const text = await mbuild.ok(['bench', 'replay', '--git', 'HEAD', project.dir]);
    expect(text).toMatch(
      /^not replayed: 1 commit \([0-9a-f]{10}\): a build is refused: "\/missing"/m,
    );
    const csv = await mbuild.ok(['bench', 'replay', '--git', 'HEAD', '--format=csv', project.dir]);
    expect(csv).toMatch(/,refused,,,,"""\/missing"" not found in the build context"\r$/m);
    const html = await mbuild.ok(['bench', 'replay', '--git=HEAD', '--format=html', project.dir]);
    expect(html).toContain('2 commits that were not replayed and are not part of any sum');
    const nothing = await mbuild.run(['bench', 'replay', '--git', 'HEAD~1', project.dir]);
    expect(nothing.code).toBe(1);
    expect(nothing.stdout).toMatch(/^Dockerfile +local +0 +2 +0 +0 +0 +- /m);
  });

  it('takes contexts in sub-directories, several at once, and follows what was renamed and moved', async () => {
    const project = await Project.create(temp.dir('monorepo'));
    project.write({
      'base-image/Dockerfile': 'FROM base\nCOPY start.sh /\nRUN one\n',
      'base-image/start.sh': 'one\n',
      'web/Dockerfile': 'FROM base\nCOPY . /web\n',
      'web/a': 'a\n',
    });
    await project.commit('first');
    mkdirSync(join(project.dir, 'images'));
    renameSync(join(project.dir, 'base-image'), join(project.dir, 'images/base-image'));
    await project.commit('moved');
    project.write({ 'web/a': 'b\n' });
    await project.commit('web alone');
    const [images, web] = (
      await replay(
        project.dir,
        '--git=HEAD',
        '--build=images/base-image/Dockerfile@images/base-image',
        '--build=web/Dockerfile@web',
      )
    ).runs;
    expect(images?.totals).toMatchObject({ replayed: 3, hits: 4, misses: 2 });
    expect(web?.totals).toMatchObject({ replayed: 3, hits: 1, misses: 2 });
    const sub = only(await replay(project.dir, '--git=HEAD~1..', '--context', 'images/base-image'));
    expect(sub.totals).toMatchObject({ replayed: 1, misses: 2 });
    const either = only(
      await replay(
        project.dir,
        '--git=HEAD',
        '-f',
        'no/Dockerfile,web/Dockerfile',
        '--context=web',
      ),
    );
    expect(either.totals.replayed).toBe(3);
  });

  it('builds branches in turn: a policy may not see the cache of another', async () => {
    const project = await Project.create(temp.dir('branches'));
    project.write({ Dockerfile: 'FROM base\nCOPY a /\nRUN one\n', a: '0\n' });
    await project.commit('first');
    await project.git('checkout', '-q', '-b', 'side');
    project.write({ a: '1\n' });
    await project.commit('on the side');
    await project.git('checkout', '-q', 'main');
    await project.git('merge', '-q', '--no-ff', '-m', "Merge branch 'side'", 'side');
    const report = await replay(
      project.dir,
      '--git=HEAD',
      '--branches',
      '--policy=local',
      '--policy=gha',
    );
    expect(report.commits.map(({ branch }) => branch)).toEqual([undefined, 'side', undefined]);
    const [local, gha] = report.runs;
    expect(local?.commits.map(({ misses }) => misses)).toEqual([2, 2, 0]);
    expect(gha?.commits.map(({ misses }) => misses)).toEqual([2, 2, 2]);
    expect(gha?.rules).toEqual([expect.objectContaining({ rule: 'scope', misses: 2 })]);
    expect(gha?.checked).toMatch(/^unchecked: /);
    const line = await replay(project.dir, '--git=HEAD', '--every=2');
    expect(line.commits.map(({ subject }) => subject)).toEqual(["Merge branch 'side'"]);
  });

  it('reads bare repositories, those of SHA-256, and files of any size without reading them', async () => {
    const bare = temp.dir('bare');
    const { dir } = await nextProject();
    await succeed('git', ['clone', '-q', '--bare', dir, bare]);
    expect(only(await replay(bare, '--git=HEAD')).totals.replayed).toBe(3);
    const project = await Project.create(temp.dir('sha256'), '--object-format=sha256');
    project.write({ Dockerfile: 'FROM base\nCOPY . /\n', large: '' });
    truncateSync(join(project.dir, 'large'), 100 << 20);
    await project.commit('a large file');
    const run = only(await replay(project.dir, '--git=HEAD'));
    expect(run.totals.replayed).toBe(1);
    expect(run.totals.bytesRebuilt).toBeGreaterThan(100 << 20);
  });

  it('replays what a shallow clone has, and says what it lacks', async () => {
    const { dir } = await nextProject();
    const shallow = temp.dir('shallow');
    await succeed('git', ['clone', '-q', '--depth=2', `file://${dir}`, shallow]);
    expect(only(await replay(shallow, '--git=HEAD')).totals.replayed).toBe(2);
    const far = await mbuild.run(['bench', 'replay', '--git=HEAD~5..', shallow]);
    expect([far.code, far.stderr]).toEqual([1, expect.stringContaining('the clone is shallow')]);
    // Files that are not here are told by their ids, all but their sizes; what has to be read is missed.
    const partial = temp.dir('partial');
    await succeed('git', ['-C', dir, 'config', 'uploadpack.allowFilter', 'true']);
    await succeed('git', [
      'clone',
      '-q',
      '--no-checkout',
      '--filter=blob:none',
      `file://${dir}`,
      partial,
    ]);
    const lacking = only(await replay(partial, '--git=HEAD'));
    expect(lacking.totals).toMatchObject({ replayed: 0, unreadable: 3 });
    const fixed = join(temp.dir('fixed'), 'Dockerfile');
    writeFileSync(fixed, 'FROM base\nCOPY run.sh /\n');
    const told = await replay(partial, '--git=HEAD', '-f', `file:${fixed}`);
    expect(only(told).totals).toMatchObject({ replayed: 3, hits: 1, misses: 2 });
    expect(told.notes).toContainEqual(expect.stringContaining('are not in this clone'));
  });

  it.each([
    ['HEAD..HEAD', 'there are no commits in HEAD..HEAD', 'for the last fifty'],
    [
      'HEAD..HEAD~2',
      'there are no commits in HEAD..HEAD~2',
      'the older end comes first, HEAD~2..HEAD',
    ],
  ])('refuses the range %s', async (range, message, hint) => {
    const { dir } = await nextProject();
    const { code, stderr } = await mbuild.run(['bench', 'replay', '--git', range, dir]);
    expect([code, stderr]).toEqual([125, expect.stringContaining(message)]);
    expect(stderr).toContain(hint);
  });

  it('counts files of git LFS by what their pointers say', async () => {
    const project = await Project.create(temp.dir('lfs'));
    project.write({
      Dockerfile: 'FROM base\nCOPY *.bin /\n',
      '.gitattributes': '*.bin filter=lfs diff=lfs merge=lfs -text\n',
      'a.bin': `version https://git-lfs.github.com/spec/v1\noid sha256:${'a'.repeat(64)}\nsize 123456789\n`,
    });
    // What the pointers stand for is nowhere: they are put as they are.
    await project.git('-c', 'filter.lfs.clean=cat', '-c', 'filter.lfs.required=false', 'add', '-A');
    await project.git('-c', 'filter.lfs.clean=cat', 'commit', '-q', '-m', 'a pointer');
    const report = await replay(project.dir, '--git=HEAD');
    expect(only(report).totals.bytesRebuilt).toBe(123456789);
    expect(report.notes).toContainEqual(expect.stringMatching(/^git LFS keeps \*\.bin elsewhere/));
  });

  it('writes a patch that git applies, and whose effect is what was said', async () => {
    const project = await Project.create(temp.dir('patched'));
    const dockerfile = 'FROM node:20\nWORKDIR /app\nCOPY . .\nRUN npm ci\nRUN npm test\n';
    project.write({
      Dockerfile: dockerfile,
      'package.json': '{}\n',
      'README.md': '0\n',
      'a.js': '0',
    });
    await project.commit('first');
    for (let i = 1; i < 6; i++) {
      project.write({ 'a.js': `${i}\n` });
      await project.commit(`source ${i}`);
      project.write({ 'README.md': `${i}\n` });
      await project.commit(`text ${i}`);
    }
    const durations = join(temp.dir('times'), 'times.json');
    writeFileSync(durations, '{"RUN npm ci": 30, "RUN npm test": 10}');
    const patch = join(temp.dir('patch'), 'advice.patch');
    const flags = ['--git=HEAD', '--durations', durations];
    const before = only(await replay(project.dir, ...flags, '--write-advice', patch));
    const split = before.advice.find(({ kind }) => kind === 'split-copy');
    expect(split).toMatchObject({
      instruction: 'COPY . .',
      behind: 'RUN npm ci',
      proof: 'replayed',
    });
    expect(before.advice.map(({ kind }) => kind)).toContain('ignore');
    await project.git('apply', patch);
    expect(readFileSync(join(project.dir, 'Dockerfile'), 'utf8')).toBe(
      'FROM node:20\nWORKDIR /app\nCOPY package.json ./\nRUN --mount=type=cache,target=/root/.npm npm ci\nCOPY . .\nRUN npm test\n',
    );
    // The same history with the advised file alone: npm ci runs once.
    const advised = join(temp.dir('advised'), 'Dockerfile');
    writeFileSync(
      advised,
      dockerfile.replace('COPY . .\nRUN npm ci\n', 'COPY package.json ./\nRUN npm ci\nCOPY . .\n'),
    );
    const after = only(await replay(project.dir, ...flags, '-f', `file:${advised}`));
    expect(before.totals.secondsRebuilt - after.totals.secondsRebuilt).toBeCloseTo(
      split?.secondsSaved ?? 0,
      1,
    );
  });

  it('says nothing where an install reads more than its manifest', async () => {
    const project = await Project.create(temp.dir('scripts'));
    project.write({
      Dockerfile: 'FROM node:20\nWORKDIR /app\nCOPY . .\nRUN npm ci\n',
      'package.json': '{"scripts": {"postinstall": "node a.js"}}\n',
    });
    for (let i = 0; i < 5; i++) {
      project.write({ 'a.js': `${i}\n` });
      await project.commit(`source ${i}`);
    }
    const { advice } = only(await replay(project.dir, '--git=HEAD'));
    expect(advice.map(({ kind }) => kind)).toEqual(['cache-mount']);
  });

  it('gives no cache mount to downloads that later steps need', async () => {
    const project = await Project.create(temp.dir('go'));
    project.write({
      Dockerfile:
        'FROM golang:1\nWORKDIR /src\nCOPY go.mod go.sum ./\nRUN go mod download\nCOPY . .\nRUN go build\n',
      'go.mod': 'module a\n',
    });
    for (let i = 0; i < 5; i++) {
      project.write({ 'go.sum': `a v${i} h1:x\n` });
      await project.commit(`module ${i}`);
    }
    const { advice } = only(await replay(project.dir, '--git=HEAD'));
    expect(advice).toEqual([]);
  });

  it('prints what is known when a signal stops it', async () => {
    const project = await Project.create(temp.dir('long'));
    project.write({ Dockerfile: 'FROM base\nARG COMMIT\nRUN one\n' });
    await project.commit('first');
    const tree = (await project.git('rev-parse', 'HEAD^{tree}')).trim();
    // One commit on the other, as git fast-import makes them quickly.
    const commits = Array.from(
      { length: 20_000 },
      (_, i) =>
        `commit refs/heads/long\nmark :${i + 1}\ncommitter a <a@b> ${1_700_000_000 + i} +0000\ndata 1\nx\n${i === 0 ? '' : `from :${i}\n`}M 040000 ${tree} \n\n`,
    ).join('');
    const importer = spawn('git', ['-C', project.dir, 'fast-import', '--quiet'], {
      env: cleanEnv(),
    });
    importer.stdin.end(commits);
    await once(importer, 'close');
    const child = spawn(
      join(REPOSITORY, 'bin/mbuild'),
      [
        '--root',
        temp.dir('store'),
        'bench',
        'replay',
        '--git=long',
        '--build-arg=COMMIT=%H',
        project.dir,
      ],
      { env: cleanEnv(), stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let output = '';
    child.stdout.on('data', (data: Buffer) => (output += data.toString()));
    setTimeout(() => child.kill('SIGINT'), 2500);
    const [code] = (await once(child, 'close')) as [number];
    expect(code).toBe(130);
    expect(output).toMatch(/^\d+ commits of long, then the replay was stopped$/m);
    rmSync(project.dir, { recursive: true });
  }, 60_000);
});
