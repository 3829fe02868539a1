// Compares what mbuild's checks say with what a real BuildKit says, over all Dockerfiles under the folders given (fixtures/ when none is).
// BUILDKIT_BUILD is the command that builds there, e.g. `docker build`; BUILDKIT_FOLDER a folder that it can see.
// BUILDKIT_BASE is an image that it can pull: where given, all bases that FROM names without a variable are replaced by it.
// Prints every difference and the counts. With --write it writes BuildKit's answer to `expected.txt` beside each Dockerfile.
// Not part of `npm test`.
import { execFile } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const COMMAND = process.env.BUILDKIT_BUILD ?? 'docker build';
const FOLDER = process.env.BUILDKIT_FOLDER ?? tmpdir();
const BASE = process.env.BUILDKIT_BASE;
const write = process.argv.includes('--write');
const folders = process.argv.slice(2).filter((word) => word !== '--write');
const run = promisify(execFile);

const { check } = await loadLint();
const dockerfiles = (folders.length > 0 ? folders : [join(ROOT, 'fixtures')]).flatMap((folder) =>
  find(resolve(folder)),
);
const counts = { same: 0, different: 0, refusedByBoth: 0, refusedByOne: 0, unreachable: 0 };
for (const dockerfile of dockerfiles) await compare(dockerfile);
console.log(JSON.stringify({ files: dockerfiles.length, ...counts }));

async function compare(dockerfile) {
  const name = relative(ROOT, dockerfile);
  const theirs = await reference(dockerfile);
  if (theirs.error !== undefined && /resolve source metadata|no such host/.test(theirs.error)) {
    counts.unreachable++;
    return;
  }
  const ours = mine(dockerfile);
  if (write)
    writeFileSync(
      join(dirname(dockerfile), 'expected.txt'),
      theirs.lines.map((line) => `${line}\n`).join('') +
        (theirs.error === undefined ? '' : `error: ${theirs.error}\n`),
    );
  if (
    theirs.error !== undefined &&
    ours.error !== undefined &&
    !theirs.error.startsWith('lint violation')
  ) {
    counts.refusedByBoth++;
    return;
  }
  const missing = theirs.lines.filter((line) => !ours.lines.includes(line));
  const extra = ours.lines.filter((line) => !theirs.lines.includes(line));
  const refused = (theirs.error === undefined) !== (ours.error === undefined);
  if (missing.length + extra.length === 0 && !refused) {
    counts.same++;
    return;
  }
  counts[refused ? 'refusedByOne' : 'different']++;
  console.log(
    [
      name,
      ...missing.map((line) => `  only BuildKit: ${line}`),
      ...extra.map((line) => `  only mbuild:   ${line}`),
      ...(refused
        ? [`  errors: BuildKit ${theirs.error ?? 'none'} | mbuild ${ours.error ?? 'none'}`]
        : []),
    ].join('\n'),
  );
}

function mine(dockerfile) {
  try {
    return check(
      { name: 'Dockerfile', text: textOf(dockerfile) },
      argsOf(dockerfile),
      contextOf(dockerfile),
    );
  } catch (error) {
    return { lines: [], error: error.message };
  }
}

/** BuildKit's warnings as `line rule: message`, sorted by line, and its error. */
async function reference(dockerfile) {
  const copy = mkdtempSync(join(FOLDER, 'check-'));
  try {
    const context = contextOf(dockerfile);
    if (existsSync(context)) cpSync(context, copy, { recursive: true });
    const file = join(copy, 'Dockerfile');
    writeFileSync(file, textOf(dockerfile));
    const words = [
      ...COMMAND.split(' '),
      '--call=check,format=json',
      ...argsOf(dockerfile),
      '-f',
      file,
      copy,
    ];
    const { stdout, stderr } = await run(words[0], words.slice(1)).catch((error) => error);
    if (!stdout.startsWith('{'))
      return {
        lines: [],
        error:
          /ERROR: (?:failed to build: )?(?:failed to solve: )?(.*)/.exec(stderr)?.[1] ?? stderr,
      };
    const { warnings, buildError } = JSON.parse(stdout);
    const lines = (warnings ?? [])
      .map((warning) => [
        warning.location.ranges[0].start.line,
        `${warning.ruleName}: ${warning.detail}`,
      ])
      .sort((a, b) => a[0] - b[0]);
    return { lines: lines.map(([line, text]) => `${line} ${text}`), error: buildError?.message };
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

/** The Dockerfile, with bases that can be pulled. */
function textOf(dockerfile) {
  const text = readFileSync(dockerfile, 'utf8');
  if (BASE === undefined) return text;
  const known = new Set(['scratch']);
  return text
    .split('\n')
    .map((line) =>
      line.replace(
        /^(\s*FROM\s+(?:--\S+\s+)*)(\S+)((?:\s+AS\s+(\S+))?\s*)$/i,
        (all, head, name, tail, as) => {
          const image = known.has(name.toLowerCase()) || name.includes('$') ? name : BASE;
          if (as !== undefined) known.add(as.toLowerCase());
          return head + image + tail;
        },
      ),
    )
    .join('\n');
}

function contextOf(dockerfile) {
  return join(dirname(dockerfile), 'context');
}

function argsOf(dockerfile) {
  const file = join(dirname(dockerfile), 'args');
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : [];
}

function find(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? find(path) : entry.name === 'Dockerfile' ? [path] : [];
  });
}

/** The checks as one module, compiled. */
async function loadLint() {
  const outfile = join(mkdtempSync(join(tmpdir(), 'mbuild-lint-')), 'lint.cjs');
  try {
    await build({
      entryPoints: [join(ROOT, 'test/lint/check.ts')],
      bundle: true,
      platform: 'node',
      format: 'cjs',
      outfile,
      external: ['koffi', 'undici'],
      logLevel: 'error',
    });
    return createRequire(import.meta.url)(outfile);
  } finally {
    rmSync(dirname(outfile), { recursive: true });
  }
}
