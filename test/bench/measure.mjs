// Running commands and taking their measure.
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** The environment of everything that is measured: without NODE_EXTRA_CA_CERTS, which costs every start of Node 20 some 40 ms. */
export function benchEnv(extra = {}) {
  return {
    PATH: `${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin`,
    HOME: process.env.HOME ?? '/',
    TMPDIR: process.env.TMPDIR ?? '/tmp',
    LANG: 'C.UTF-8',
    ...extra,
  };
}

/**
 * Runs a command to its end. Resolves with its wall time in seconds and, if `memory` is set, the highest sum of resident memory of its
 * process tree in MiB, read every 5 ms. Rejects when the command fails.
 */
export function measure(argv, { env = benchEnv(), cwd, memory = false } = {}) {
  return new Promise((resolve, reject) => {
    const begin = process.hrtime.bigint();
    const child = spawn(argv[0], argv.slice(1), { env, cwd, stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    let peak = 0;
    const timer = memory
      ? setInterval(() => {
          peak = Math.max(peak, treeMemory(child.pid));
        }, 5)
      : undefined;
    child.stderr.on('data', (data) => {
      stderr = (stderr + data).slice(-4000);
    });
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      const seconds = Number(process.hrtime.bigint() - begin) / 1e9;
      clearInterval(timer);
      if (code === 0) resolve({ seconds, peakMiB: peak });
      else reject(new Error(`${argv.join(' ')} ended with ${code ?? signal}\n${stderr}`));
    });
  });
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

// Resident pages that other processes share are counted once for each: an upper bound.
function treeMemory(root) {
  const parents = new Map();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const stat = read(`/proc/${pid}/stat`);
    if (stat !== '')
      parents.set(Number(pid), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
  }
  const inTree = (pid) =>
    pid === root || (parents.has(pid) && parents.get(pid) > 1 && inTree(parents.get(pid)));
  let kib = 0;
  for (const pid of parents.keys())
    if (inTree(pid)) kib += Number(/VmRSS:\s+(\d+)/.exec(read(`/proc/${pid}/status`))?.[1] ?? 0);
  return kib / 1024;
}

function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // ended meanwhile
  }
}
