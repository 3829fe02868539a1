// Runs dist/main.cjs with V8's compiled code of an earlier run, which takes half of the start-up time away.
// The code lies beside the bundle; where that folder cannot be written, every start compiles.
'use strict';

const { isAscii } = require('node:buffer');
const { readFileSync, renameSync, rmSync, statSync, writeFileSync } = require('node:fs');
const { createRequire, wrap } = require('node:module');
const { dirname, join } = require('node:path');
const { Script } = require('node:vm');

const bundle = join(dirname(__dirname), 'dist', 'main.cjs');
// What a run compiled is what the next one finds: a build gets little out of what `mbuild version` needed.
const cacheFile = `${bundle}.${isBuild(process.argv.slice(2)) ? 'build' : 'other'}.code`;
const bytes = readFileSync(bundle);
// ASCII is read much faster as what it is than as UTF-8.
const source = bytes.toString(isAscii(bytes) ? 'latin1' : 'utf8');

run();

// The bundle holds no `import()`, which code out of the cache could not do; the build script sees to that.
function run() {
  const { mtimeMs, size } = statSync(bundle);
  // V8 itself compares its version and the length of the source, but not the source.
  const stamp = `${process.version} ${process.arch} ${mtimeMs} ${size}\n`;
  const cachedData = readCache(stamp);
  const script = new Script(wrap(source), { filename: bundle, cachedData });
  if (cachedData === undefined || script.cachedDataRejected === true) {
    process.once('exit', () => writeCache(stamp, script));
  }
  const program = { exports: {} };
  script.runInThisContext()(
    program.exports,
    createRequire(bundle),
    program,
    bundle,
    dirname(bundle),
  );
}

// As good as it gets without reading the command line: a wrong answer costs time, nothing else.
function isBuild([first = '', ...rest]) {
  return first === 'build' || /^[./]/.test(first) || (first.startsWith('-') && rest.length > 0);
}

function readCache(stamp) {
  try {
    const cached = readFileSync(cacheFile);
    return cached.toString('latin1', 0, stamp.length) === stamp
      ? cached.subarray(stamp.length)
      : undefined;
  } catch {
    return undefined;
  }
}

function writeCache(stamp, script) {
  const temporary = `${cacheFile}.${process.pid}`;
  try {
    writeFileSync(temporary, Buffer.concat([Buffer.from(stamp), script.createCachedData()]));
    renameSync(temporary, cacheFile);
  } catch {
    rmSync(temporary, { force: true });
  }
}
