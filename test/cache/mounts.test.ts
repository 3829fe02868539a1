import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { noRegistry, startRegistry } from '../support/registry';
import { useTemp, writeFiles } from '../support/temp';

describeWith('cache mounts', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
  });

  /** Runs a command with a cache under /c. */
  function run(command: string, on = mbuild): Promise<unknown> {
    return on.build([writeFiles(temp.dir('context'), { Dockerfile: `FROM small-base\nRUN --mount=type=cache,id=the/../id,target=/c ${command} # ${Math.random()}\n` })]);
  }

  it('are listed by their id with what they hold', async () => {
    await run('mkdir /c/d; echo 12345 > /c/d/file; chown 1000:44 /c/d/file; ln -s d/file /c/link');
    expect(await mbuild.ok(['cache-mount', 'ls', '--format', '{{.ID}} {{.Files}} {{.Bytes}} {{.InUse}}'])).toBe('the/../id 2 6 false');
  });

  it('go to another store with owners, links and modes', async () => {
    const file = join(temp.dir('export'), 'cache.tar.gz');
    await mbuild.ok(['cache-mount', 'export', 'the/../id', '-o', file]);
    const other = new Mbuild(temp.dir('other'));
    await smallBase(other);
    await other.ok(['cache-mount', 'import', 'the/../id', file]);
    await run('test "$(cat /c/link)" = 12345 && test "$(stat -c %u:%g /c/d/file)" = 1000:44', other);
    await run('echo more > /c/more', other);
    await other.ok(['cache-mount', 'import', 'the/../id', file]);
    await run('test ! -e /c/more', other);
  });

  it('go through a registry by name', async () => {
    if (noRegistry() !== undefined) return console.log(`skipped: ${noRegistry()}`);
    const registry = await startRegistry();
    try {
      const ref = `${registry.host}/mounts:one`;
      expect(await mbuild.ok(['cache-mount', 'export', 'the/../id', '--ref', ref])).toMatch(/^sha256:[0-9a-f]{64}$/);
      const other = new Mbuild(temp.dir('other'));
      await smallBase(other);
      await other.ok(['cache-mount', 'import', 'the/../id', '--ref', ref]);
      await run('test "$(cat /c/link)" = 12345 && test "$(stat -c %u:%g /c/d/file)" = 1000:44', other);
      await other.ok(['tag', 'small-base', `${registry.host}/image`]);
      await other.ok(['push', `${registry.host}/image`]);
      const refused = await other.run(['cache-mount', 'import', 'the/../id', '--ref', `${registry.host}/image`]);
      expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('/image:latest is no cache mount')]);
      await run('test -e /c/link', other);
      expect((await other.run(['cache-mount', 'import', 'x', '--ref', `${registry.host}/none`])).stderr).toContain('IMAGE_NOT_FOUND');
    } finally {
      await registry.stop();
    }
  });

  it('begin empty with --no-cache-mounts, are shared by the steps of that build, and stay as they were', async () => {
    const context = writeFiles(temp.dir('context'), { Dockerfile: `FROM small-base
RUN --mount=type=cache,id=the/../id,target=/c test ! -e /c/link && touch /c/fresh # ${Math.random()}
RUN --mount=type=cache,id=the/../id,target=/c test -e /c/fresh
` });
    await mbuild.build(['--no-cache-mounts', context]);
    await run('test -e /c/link && test ! -e /c/fresh');
    expect(readdirSync(join(mbuild.root, 'tmp'))).toEqual([]);
  });

  it('are as they were when an archive is broken, and nothing of it stays', async () => {
    const file = join(temp.dir('broken'), 'broken.tar');
    writeFileSync(file, 'this is no archive');
    expect((await mbuild.run(['cache-mount', 'import', 'the/../id', file])).code).toBe(1);
    await run('test -e /c/link');
    expect(readdirSync(join(mbuild.root, 'tmp'))).toEqual([]);
  });

  it('are deleted by id, and not while a step uses them', async () => {
    const running = run('touch /c/running; sleep 2');
    const inUse = async (): Promise<boolean> => (await mbuild.ok(['cache-mount', 'ls', '--format', '{{.InUse}}'])).includes('true');
    while (!(await inUse())) await new Promise((resolve) => { setTimeout(resolve, 50); });
    const refused = await mbuild.run(['cache-mount', 'prune', 'the/../id']);
    expect(refused.stderr).toContain('the cache mount the/../id is in use by a step');
    await running;
    expect((await mbuild.run(['cache-mount', 'prune', 'no-such'])).code).toBe(125);
    expect((await mbuild.run(['cache-mount', 'prune'])).code).toBe(125);
    expect(await mbuild.ok(['cache-mount', 'prune', 'the/../id'])).toBe('the/../id\nTotal reclaimed space: 6B');
    await run('test -z "$(ls /c)"');
  });
});
