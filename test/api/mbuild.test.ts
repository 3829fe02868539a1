import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Mbuild, build, isMbuildError, type BuildEvent } from '../../src/index';
import { smallBaseTar } from '../support/bases';
import { cleanEnv, command } from '../support/command';
import { REPOSITORY } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { noRegistry, startRegistry } from '../support/registry';
import { openToOthers, useTemp, writeFiles } from '../support/temp';

const DOCKERFILE = 'FROM small-base\nCOPY a /a\nRUN echo built; cat /a > /b\n';

describeWith('the library', { root: true }, () => {
  const temp = useTemp();
  let root: string;
  let context: string;
  let mbuild: Mbuild;

  beforeAll(async () => {
    root = temp.dir('store');
    context = writeFiles(temp.dir('context'), { Dockerfile: DOCKERFILE, a: 'one\n' });
    const tar = smallBaseTar(temp.dir('base'));
    const made = await command(join(REPOSITORY, 'bin/mbuild'), ['import', tar, 'small-base'], {
      env: cleanEnv({ MBUILD_ROOT: root }),
    });
    expect(made.stderr).toBe('');
    mbuild = await Mbuild.open({ root, env: cleanEnv() });
  });
  afterAll(async () => mbuild?.close());

  const fromText = (text: string) => ({ context, dockerfile: { text } });

  it('builds, tells what happens, and knows why it did', async () => {
    const events: BuildEvent[] = [];
    const options = { context, tags: ['app'], labels: { a: 'b,c' } };
    const made = await mbuild.build(options, { onEvent: (event) => events.push(event) });
    expect(made).toMatchObject({ names: ['docker.io/library/app:latest'], cache: { misses: 2 } });
    const output = events.flatMap((event) => (event.kind === 'log' ? [event.data] : []));
    expect(Buffer.concat(output).toString()).toBe('built\n');
    expect(events.filter(({ kind }) => kind === 'failed')).toEqual([]);

    writeFileSync(join(context, 'a'), 'two!\n');
    await expect(mbuild.plan(options)).resolves.toMatchObject({ hits: 0, misses: 2 });
    await mbuild.build(options);
    const { steps } = await mbuild.explain();
    expect(steps[0]?.causes).toMatchObject([{ kind: 'file', path: 'a', change: 'content' }]);
    await expect(mbuild.inspect('app')).resolves.toMatchObject({
      RepoTags: ['app:latest'],
      Config: { Labels: { a: 'b,c' } },
    });
    await expect(mbuild.images({ filters: ['reference=app'] })).resolves.toMatchObject([
      { names: ['app:latest'], labels: { a: 'b,c' } },
    ]);
  });

  it('runs a command with input, and a failing one is a result', async () => {
    await mbuild.build({ context, tags: ['app'] });
    const command = ['sh', '-c', 'cat; cat /b >&2; exit 3'];
    const result = await mbuild.run('app', { command, input: 'hello' });
    expect(result.exitCode).toBe(3);
    expect(Buffer.from(result.stdout).toString()).toBe('hello');
    expect(Buffer.from(result.stderr).toString()).toBe(readFileSync(join(context, 'a'), 'utf8'));
  });

  it('saves, loads and prunes', async () => {
    const archive = join(temp.dir(), 'x.tar');
    const { imageId } = await mbuild.build({ ...fromText('FROM scratch\nCOPY a /'), tags: ['x'] });
    await mbuild.save(['x'], { dest: archive, format: 'oci' });
    await mbuild.build({ ...fromText('FROM scratch\nCOPY a /moved'), tags: ['x'] });
    const pruned = await mbuild.prune();
    expect(pruned.images).toContain(imageId);
    expect(pruned.bytes).toBeGreaterThan(0);
    await expect(mbuild.load(readFileSync(archive))).resolves.toEqual([
      { id: imageId, names: ['x:latest'] },
    ]);
  });

  it('builds what is given as bytes', async () => {
    const archive = join(temp.dir(), 'context.tar');
    const tar = ['--create', '--file', archive, '-C', context, '.'];
    expect((await command('tar', tar)).code).toBe(0);
    const made = await mbuild.build({ context: readFileSync(archive) });
    expect(made.steps.map(({ line }) => line)).toEqual([2, 3]);
    await expect(
      mbuild.build({ ...fromText('FROM scratch'), context: Buffer.alloc(0) }),
    ).rejects.toMatchObject({ code: 'USAGE' });
  });

  it('errors are as the command line shows them', async () => {
    await expect(mbuild.build(fromText('FROM scratch\nCOPPY a /\n'))).rejects.toMatchObject({
      name: 'MbuildError',
      code: 'UNKNOWN_INSTRUCTION',
      hint: 'did you mean "COPY"?',
      range: { start: { line: 2 } },
    });
    await expect(mbuild.inspect('nothing')).rejects.toMatchObject({ code: 'IMAGE_NOT_FOUND' });
    await expect(mbuild.build({ flags: ['--nope'] })).rejects.toMatchObject({ code: 'USAGE' });
    await expect(Mbuild.open({ root: '/proc/x' })).rejects.toMatchObject({
      code: 'STORE_UNUSABLE',
    });
    await expect(Mbuild.open({ isolation: 'x' })).rejects.toMatchObject({ code: 'USAGE' });
    await expect(Mbuild.open({ snapshotter: 'x' })).rejects.toMatchObject({ code: 'USAGE' });
  });

  it('a build stops when its signal says so, and others go on', async () => {
    const controller = new AbortController();
    const slow = mbuild.build(fromText('FROM small-base\nRUN echo started; sleep 1000\n'), {
      signal: controller.signal,
      onEvent: ({ kind }) => {
        if (kind === 'log') controller.abort();
      },
    });
    const other = mbuild.build(fromText('FROM small-base\nRUN sleep 1; echo other\n'));
    await expect(slow).rejects.toMatchObject({ code: 'CANCELED' });
    await expect(other).resolves.toMatchObject({ cache: { misses: 1 } });
    await expect(mbuild.build({ context }, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'CANCELED',
    });
  });

  it('what a listener throws ends its build alone', async () => {
    const thrown = new Error('of the listener');
    const onEvent = (): never => {
      throw thrown;
    };
    await expect(mbuild.build({ context, noCache: true }, { onEvent })).rejects.toBe(thrown);
    await expect(mbuild.build({ context })).resolves.toBeDefined();
  });

  it('a store that is closed refuses calls, and a process that is killed ends them', async () => {
    const closed = await Mbuild.open({ root, env: cleanEnv() });
    await closed.close();
    await closed.close();
    const error: unknown = await closed.images().catch((reason: unknown) => reason);
    expect(isMbuildError(error)).toBe(true);
    expect(String(error)).toContain('exit code 0');
  });

  it('build() opens, builds and closes', async () => {
    const store = { root, env: cleanEnv() };
    await expect(build({ context, store })).resolves.toMatchObject({ cache: { hits: 2 } });
  });

  it('a program that forgets close() ends all the same', async () => {
    const script = `const { Mbuild } = require(${JSON.stringify(join(REPOSITORY, 'dist/index.cjs'))});
      Mbuild.open({ root: ${JSON.stringify(root)} }).then((m) => m.images()).then((all) => console.log(all.length > 0));`;
    const result = await command(process.execPath, ['-e', script]);
    expect(result).toEqual({ code: 0, stdout: 'true\n', stderr: '' });
  });
});

