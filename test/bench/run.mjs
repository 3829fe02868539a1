#!/usr/bin/env node
// Measures mbuild beside bare commands that do the same work, and with --peers beside other builders.
// usage: npm run bench -- [--workloads=noop,steps] [--rounds=5] [--peers] [--out=FILE.json]; `growth` runs only when it is named
// The sides of a workload run in turn, round after round, after one round that does not count. Medians are shown, and whether
// the goal is met; ratios mean more than seconds. Everything is in one temporary directory, gone at the end.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mbuild, peers } from './builders.mjs';
import { dockerfile } from './contexts.mjs';
import { measure, median } from './measure.mjs';
import { copyBig, copyMany, edit, growth, parallel, runDiff } from './cold.mjs';
import { explaining, recording } from './explaining.mjs';
import { exporting, pulling, pushing } from './transfers.mjs';
import { big, containment, noop, parse, rungs, steps, unpack } from './workloads.mjs';

const workloads = {
  noop,
  parse,
  steps,
  containment,
  'copy-many': copyMany,
  'copy-big': copyBig,
  'run-diff': runDiff,
  edit,
  parallel,
  unpack,
  rungs,
  big,
  export: exporting,
  push: pushing,
  pull: pulling,
  growth,
  explain: explaining(2000),
  explain20k: explaining(20_000),
  records: recording(2000),
  records20k: recording(20_000),
};
/** What builds leave in the stores of others. */
const NAMES = [
  'small-base',
  'debian-base',
  'bench',
  'bench-noop',
  'bench-cold',
  'bench-edit',
  'bench-parallel',
];
const SUPPORT = resolve(dirname(fileURLToPath(import.meta.url)), '../support');

async function main() {
  const options = readOptions(process.argv.slice(2));
  const scratch = mkdtempSync(join(tmpdir(), 'mbuild-bench-'));
  const others = [];
  try {
    const base = smallBase(scratch);
    if (options.peers) others.push(...(await usable(peers(), base, scratch)));
    const own = mbuild(join(scratch, 'store'));
    const tools = {
      scratch,
      smallBase: base,
      debianBase: debianBase(),
      builders: [own, ...others],
    };
    const report = {
      date: new Date().toISOString(),
      machine: machine(),
      builders: others.map(versionOf),
      rounds: options.rounds,
      workloads: [],
    };
    for (const name of options.workloads)
      report.workloads.push({
        name,
        ...(await runWorkload(workloads[name], tools, options.rounds)),
      });
    console.log(table(report));
    if (options.out !== undefined)
      writeFileSync(options.out, `${JSON.stringify(report, null, 1)}\n`);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
    for (const { remove, env } of others)
      for (const name of NAMES) spawnSync(...split(remove([name])), { env, stdio: 'ignore' });
  }
}

/** Those that can run a step on this machine. */
async function usable(candidates, base, scratch) {
  const dir = dockerfile(join(scratch, 'probe'), ['FROM small-base', 'RUN echo 1 > /f']);
  const found = [];
  for (const peer of candidates) {
    try {
      await measure(peer.import(base, 'small-base'), peer);
      await measure(peer.build({ dir, tag: 'bench' }), peer);
      found.push(peer);
    } catch (error) {
      console.error(`${peer.name} is left out: ${error.message.trim().split('\n').at(-1)}`);
    }
  }
  if (found.length === 0) console.error('no other builder works here');
  return found;
}

async function runWorkload(workload, tools, wantedRounds) {
  console.error(`${workload.title} …`);
  const scratch = join(tools.scratch, Math.random().toString(36).slice(2));
  mkdirSync(scratch);
  const {
    sides,
    result,
    skip,
    peerGoal,
    inOrder = false,
    close,
  } = await workload.setup({ ...tools, scratch });
  if (skip !== undefined) return { title: workload.title, skip };
  const names = Object.keys(sides);
  const samples = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round <= Math.min(wantedRounds, workload.rounds ?? wantedRounds); round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[inOrder ? i : (i + round) % names.length];
      const value = await sides[name]();
      if (round > 0) samples[name].push(value);
    }
  }
  close?.();
  rmSync(scratch, { recursive: true, force: true });
  const medians = Object.fromEntries(names.map((name) => [name, median(samples[name])]));
  const { value, unit, goal, ...more } = result(medians);
  return {
    title: workload.title,
    samples,
    medians,
    result: { value, unit, goal, met: goal === undefined ? undefined : value <= goal, ...more },
    peers: besidePeers(medians, tools.builders, peerGoal),
  };
}

