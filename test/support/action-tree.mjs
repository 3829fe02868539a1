// Writes what a tag of the GitHub action holds: `node test/support/action-tree.mjs DIRECTORY`, after `npm run build -- --licenses`.
// GitHub runs an action as its tag has it, and installs nothing: the bundles and koffi with its native libraries go along.
// The release installs koffi's libraries of all architectures first (npm install --no-save --force @koromix/koffi-linux-arm64).
// A release commits this directory, without history, and moves the tags vX.Y.Z and vX to it.
import { cpSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const [directory] = process.argv.slice(2);
if (directory === undefined) {
  console.error('usage: node test/support/action-tree.mjs DIRECTORY');
  process.exit(2);
}

const BUNDLES = /^(?:.*\.cjs|late|gzip\.wasm|THIRD_PARTY_LICENSES\.txt)$/;
/** Parts of koffi that nothing loads. */
const UNUSED = /\/koffi\/(?:vendor|doc)$/;
const files = [
  'action.yml',
  'LICENSE',
  'package.json',
  'bin/mbuild',
  'bin/start.cjs',
  ...readdirSync(join(ROOT, 'dist'))
    .filter((name) => BUNDLES.test(name) && name !== 'index.cjs')
    .map((name) => `dist/${name}`),
  ...['koffi', '@koromix']
    .map((name) => `node_modules/${name}`)
    .filter((name) => existsSync(join(ROOT, name))),
];
for (const file of files) {
  mkdirSync(dirname(join(directory, file)), { recursive: true });
  cpSync(join(ROOT, file), join(directory, file), {
    recursive: true,
    dereference: true,
    filter: (from) => !UNUSED.test(from),
  });
}
