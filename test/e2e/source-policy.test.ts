import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { noRegistry, startRegistry, type TestRegistry } from '../support/registry';
import { useTemp, writeFiles } from '../support/temp';
import { file, startWebServer, type WebServer } from '../support/web-server';

describeWith('source policies', { root: true, also: noRegistry }, () => {
  const temp = useTemp();
  let registry: TestRegistry;
  let server: WebServer;
  let mbuild: Mbuild;

  beforeAll(async () => {
    registry = await startRegistry();
    server = await startWebServer();
    server.pages.set('/f', file('one'));
    server.pages.set('/g', file('two'));
    mbuild = new Mbuild(temp.dir('store'));
    for (const name of ['old', 'new']) {
      const context = writeFiles(temp.dir('context'), {
        Dockerfile: `FROM scratch\nCOPY f /f\nLABEL is=${name}\n`,
        f: name,
      });
      await mbuild.build(['--push', '-t', `${registry.host}/${name}:1`, context]);
    }
  });
  afterAll(async () => {
    await server?.stop();
    await registry?.stop();
  });

  const policy = (...rules: object[]): string => {
    const path = join(temp.dir('policy'), 'policy.json');
    writeFileSync(path, JSON.stringify({ version: 1, rules }));
    return path;
  };
  const rule = (action: string, identifier: string, updates?: object): object => ({
    action,
    selector: { identifier },
    updates,
  });
  const context = (dockerfile: string): string =>
    writeFiles(temp.dir('context'), { Dockerfile: dockerfile, here: '' });
  const refused = async (dockerfile: string, ...rules: object[]): Promise<string> => {
    const path = policy(...rules);
    const result = await mbuild.run(['build', '--source-policy-file', path, context(dockerfile)]);
    expect(result.code).toBe(1);
    return result.stderr;
  };

  it('refuse images of FROM, --from and named contexts, with the line', async () => {
    const deny = rule('DENY', `docker-image://${registry.host}/old*`);
    const message = `denies docker-image://${registry.host}/old:1: rule 1`;
    const from = await refused(`FROM ${registry.host}/old:1\n`, deny);
    expect(from).toContain(message);
    expect(from).toContain('NOT_ALLOWED');
    expect(from).toContain('Dockerfile:1');
    expect(
      await refused(`FROM scratch\nCOPY --from=${registry.host}/old:1 /f /\n`, deny),
    ).toContain(message);
    const named = await mbuild.run([
      ...['build', '--source-policy-file', policy(deny)],
      ...['--build-context', `base=docker-image://${registry.host}/old:1`],
      context('FROM base\n'),
    ]);
    expect(named.stderr).toContain(message);
    // A stage that is not needed uses nothing.
    await mbuild.build([
      ...['--source-policy-file', policy(deny)],
      context(`FROM ${registry.host}/old:1 AS unused\nFROM scratch\nCOPY here /\n`),
    ]);
  });

  it('put images in the place of others, which is what provenance tells', async () => {
    const convert = rule('CONVERT', `docker-image://${registry.host}/old:*`, {
      identifier: `docker-image://${registry.host}/new:\${1}`,
    });
    const metadata = join(temp.dir('out'), 'm.json');
    const tag = `${registry.host}/made:1`;
    await mbuild.build(
      [
        '--provenance=true',
        '--push',
        '--metadata-file',
        metadata,
        '-t',
        tag,
        context(`FROM ${registry.host}/old:1\n`),
      ],
      { env: { EXPERIMENTAL_BUILDKIT_SOURCE_POLICY: policy(convert) } },
    );
    expect((await mbuild.inspect(tag)).Config.Labels).toEqual({ is: 'new' });
    const format = '{{json .Provenance.SLSA.buildDefinition.resolvedDependencies}}';
    const materials = await mbuild.ok(['imagetools', 'inspect', tag, '--format', format]);
    expect(materials).toContain('/new@1');
    expect(materials).not.toContain('/old@1');
  });

  it('are held for files of ADD, also those that the cache has', async () => {
    const dockerfile = `FROM scratch\nADD ${server.url}/f /\n`;
    await mbuild.build([context(dockerfile)]);
    expect(await refused(dockerfile, rule('DENY', 'http*'))).toContain(`denies ${server.url}/f`);
    const wrong = `sha256:${createHash('sha256').update('another').digest('hex')}`;
    const pinned = rule('CONVERT', `${server.url}/f`, { attrs: { 'http.checksum': wrong } });
    expect(await refused(dockerfile, pinned)).toContain('CHECKSUM_MISMATCH');
    const dest = temp.dir('out');
    const moved = rule('CONVERT', `${server.url}/f`, { identifier: `${server.url}/g` });
    await mbuild.build(['--source-policy-file', policy(moved), '-o', dest, context(dockerfile)]);
    expect(readFileSync(join(dest, 'f'), 'utf8')).toBe('two');
    const other = rule('CONVERT', `${server.url}/f`, { identifier: 'docker-image://x' });
    expect(await refused(dockerfile, other)).toContain('a source of another kind');
  });

  it('are held for repositories and local contexts, and in bake', async () => {
    const git = 'FROM scratch\nADD https://example.invalid/a/b.git /\n';
    expect(await refused(git, rule('DENY', 'git://example.invalid/*'))).toContain(
      'denies git://example.invalid/a/b.git',
    );
    expect(await refused('FROM scratch\nCOPY here /\n', rule('DENY', 'local://*'))).toContain(
      'denies local://dockerfile',
    );
    expect(await refused('FROM scratch\nCOPY here /\n', rule('DENY', 'local://context'))).toContain(
      'denies local://context',
    );
    // What is not used is not asked about, as in BuildKit.
    await mbuild.build([
      ...['--source-policy-file', policy(rule('DENY', 'local://context'))],
      context(`FROM ${registry.host}/new:1\nWORKDIR /w\n`),
    ]);
    const baked = writeFiles(temp.dir('context'), {
      'docker-bake.hcl': 'target "default" {}\n',
      Dockerfile: `FROM ${registry.host}/old:1\n`,
    });
    const result = await mbuild.run(['bake'], {
      cwd: baked,
      env: { EXPERIMENTAL_BUILDKIT_SOURCE_POLICY: policy(rule('DENY', 'docker-image://*')) },
    });
    expect(result.stderr).toContain(`denies docker-image://${registry.host}/old:1`);
  });

  it('that cannot be read or evaluated refuse the build', async () => {
    const regex = { action: 'DENY', selector: { identifier: '.*', matchType: 'REGEX' } };
    expect(await refused('FROM scratch\nCOPY here /\n', regex)).toContain('UNSUPPORTED');
    const missing = await mbuild.run(['build', context('FROM scratch\nCOPY here /\n')], {
      env: { EXPERIMENTAL_BUILDKIT_SOURCE_POLICY: '/nonexistent/policy' },
    });
    expect(missing.stderr).toContain('cannot read the source policy /nonexistent/policy (ENOENT)');
  });
});