/** mbuild's time over that of the fastest other builder; `undefined` where none was measured. */
function besidePeers(medians, [own, ...others], goal) {
  const measured = others.filter(({ name }) => medians[name] !== undefined);
  if (measured.length === 0) return undefined;
  const best = measured.reduce((a, b) => (medians[b.name] < medians[a.name] ? b : a));
  const value = medians[own.name] / medians[best.name];
  return { best: best.name, value, goal, met: goal === undefined ? undefined : value <= goal };
}

/** The report as a Markdown table. */
function table(report) {
  const rows = report.workloads.map(({ title, medians, result, peers: beside, skip }) => {
    if (skip !== undefined) return `| ${title} | skipped: ${skip} | | |`;
    const times =
      result.series === undefined
        ? Object.entries(medians)
            .map(([name, value]) => `${name} ${milliseconds(value)}`)
            .join(', ')
        : 'see the JSON';
    return `| ${title} | ${times} | ${number(result.value)} ${result.unit}${verdict(result)} | ${beside === undefined ? '' : `${number(beside.value)} × ${beside.best}${verdict(beside)}`} |`;
  });
  const versions = report.builders.map(({ name, version }) => `; ${name} ${version}`).join('');
  return [
    `${report.machine}; medians of ${report.rounds} rounds${versions}`,
    '',
    '| workload | time | against the machine | against the fastest other |',
    '|---|---|---|---|',
    ...rows,
  ].join('\n');
}

function verdict({ goal, met }) {
  return goal === undefined ? '' : ` (≤ ${goal}: ${met ? 'met' : 'missed'})`;
}

function versionOf({ name, version, env }) {
  return {
    name,
    version:
      /\d[\w.~+-]*/.exec(spawnSync(...split(version), { env, encoding: 'utf8' }).stdout)?.[0] ??
      '?',
  };
}

function split([program, ...args]) {
  return [program, args];
}

function readOptions(args) {
  const given = Object.fromEntries(
    args
      .map((arg) => /^--(\w+)(?:=(.*))?$/.exec(arg) ?? usage(arg))
      .map(([, name, value]) => [name, value ?? true]),
  );
  for (const name of Object.keys(given))
    if (!['workloads', 'rounds', 'peers', 'out'].includes(name)) usage(`--${name}`);
  const known = Object.keys(workloads);
  const chosen =
    given.workloads === undefined
      ? known.filter((name) => name !== 'growth')
      : String(given.workloads).split(',');
  for (const name of chosen) if (!known.includes(name)) usage(`--workloads=${name}`);
  return {
    workloads: chosen,
    rounds: Number(given.rounds ?? 5),
    peers: given.peers === true,
    out: given.out,
  };
}

function usage(arg) {
  console.error(
    `cannot read ${arg}\nusage: npm run bench -- [--workloads=${Object.keys(workloads).join(',')}] [--rounds=5] [--peers] [--out=FILE.json]`,
  );
  process.exit(125);
}

function smallBase(scratch) {
  const tar = join(scratch, 'small-base.tar');
  execFileSync('sh', [join(SUPPORT, 'small-base.sh'), tar]);
  return tar;
}

function debianBase() {
  if (
    process.getuid() !== 0 ||
    !['/usr/bin', '/usr/local/bin'].some((folder) => existsSync(join(folder, 'mmdebstrap')))
  )
    return undefined;
  return execFileSync('sh', [join(SUPPORT, 'debian-base.sh')])
    .toString()
    .trim();
}

function machine() {
  return `${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`;
}

function milliseconds(value) {
  return value < 10 ? `${number(value * 1000)} ms` : `${number(value)} s`;
}

function number(value) {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

await main();
