// Runs dist/main.cjs with V8's compiled code of an earlier run, which takes half of the start-up time away.
// The code lies beside the bundle; where that folder cannot be written, every start compiles.
'use strict';

const { isAscii } = require('node:buffer');
const { readFileSync, renameSync, rmSync, statSync, writeFileSync } = require('node:fs');
const { createRequire, wrap } = require('node:module');
const { dirname, join } = require('node:path');
const { Script, constants } = require('node:vm');

const bundle = join(dirname(__dirname), 'dist', 'main.cjs');
const { mtimeMs, size } = statSync(bundle);
// V8 itself compares its version and the length of the source, but not the source.
const stamp = `${process.version} ${process.arch} ${mtimeMs} ${size}\n`;
const cacheFile = `${bundle}.code`;
const cached = readCache();

const source = readFileSync(bundle);
// ASCII, which esbuild writes where no comment stands in the way, is read much faster as what it is than as UTF-8.
const script = new Script(wrap(source.toString(isAscii(source) ? 'latin1' : 'utf8')), {
  filename: bundle,
  cachedData: cached,
  importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
});
if (cached === undefined || script.cachedDataRejected === true) process.once('exit', writeCache);

const program = { exports: {} };
script.runInThisContext()(program.exports, createRequire(bundle), program, bundle, dirname(bundle));

function readCache() {
  try {
    const bytes = readFileSync(cacheFile);
    const end = bytes.indexOf(10) + 1;
    return bytes.toString('latin1', 0, end) === stamp ? bytes.subarray(end) : undefined;
  } catch {
    return undefined;
  }
}

function writeCache() {
  const temporary = `${cacheFile}.${process.pid}`;
  try {
    writeFileSync(temporary, Buffer.concat([Buffer.from(stamp), script.createCachedData()]));
    renameSync(temporary, cacheFile);
  } catch {
    rmSync(temporary, { force: true });
  }
}
