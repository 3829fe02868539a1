import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBaseTar } from '../support/bases';
import { cleanEnv, command, succeed } from '../support/command';
import { REPOSITORY } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

/** What `npm pack` reads of a checkout. */
const SOURCES = ['package.json', 'tsconfig.json', 'README.md', 'LICENSE', 'CHANGELOG.md'];
const EXAMPLES = join(REPOSITORY, 'docs/examples');

const COMPILER_OPTIONS = {
  target: 'es2022',
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  // Types of the package itself are checked, too.
  skipLibCheck: false,
  types: ['node'],
  rootDir: '.',
};

interface Packed {
  readonly filename: string;
  readonly size: number;
  readonly unpackedSize: number;
  readonly files: readonly { readonly path: string }[];
}

/** Takes the names of packages from the registry, so a machine without one can't do this. */
const noNpmRegistry = (): string | undefined =>
  process.env['npm_config_offline'] === 'true' ? 'npm is offline' : undefined;

describeWith('the packed package', { root: true, also: noNpmRegistry }, () => {
  const temp = useTemp();
  const npmEnv = cleanEnv({
    HOME: process.env['HOME'] ?? '/root',
    npm_config_update_notifier: 'false',
  });
  let packed: Packed;
  let project: string;

  beforeAll(async () => {
    // A copy: `prepack` compiles, and other tests run what is compiled here.
    const checkout = temp.dir('checkout');
    for (const name of SOURCES) cpSync(join(REPOSITORY, name), join(checkout, name));
    for (const name of ['src', 'bin', 'test/support'])
      cpSync(join(REPOSITORY, name), join(checkout, name), { recursive: true });
    symlinkSync(join(REPOSITORY, 'node_modules'), join(checkout, 'node_modules'));
    mkdirSync(join(checkout, 'dist'));
    const output = await succeed('npm', ['pack', '--json'], { cwd: checkout, env: npmEnv });
    packed = (JSON.parse(output) as [Packed])[0];

    project = writeFiles(temp.dir('project'), {
      'package.json': JSON.stringify({ name: 'consumer', private: true }),
      'esm/package.json': JSON.stringify({ type: 'module' }),
      'cjs/package.json': JSON.stringify({ type: 'commonjs' }),
    });
    for (const kind of ['esm', 'cjs']) {
      cpSync(EXAMPLES, join(project, kind), { recursive: true });
      const options = { ...COMPILER_OPTIONS, module: 'nodenext', outDir: 'out' };
      writeFileSync(
        join(project, kind, 'tsconfig.json'),
        JSON.stringify({ compilerOptions: options }),
      );
      writeFiles(join(project, kind), {
        'out/package.json': readFileSync(join(project, kind, 'package.json')),
      });
    }
    await succeed(
      'npm',
      [
        'install',
        '--ignore-scripts',
        '--no-audit',
        '--no-fund',
        '--prefer-offline',
        join(checkout, packed.filename),
        'typescript@5.9.3',
        '@types/node@20',
      ],
      { cwd: project, env: npmEnv },
    );
  }, 300_000);

  it('holds what runs and nothing else', () => {
    const paths = packed.files.map(({ path }) => path);
    const expected =
      /^(package\.json|README\.md|LICENSE|CHANGELOG\.md|bin\/|dist\/share\/|dist\/(late\/[a-z0-9-]+|[a-z]+)\.cjs$)/;
    expect(paths.filter((path) => !expected.test(path)).sort()).toEqual([
      'dist/THIRD_PARTY_LICENSES.txt',
      'dist/gzip.wasm',
      'dist/index.d.mts',
      'dist/index.d.ts',
      'dist/index.mjs',
    ]);
    expect(paths).toContain('dist/main.cjs');
  });

  it('has the size that README states', () => {
    const readme = readFileSync(join(REPOSITORY, 'README.md'), 'utf8');
    const [, size, unpacked] = /about ([\d.]+) MB \(([\d.]+) MB unpacked\)/.exec(readme) ?? [];
    const off = (bytes: number, stated: unknown) => Math.abs(bytes / 1e6 / Number(stated) - 1);
    expect(off(packed.size, size)).toBeLessThan(0.2);
    expect(off(packed.unpackedSize, unpacked)).toBeLessThan(0.2);
  });

  it('brings koffi with it and nothing besides', () => {
    const installed = readdirSync(join(project, 'node_modules')).filter(
      (name) => !name.startsWith('.'),
    );
    expect(installed.sort()).toEqual([
      '@koromix',
      '@types',
      'koffi',
      'mbuild',
      'typescript',
      'undici-types',
    ]);
  });

  const compilers = [
    ['TypeScript 5', () => join(project, 'node_modules/typescript/bin/tsc')],
    ['TypeScript 7', () => join(REPOSITORY, 'node_modules/typescript/bin/tsc')],
  ] as const;
  describe.each(compilers)('with %s', (_, compiler) => {
    it.each(['esm', 'cjs'])('the examples compile as %s and run', async (kind) => {
      const home = join(project, kind);
      const compiled = await command(process.execPath, [compiler(), '-p', home]);
      expect(compiled).toEqual({ code: 0, stdout: '', stderr: '' });

      const root = temp.dir('store');
      const env = cleanEnv({ MBUILD_ROOT: root });
      const mbuild = join(project, 'node_modules/.bin/mbuild');
      const tar = smallBaseTar(temp.dir('base'));
      await succeed(mbuild, ['import', tar, 'small-base'], { env });
      const context = writeFiles(temp.dir('context'), {
        Dockerfile: 'FROM small-base\nCOPY a /a\nRUN cat /a\n',
        a: `hello ${kind}\n`,
      });
      const run = (name: string, ...args: string[]) =>
        command(process.execPath, [join(home, 'out', `${name}.js`), context, ...args], { env });

      const plan = await run('plan-in-ci');
      expect(plan).toMatchObject({ code: 0, stdout: 'runner=large\n' });
      expect(plan.stderr).toContain('COPY a /a');
      const built = await run('build-with-events', 'app');
      expect(built).toMatchObject({ code: 0, stderr: '' });
      expect(built.stdout).toContain(`hello ${kind}\n`);
      expect(built.stdout).toMatch(/\napp is sha256:[0-9a-f]{64}; the cache saved 0 s\n$/);
      await expect(run('plan-in-ci')).resolves.toMatchObject({ stdout: 'runner=small\n' });
      const shown = await run('progress-view');
      expect(shown.stderr).toContain('done [3/3] RUN cat /a');
    });
  });
});
