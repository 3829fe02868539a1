// What it costs that misses are explained and builds recorded: time out of a profile of the build, bytes out of the store.
import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { dockerfile, sourceTree } from './contexts.mjs';
import { measure } from './measure.mjs';

const START = fileURLToPath(new URL('../../bin/start.cjs', import.meta.url));
/** Functions in which nothing else is done than to explain and to record, with all that they call. */
const EXPLAINING = new Set([
  'missed',
  'solved',
  '#explain',
  'explain',
  '#makeExplainer',
  'compareSteps',
  'compareSelections',
  'compareManifests',
  'loadManifest',
  'readManifest',
  '#stepRecords',
  '#keepDetails',
  'keepSelections',
  '#storeManifests',
  'storeManifest',
  'manifestOf',
  'packEntries',
  '#keep',
  'limitProject',
  'instructionText',
]);

/** A build in which one file of many was changed, so that a COPY and the RUN behind it are missed. */
export const explaining = (count) => ({
  title: `explaining and recording, of a build with 1 of ${count.toLocaleString('en')} files changed`,
  async setup(tools) {
    const build = await prepare(tools, count);
    let profile;
    return {
      sides: {
        build: async () => {
          profile = await build();
          return profile.total;
        },
        explaining: async () => (profile ?? (await build())).explaining,
      },
      result: (m) => ({ value: (m.explaining / m.build) * 100, unit: '% of the build', goal: 3 }),
    };
  },
});

/** Bytes of records, logs and descriptions of selections, against those of the layers that were made. */
export const recording = (count) => ({
  title: `bytes of records, of a build with ${count.toLocaleString('en')} files`,
  rounds: 1,
  async setup(tools) {
    const build = await prepare(tools, count);
    const store = join(tools.scratch, 'store');
    return {
      sides: {
        'layers, MB': async () => {
          await build();
          return layerBytes(store) / 1e9;
        },
        'records, MB': async () =>
          (treeBytes(join(store, 'builds')) +
            treeBytes(join(store, 'cache', 'manifests')) +
            treeBytes(join(store, 'cache', 'records'))) /
          1e9,
      },
      result: (m) => ({
        value: (m['records, MB'] / m['layers, MB']) * 100,
        unit: "% of the layers' bytes",
        goal: 1,
      }),
    };
  },
});

/** Builds a context once, and returns what builds it with one more change and tells where the time went (seconds). */
async function prepare({ scratch, smallBase }, count) {
  const store = join(scratch, 'store');
  const dir = join(scratch, 'app');
  mkdirSync(join(dir, 'src'), { recursive: true });
  sourceTree(join(dir, 'src'), count, 5000);
  dockerfile(dir, ['FROM small-base', 'COPY . /app', 'RUN find /app -type f | wc -l > /count']);
  const options = { env: { ...process.env, MBUILD_ROOT: store } };
  await measure(['node', START, 'import', smallBase, 'small-base'], options);
  const profiles = join(scratch, 'profiles');
  const run = async () => {
    rmSync(profiles, { recursive: true, force: true });
    appendFileSync(join(dir, 'src', 'd0', 'm0', 'f0.js'), `${Math.random()}\n`);
    await measure(
      ['node', '--cpu-prof', `--cpu-prof-dir=${profiles}`, START, 'build', '--progress=none', dir],
      options,
    );
    return readdirSync(profiles)
      .map((name) => readProfile(join(profiles, name)))
      .sort((a, b) => b.total - a.total)[0];
  };
  await run();
  return run;
}

/** Seconds of a profile, and those within EXPLAINING. */
function readProfile(file) {
  const { nodes, samples, timeDeltas, startTime, endTime } = JSON.parse(readFileSync(file, 'utf8'));
  const parents = new Map(
    nodes.flatMap((node) => (node.children ?? []).map((child) => [child, node.id])),
  );
  const names = new Map(nodes.map((node) => [node.id, node.callFrame.functionName]));
  const isIn = (id) => id !== undefined && (EXPLAINING.has(names.get(id)) || isIn(parents.get(id)));
  const explaining = samples.reduce((sum, id, i) => sum + (isIn(id) ? timeDeltas[i] : 0), 0);
  return { total: (endTime - startTime) / 1e6, explaining: explaining / 1e6 };
}

/** Of the layers on top of the base. */
function layerBytes(store) {
  const chains = readdirSync(join(store, 'chains')).map((name) =>
    JSON.parse(readFileSync(join(store, 'chains', name), 'utf8')),
  );
  return chains
    .filter(({ parent }) => parent !== undefined)
    .reduce((sum, { contentSize }) => sum + contentSize, 0);
}

function treeBytes(folder) {
  return readdirSync(folder, { withFileTypes: true }).reduce(
    (sum, entry) =>
      sum +
      (entry.isDirectory()
        ? treeBytes(join(folder, entry.name))
        : statSync(join(folder, entry.name)).size),
    0,
  );
}
