// Parses and plans the Dockerfile that is named, once, in a process that has done neither, and prints how many milliseconds of the main
// thread's time that took: of a machine that has other work as well, it is what tells.
import { readFileSync } from 'node:fs';
import { parseDockerfile } from '../../src/dockerfile/parse';
import { planGraph } from '../../src/graph/plan';
import { digestOf } from '../../src/oci/digest';
import { hostPlatform } from '../../src/oci/platform';

const text = readFileSync(process.argv[2] ?? '', 'utf8');
const platform = hostPlatform();
const base = {
  config: { ...platform, config: {}, rootfs: { type: 'layers' as const, diff_ids: [] } },
  descriptor: { mediaType: '', digest: digestOf(''), size: 0 },
  stack: () => Promise.resolve([]),
};

const begin = busyMs();
void planGraph(parseDockerfile({ name: 'Dockerfile', text }), {
  platform,
  buildPlatform: platform,
  buildArgs: {},
  labels: {},
  network: 'none',
  allowInsecure: false,
  contexts: [],
  findImage: (name) => Promise.resolve({ name, ...base }),
  warn: () => undefined,
}).then(() => process.stdout.write(String(busyMs() - begin)));

/** Nanoseconds on a processor are the first number of schedstat (Linux, Documentation/scheduler/sched-stats.rst). */
function busyMs(): number {
  return Number(readFileSync('/proc/self/schedstat', 'utf8').split(' ')[0]) / 1e6;
}