describeWith('the library and a registry', { root: true, also: noRegistry }, () => {
  const temp = useTemp();

  it('pushes and pulls', async () => {
    const registry = await startRegistry();
    const mbuild = await Mbuild.open({ root: temp.dir('store'), env: cleanEnv() });
    try {
      const name = `${registry.host}/team/app:1`;
      await mbuild.build({
        context: temp.dir(),
        dockerfile: { text: 'FROM scratch\nLABEL a=b' },
        tags: [name],
      });
      const [pushed] = await mbuild.push(name);
      expect(pushed).toMatchObject({ name, changed: true });
      await mbuild.prune({ all: true });
      const items: string[] = [];
      const pulled = await mbuild.pull(
        name,
        {},
        {
          onEvent: (event) => {
            if (event.kind === 'status') items.push(event.state);
          },
        },
      );
      expect(pulled).toEqual([{ name, descriptor: pushed?.descriptor, changed: true }]);
    } finally {
      await mbuild.close();
      await registry.stop();
    }
  });
});

describeWith(
  'the library of an ordinary user',
  { root: true, programs: ['setpriv', 'unshare'] },
  () => {
    const temp = useTemp();

    it('works in a user namespace, or says what is missing', async () => {
      const home = temp.dir('home');
      openToOthers(home);
      await command('chown', ['12345:12345', home]);
      const script = `const { Mbuild } = require(${JSON.stringify(join(REPOSITORY, 'dist/index.cjs'))});
      (async () => {
        const m = await Mbuild.open({ root: ${JSON.stringify(join(home, 'store'))}, cwd: ${JSON.stringify(home)} });
        const made = await m.build({ dockerfile: { text: 'FROM scratch\\nWORKDIR /w\\n' }, tags: ['x'] });
        console.log((await m.images()).map(({ names }) => names).join());
        await m.close();
      })();`;
      const drop = ['--reuid', '12345', '--regid', '12345', '--clear-groups'];
      const result = await command('setpriv', [...drop, process.execPath, '-e', script], {
        env: cleanEnv({ HOME: home, TMPDIR: home }),
      });
      expect(result).toEqual({ code: 0, stdout: 'x:latest\n', stderr: '' });
    });
  },
);
