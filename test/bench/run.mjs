#!/usr/bin/env node
// Measures mbuild beside bare commands that do the same work, and with --peers beside other builders.
// usage: npm run bench -- [--workloads=noop,steps] [--rounds=5] [--peers] [--out=FILE.json]
// The sides of a workload run in turn, round after round, after one round that does not count. Medians are shown, and whether
// the goal is met; ratios mean more than seconds. Everything is in one temporary directory, gone at the end.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mbuild, peers } from './builders.mjs';
import { median } from './measure.mjs';
import { exporting, pulling, pushing } from './transfers.mjs';
import { big, containment, noop, steps, unpack } from './workloads.mjs';

const workloads = { noop, steps, containment, unpack, big, export: exporting, push: pushing, pull: pulling };
const SUPPORT = resolve(dirname(fileURLToPath(import.meta.url)), '../support');

async function main() {
  const options = readOptions(process.argv.slice(2));
  const scratch = mkdtempSync(join(tmpdir(), 'mbuild-bench-'));
  try {
    const own = mbuild(join(scratch, 'store'));
    const tools = { scratch, smallBase: smallBase(scratch), debianBase: debianBase(), builders: [own, ...(options.peers ? peers() : [])] };
    const report = { date: new Date().toISOString(), machine: machine(), rounds: options.rounds, workloads: [] };
    for (const name of options.workloads) report.workloads.push({ name, ...await runWorkload(workloads[name], tools, options.rounds) });
    console.log(table(report));
    if (options.out !== undefined) writeFileSync(options.out, `${JSON.stringify(report, null, 1)}\n`);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function runWorkload(workload, tools, wantedRounds) {
  console.error(`${workload.title} …`);
  const scratch = join(tools.scratch, Math.random().toString(36).slice(2));
  mkdirSync(scratch);
  const { sides, result, skip, close } = await workload.setup({ ...tools, scratch });
  if (skip !== undefined) return { title: workload.title, skip };
  const names = Object.keys(sides);
  const samples = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round <= Math.min(wantedRounds, workload.rounds ?? wantedRounds); round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round) % names.length];
      const value = await sides[name]();
      if (round > 0) samples[name].push(value);
    }
  }
  close?.();
  rmSync(scratch, { recursive: true, force: true });
  const medians = Object.fromEntries(names.map((name) => [name, median(samples[name])]));
  const { value, unit, goal } = result(medians);
  return { title: workload.title, samples, medians, result: { value, unit, goal, met: value <= goal } };
}

/** The report as a Markdown table. */
function table(report) {
  const rows = report.workloads.map(({ title, medians, result, skip }) => {
    if (skip !== undefined) return `| ${title} | skipped: ${skip} | | |`;
    const times = Object.entries(medians).map(([name, value]) => `${name} ${milliseconds(value)}`).join(', ');
    return `| ${title} | ${times} | ${number(result.value)} ${result.unit} | ≤ ${result.goal}: ${result.met ? 'met' : 'missed'} |`;
  });
  return [`${report.machine}; medians of ${report.rounds} rounds`, '', '| workload | time | result | goal |', '|---|---|---|---|', ...rows].join('\n');
}

function readOptions(args) {
  const given = Object.fromEntries(args.map((arg) => /^--(\w+)(?:=(.*))?$/.exec(arg) ?? usage(arg)).map(([, name, value]) => [name, value ?? true]));
  for (const name of Object.keys(given)) if (!['workloads', 'rounds', 'peers', 'out'].includes(name)) usage(`--${name}`);
  const known = Object.keys(workloads);
  const chosen = given.workloads === undefined ? known : String(given.workloads).split(',');
  for (const name of chosen) if (!known.includes(name)) usage(`--workloads=${name}`);
  return { workloads: chosen, rounds: Number(given.rounds ?? 5), peers: given.peers === true, out: given.out };
}

function usage(arg) {
  console.error(`cannot read ${arg}\nusage: npm run bench -- [--workloads=${Object.keys(workloads).join(',')}] [--rounds=5] [--peers] [--out=FILE.json]`);
  process.exit(125);
}

function smallBase(scratch) {
  const tar = join(scratch, 'small-base.tar');
  execFileSync('sh', [join(SUPPORT, 'small-base.sh'), tar]);
  return tar;
}

function debianBase() {
  if (process.getuid() !== 0 || !['/usr/bin', '/usr/local/bin'].some((folder) => existsSync(join(folder, 'mmdebstrap')))) return undefined;
  return execFileSync('sh', [join(SUPPORT, 'debian-base.sh')]).toString().trim();
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
