// Records what docker and buildah find in their caches for each commit of the histories in
// builder-history.ts: facts alone, in recorded-builders.json, which builders.test.ts compares with
// what a replay predicts.
//
//   npx esbuild test/bench-replay/record-builders.ts --bundle --platform=node
//   --outfile=/tmp/record.cjs DOCKER='docker' BUILDAH='buildah --root /var/tmp/store'
//   BASE=docker.io/library/busybox WORK=/var/tmp/work node /tmp/record.cjs OUTPUT.json
//
// DOCKER and BUILDAH are commands with their first words; BASE is an image that both have; WORK is
// a directory that both see.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BuilderHistory, COMMITS, SEEDS } from './builder-history';

const words = (name: string): string[] => (process.env[name] ?? '').split(' ').filter(Boolean);
const DOCKER = words('DOCKER');
const BUILDAH = words('BUILDAH');
const BASE = process.env['BASE'] ?? 'busybox';
const WORK = process.env['WORK'] ?? '/var/tmp/replay-builders';

/** Instructions that replays count. */
const STEP = /^(?:RUN|COPY|ADD|WORKDIR)\b/;

type Found = readonly { readonly text: string; readonly hit: boolean }[];

function output(command: readonly string[], env: Record<string, string> = {}): string {
  const [file = '', ...args] = command;
  const { stdout, stderr, status } = spawnSync(file, args, {
    env: { ...process.env, ...env },
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`${command.join(' ')}: ${stderr}${stdout}`);
  return `${stdout}\n${stderr}`;
}

/** Rows of BuildKit are numbered as they come; a name tells the stage and the place in it. */
function buildkit(dir: string): Found {
  const text = output([...DOCKER, 'build', '--progress=plain', '--network=host', dir], {
    DOCKER_BUILDKIT: '1',
  });
  const rows = new Map<string, { name: string; hit: boolean }>();
  for (const line of text.split('\n')) {
    const [, id = '', name] = /^#(\d+) (\[(?:\S+ )?\s*\d+\/\d+\] .*)$/.exec(line) ?? [];
    if (name !== undefined) rows.set(id, { name, hit: false });
    const [, cached = ''] = /^#(\d+) CACHED/.exec(line) ?? [];
    const row = rows.get(cached);
    if (row !== undefined) row.hit = true;
  }
  const place = (name: string): string =>
    name.replace(/^\[(\S+ )?\s*(\d+)\/.*/, '$1$2').padStart(20);
  return [...rows.values()]
    .sort((a, b) => (place(a.name) < place(b.name) ? -1 : 1))
    .map(({ name, hit }) => ({ text: name.replace(/^\[.*?\] /, ''), hit }))
    .filter(({ text: step }) => STEP.test(step));
}

function classic(dir: string): Found {
  const text = output([...DOCKER, 'build', '--network=host', dir], { DOCKER_BUILDKIT: '0' });
  return blocks(text, /^Step \d+\/\d+ : (.*)$/, / ---> Using cache/);
}

function buildah(dir: string): Found {
  const text = output([...BUILDAH, 'build', '--layers', '--network=host', dir]);
  return blocks(
    text,
    /^(?:\[\d+\/\d+\] )?STEP \d+\/\d+: (.*)$/,
    /^(?:\[\d+\/\d+\] )?--> Using cache/,
  );
}

/** Each step's line, and what is said before the next one. */
function blocks(text: string, head: RegExp, cached: RegExp): Found {
  const steps: { text: string; hit: boolean }[] = [];
  for (const line of text.split('\n')) {
    const [, step] = head.exec(line) ?? [];
    const last = steps.at(-1);
    if (step !== undefined) steps.push({ text: step, hit: false });
    else if (last !== undefined && cached.test(line)) last.hit = true;
  }
  return steps.filter(({ text: step }) => STEP.test(step));
}

/** A base of its own for each history: no layer of another one is found. */
function makeBase(seed: number, run: string): string {
  const name = `replay-base-${run}:${seed}`;
  const dir = join(WORK, 'base');
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'mark'), `${run} ${seed}\n`);
  writeFileSync(join(dir, 'Dockerfile'), `FROM ${BASE}\nCOPY mark /mark\n`);
  output([...DOCKER, 'build', '-q', '-t', name, dir], { DOCKER_BUILDKIT: '0' });
  const archive = join(WORK, 'base.tar');
  rmSync(archive, { force: true });
  output([...DOCKER, 'save', '-o', archive, name]);
  output([...BUILDAH, 'pull', '-q', `docker-archive:${archive}`]);
  return name;
}

const run = String(Date.now());
const versions = {
  docker: output([...DOCKER, 'version', '--format', '{{.Server.Version}}']).trim(),
  buildah: output([...BUILDAH, '--version']).trim(),
};
const histories = SEEDS.map((seed) => {
  const dir = join(WORK, `history-${seed}`);
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  const base = makeBase(seed, run);
  const history = new BuilderHistory(dir, seed, base);
  const commits: Record<string, string>[] = [];
  const strip = (found: Found): string => found.map(({ hit }) => (hit ? 'h' : 'm')).join('');
  for (let at = 0; at < COMMITS; at++) {
    const timesAlone = at > 0 && history.next();
    commits.push({
      commit: execFileSync('git', ['log', '-1', '--format=%s'], {
        cwd: dir,
        encoding: 'utf8',
      }).trim(),
      ...(timesAlone ? { times: 'touched' } : {}),
      buildkit: strip(buildkit(dir)),
      'docker-classic': strip(classic(dir)),
      buildah: strip(buildah(dir)),
    });
  }
  process.stderr.write(`history ${seed} is recorded\n`);
  output([...DOCKER, 'rmi', '-f', base]);
  return { seed, commits };
});
writeFileSync(
  process.argv[2] ?? 'recorded-builders.json',
  `${JSON.stringify({ versions, histories }, undefined, 1)}\n`,
);
