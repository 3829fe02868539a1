// Bundles mbuild into dist/: `node test/support/bundle.mjs [--licenses]`.
// --licenses also writes the licenses of what is bundled, which the package has to carry.
import { build } from 'esbuild';
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const DIST = join(ROOT, 'dist');

/** What Node.js starts: the command line, worker threads, the sweeper. */
const PROGRAMS = ['src/cli/main.ts', 'src/worker.ts', 'src/sandbox/sweeper.ts'];

/**
 * Packages that few commands need. Each is a bundle of its own, dist/late/NAME.cjs, which is read when it is first imported:
 * a cached build reads none of them. Source files import them as always, by `await import('yaml')`.
 */
const LATE = [
  'undici',
  'yaml',
  'semver',
  'bcryptjs',
  'jsonc-parser',
  'fflate',
  'packageurl-js',
  // Caches in object stores, 1 MB each.
  '@aws-sdk/client-s3',
  '@azure/storage-blob',
  '@azure/identity',
];

/** Has a native library beside it, so it can't be bundled: npm installs it. */
const INSTALLED = ['koffi'];

const COMMON = {
  absWorkingDir: ROOT,
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  // Code out of V8's cache can't do `import()`: bin/start.cjs.
  supported: { 'dynamic-import': false },
  minifyWhitespace: true,
  minifySyntax: true,
  external: INSTALLED,
  // Its main file loads its parts in a way that no bundler sees.
  alias: { 'jsonc-parser': 'jsonc-parser/lib/esm/main.js' },
  logLevel: 'warning',
  metafile: true,
};

const isRelease = process.argv.includes('--licenses');
// A package holds no bundle of an earlier list; a program that runs meanwhile keeps its own.
if (isRelease) rmSync(join(DIST, 'late'), { recursive: true, force: true });
const results = await Promise.all([
  build({
    ...COMMON,
    entryPoints: PROGRAMS,
    outdir: DIST,
    entryNames: '[name]',
    outExtension: { '.js': '.cjs' },
    plugins: [lateBundles()],
  }),
  // The traces of an embedding program quote its lines.
  build({
    ...COMMON,
    minifyWhitespace: false,
    entryPoints: ['src/index.ts'],
    outfile: join(DIST, 'index.cjs'),
    plugins: [lateBundles()],
  }),
  // The GitHub action: action.yml.
  build({ ...COMMON, entryPoints: ['src/action/main.ts'], outfile: join(DIST, 'action.cjs') }),
  ...LATE.map((name) =>
    build({
      ...COMMON,
      stdin: { contents: `module.exports = require('${name}')`, resolveDir: ROOT },
      outfile: join(DIST, lateFile(name)),
    }),
  ),
]);
writeFileSync(join(DIST, 'index.mjs'), esModule());
const bundled = new Set(results.flatMap(({ metafile }) => Object.keys(metafile.inputs)));
if (isRelease) {
  writeFileSync(join(DIST, 'THIRD_PARTY_LICENSES.txt'), licensesOf(bundled));
  // Completions and the manual, out of the tables that --help is made of.
  rmSync(join(DIST, 'share'), { recursive: true, force: true });
  execFileSync(process.execPath, [join(DIST, 'main.cjs'), '__share', join(DIST, 'share')]);
}

/** The library for `import`: the same objects as for `require`. */
function esModule() {
  const names = Object.keys(createRequire(import.meta.url)(join(DIST, 'index.cjs')));
  return `import library from './index.cjs';\nexport const { ${names.join(', ')} } = library;\n`;
}

/** Path of a late package in dist/; `@scope/name` is one file too. */
function lateFile(name) {
  return `late/${name.replace('@', '').replaceAll('/', '-')}.cjs`;
}

/** Leads imports of late packages to their bundles. */
function lateBundles() {
  return {
    name: 'late bundles',
    setup({ onResolve }) {
      onResolve({ filter: new RegExp(`^(?:${LATE.join('|')})$`) }, ({ path }) => ({
        path: `./${lateFile(path)}`,
        external: true,
      }));
    },
  };
}

/** The notices of all packages that have files among the inputs. */
function licensesOf(inputs) {
  const packages = new Set(
    [...inputs].flatMap((input) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0] ?? []),
  );
  return [...packages].sort().map(noticeOf).join('\n');
}

function noticeOf(directory) {
  const home = join(ROOT, directory);
  const { name, version, license } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'));
  const file = readdirSync(home).find((entry) => /^licen[cs]e(\.|$)/i.test(entry));
  const text = file === undefined ? '' : readFileSync(join(home, file), 'utf8').trim();
  return `${name} ${version} (${license})\n${'-'.repeat(72)}\n${text}\n`;
}
