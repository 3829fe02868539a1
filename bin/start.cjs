// Runs dist/main.cjs with V8's compiled code of an earlier run, which takes half of the start-up time away.
// The code lies beside the bundles; where that folder cannot be written, every start compiles.
'use strict';

const { isAscii } = require('node:buffer');
const { readFileSync, renameSync, rmSync, statSync, writeFileSync } = require('node:fs');
const { createRequire, wrap } = require('node:module');
const { dirname, join } = require('node:path');
const { Script } = require('node:vm');

const dist = join(dirname(__dirname), 'dist');
/** Bundles of packages that few commands need, once they are loaded: by their path in dist/. */
const late = new Map();

// What a run compiled is what the next one finds: a build gets little out of what `mbuild version` needed.
load('main.cjs', isBuild(process.argv.slice(2)) ? 'build' : 'other');

// The bundles hold no `import()`, which code out of the cache could not do; the build script sees to that.
function load(name, kind) {
  const bundle = join(dist, name);
  const bytes = readFileSync(bundle);
  // ASCII is read much faster as what it is than as UTF-8.
  const source = bytes.toString(isAscii(bytes) ? 'latin1' : 'utf8');
  const cacheFile = `${bundle}.${kind}.code`;
  const { mtimeMs, size } = statSync(bundle);
  // V8 itself compares its version and the length of the source, but not the source.
  const stamp = `${process.version} ${process.arch} ${mtimeMs} ${size}\n`;
  const cachedData = readCache(cacheFile, stamp);
  const script = new Script(wrap(source), { filename: bundle, cachedData });
  if (cachedData === undefined || script.cachedDataRejected === true) {
    process.once('exit', () => writeCache(cacheFile, stamp, script));
  }
  const program = { exports: {} };
  script.runInThisContext()(program.exports, requireFrom(bundle), program, bundle, dirname(bundle));
  return program.exports;
}

function requireFrom(bundle) {
  const require = createRequire(bundle);
  return (name) => {
    if (!name.startsWith('./late/')) return require(name);
    if (!late.has(name)) late.set(name, load(name, 'used'));
    return late.get(name);
  };
}

// As good as it gets without reading the command line: a wrong answer costs time, nothing else.
function isBuild([first = '', ...rest]) {
  return (
    first === 'build' ||
    first === 'kaniko' ||
    /^[./]/.test(first) ||
    (first.startsWith('-') && rest.length > 0)
  );
}

function readCache(cacheFile, stamp) {
  try {
    const cached = readFileSync(cacheFile);
    return cached.toString('latin1', 0, stamp.length) === stamp
      ? cached.subarray(stamp.length)
      : undefined;
  } catch {
    return undefined;
  }
}

function writeCache(cacheFile, stamp, script) {
  const temporary = `${cacheFile}.${process.pid}`;
  try {
    writeFileSync(temporary, Buffer.concat([Buffer.from(stamp), script.createCachedData()]));
    renameSync(temporary, cacheFile);
  } catch {
    rmSync(temporary, { force: true });
  }
}
