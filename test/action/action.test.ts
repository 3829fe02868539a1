import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { INPUTS, listOf, readCall } from '../../src/action/inputs';
import { smallBase } from '../support/bases';
import { cleanEnv, command, type CommandResult } from '../support/command';
import { Mbuild, REPOSITORY } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { noRegistry, startRegistry, type TestRegistry } from '../support/registry';
import { useTemp, writeFiles } from '../support/temp';

const action = parse(readFileSync(join(REPOSITORY, 'action.yml'), 'utf8')) as {
  readonly inputs: Readonly<Record<string, object>>;
  readonly outputs: Readonly<Record<string, object>>;
  readonly runs: { readonly using: string; readonly main: string };
};

describe('inputs of the action', () => {
  test('action.yml declares what the code reads', () => {
    expect(Object.keys(action.inputs).sort()).toEqual(Object.keys(INPUTS).sort());
    expect(action.runs).toEqual({ using: 'node24', main: 'dist/action.cjs' });
  });

  test.each([
    ['a\nb, c\n\n', true, ['a', 'b', 'c']],
    ['A=1,2\nB=3', false, ['A=1,2', 'B=3']],
    ['type=local,dest=x\r\n"K=a\nb ""q"""', false, ['type=local,dest=x', 'K=a\nb "q"']],
    ['KEY="quoted"', false, ['KEY="quoted"']],
  ])('the list %j (commas: %s)', (text, commas, expected) => {
    expect(listOf(text, commas)).toEqual(expected);
  });

  test('a quote that is never closed is an error', () => {
    expect(() => listOf('"a\nb', false)).toThrow('a quote is open at the end of a list');
  });

  test('without a context it builds the repository at the commit, with the token', () => {
    const call = readCall({
      GITHUB_REPOSITORY: 'o/r',
      GITHUB_REF: 'refs/heads/main',
      GITHUB_SHA: 'abc',
      'INPUT_GITHUB-TOKEN': 'ghs_1',
    });
    expect(call.argv.at(-1)).toBe('https://github.com/o/r.git#abc');
    expect(call.argv).toContain('--secret=id=GIT_AUTH_TOKEN.github.com,env=MBUILD_ACTION_SECRET_0');
    expect(call.env).toEqual({ MBUILD_ACTION_SECRET_0: 'ghs_1' });
  });

  test('of a pull request it builds the merge', () => {
    const env = { GITHUB_REPOSITORY: 'o/r', GITHUB_REF: 'refs/pull/7/merge', GITHUB_SHA: 'abc' };
    expect(readCall(env).argv.at(-1)).toBe('https://github.com/o/r.git#refs/pull/7/merge');
  });

  test('a switch that is neither true nor false is an error', () => {
    expect(() => readCall({ INPUT_CONTEXT: '.', INPUT_PUSH: 'yes' })).toThrow(
      'the input push is "yes"',
    );
  });
});

describeWith('the action', { root: true, also: noRegistry }, () => {
  const temp = useTemp();
  let registry: TestRegistry;
  let store: string;
  let tree: string;

  beforeAll(async () => {
    registry = await startRegistry();
    store = temp.dir('store');
    await smallBase(new Mbuild(store));
    // What GitHub checks out of a release's tag.
    tree = temp.dir('action');
    execFileSync('node', [join(REPOSITORY, 'test/support/action-tree.mjs'), tree]);
  });
  afterAll(async () => registry?.stop());

  /** A job's step, as the runner runs it: inputs in variables, results in files. */
  async function step(
    inputs: Readonly<Record<string, string>>,
    files: Readonly<Record<string, string>>,
  ): Promise<
    CommandResult & { readonly outputs: Record<string, string>; readonly summary: string }
  > {
    const workspace = writeFiles(temp.dir('workspace'), files);
    const runner = writeFiles(temp.dir('runner'), {
      output: '',
      summary: '',
      env: '',
      'temp/': '',
    });
    const given = Object.fromEntries(
      Object.keys(action.inputs).map((name) => [`INPUT_${name.toUpperCase()}`, inputs[name] ?? '']),
    );
    const result = await command('node', [join(tree, action.runs.main)], {
      cwd: workspace,
      env: cleanEnv({
        ...given,
        MBUILD_ROOT: store,
        CI: 'true',
        GITHUB_ACTIONS: 'true',
        GITHUB_WORKSPACE: workspace,
        GITHUB_OUTPUT: join(runner, 'output'),
        GITHUB_STEP_SUMMARY: join(runner, 'summary'),
        GITHUB_ENV: join(runner, 'env'),
        RUNNER_TEMP: join(runner, 'temp'),
      }),
    });
    expect(readdirSync(join(runner, 'temp'))).toEqual([]);
    expect(readFileSync(join(runner, 'env'), 'utf8')).toBe('');
    return {
      ...result,
      outputs: outputsOf(readFileSync(join(runner, 'output'), 'utf8')),
      summary: readFileSync(join(runner, 'summary'), 'utf8'),
    };
  }

  it('builds, pushes each tag and tells id, digest and metadata', async () => {
    const tag = `${registry.host}/team/app`;
    const { code, stderr, stdout, outputs, summary } = await step(
      {
        context: '.',
        file: 'docker/Dockerfile',
        tags: `${tag}:1,${tag}:latest`,
        push: 'true',
        labels: 'a=1, 2\nb=3',
        'build-args': 'WHO=me, you',
        secrets: '"TOKEN=hunter2\nsecond line"',
        platforms: 'linux/amd64',
        'cache-to': `type=registry,ref=${tag}:cache,mode=max`,
      },
      {
        'docker/Dockerfile':
          'FROM small-base\nARG WHO\nRUN --mount=type=secret,id=TOKEN echo "for $WHO: $(cat /run/secrets/TOKEN)" | tee /who\n',
      },
    );
    expect([code, stderr]).toEqual([0, expect.stringContaining('::group::')]);
    expect(stdout).toBe('::add-mask::hunter2\n::add-mask::second line\n');
    expect(stderr).toContain('for me, you: ***');
    expect(stderr).not.toContain('hunter2');
    expect(summary).toContain('### mbuild:');
    const answer = await fetch(`http://${registry.host}/v2/team/app/manifests/latest`, {
      headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
    });
    expect(answer.headers.get('docker-content-digest')).toBe(outputs['digest']);
    expect(outputs['imageid']).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(JSON.parse(outputs['metadata'] ?? '')).toMatchObject({
      'containerimage.digest': outputs['digest'],
      'containerimage.config.digest': outputs['imageid'],
    });
    const config = (await (
      await fetch(`http://${registry.host}/v2/team/app/blobs/${outputs['imageid']}`)
    ).json()) as { config: { Labels: object } };
    expect(config.config.Labels).toMatchObject({ a: '1, 2', b: '3' });
  });

  it('hands outputs on: files in the workspace', async () => {
    const { code, outputs } = await step(
      { context: '.', outputs: 'type=local,dest=out' },
      { Dockerfile: 'FROM scratch\nCOPY a.txt /\n', 'a.txt': 'a' },
    );
    expect([code, outputs['imageid']]).toEqual([0, '']);
  });

  it('fails with an annotation, and without outputs', async () => {
    const { code, stderr, outputs, summary } = await step(
      { context: '.' },
      { Dockerfile: 'FROM small-base\nRUN exit 4\n' },
    );
    expect([code, outputs]).toEqual([1, {}]);
    expect(stderr).toMatch(/^::error file=Dockerfile,line=2,/m);
    expect(summary).toContain('the build failed');
  });

  it('an input that makes no sense is an annotation', async () => {
    const { code, stdout } = await step({ context: '.', load: 'maybe' }, { Dockerfile: '' });
    expect([code, stdout]).toEqual([
      1,
      '::error title=USAGE::the input load is "maybe"%0Awrite true or false\n',
    ]);
  });

  it('call=check tells what it finds, and builds nothing', async () => {
    const { code, stdout, stderr } = await step(
      { context: '.', call: 'check' },
      { Dockerfile: 'FROM scratch\nMAINTAINER me\n' },
    );
    expect([code, stdout]).toEqual([0, expect.stringContaining('MaintainerDeprecated')]);
    expect(stderr).toMatch(/^::warning file=Dockerfile,line=2/m);
  });

  it('the tree of a release has no file that nothing loads', () => {
    expect(existsSync(join(tree, 'node_modules/koffi/vendor'))).toBe(false);
    expect(existsSync(join(tree, 'dist/index.cjs'))).toBe(false);
  });
});

/** Reads GITHUB_OUTPUT as the runner does: `name<<END`, lines, `END`. */
function outputsOf(text: string): Record<string, string> {
  const outputs: Record<string, string> = {};
  const lines = text.split('\n');
  for (let at = 0; at < lines.length;) {
    const [, name, end] = /^([^<]+)<<(.+)$/.exec(lines[at] ?? '') ?? [];
    if (name === undefined || end === undefined) break;
    const close = lines.indexOf(end, at);
    outputs[name] = lines.slice(at + 1, close).join('\n');
    at = close + 1;
  }
  return outputs;
}
