// What is measured, against what, and the goal. `sides` are run in turn, round after round; each gives one number.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MBUILD, mbuild } from './builders.mjs';
import { bigFile, dockerfile, longDockerfile, sourceTree } from './contexts.mjs';
import { measure } from './measure.mjs';

const seconds = async (argv, options) => (await measure(argv, options)).seconds;
const STEPS = 20;
const PLANNING = fileURLToPath(new URL('planning.ts', import.meta.url));
const SANDBOX = fileURLToPath(new URL('sandbox.mjs', import.meta.url));

/** A fully cached rebuild against an empty program in the same language. */
export const noop = {
  title: 'fully cached rebuild: 12 steps, 2,000 files',
  async setup({ scratch, smallBase, builders }) {
    const dir = join(scratch, 'app');
    mkdirSync(join(dir, 'src'), { recursive: true });
    sourceTree(join(dir, 'src'), 2000, 10_000);
    writeFileSync(join(dir, 'package.json'), '{}\n');
    dockerfile(dir, [
      'FROM small-base AS deps',
      'WORKDIR /app',
      'COPY package.json ./',
      'RUN mkdir node_modules && echo 1 > node_modules/a',
      'FROM small-base AS build',
      'WORKDIR /app',
      'COPY --from=deps /app/node_modules ./node_modules',
      'COPY . .',
      'RUN find src -type f | wc -l > count && cp -r src dist',
      'FROM small-base',
      'ENV MODE=production',
      'WORKDIR /app',
      'RUN echo ok > /health',
      'COPY --from=build /app/dist ./dist',
      'COPY --from=build /app/count ./',
      'USER app',
      'CMD ["cat", "/health"]',
    ]);
    for (const builder of builders) {
      await measure(builder.import(smallBase, 'small-base'), builder);
      await measure(builder.build({ dir, tag: 'bench-noop' }), builder);
    }
    return {
      sides: {
        node: () => seconds(['node', '-e', '0']),
        ...Object.fromEntries(
          builders.map((builder) => [
            builder.name,
            () => seconds(builder.build({ dir, tag: 'bench-noop' }), builder),
          ]),
        ),
      },
      result: (m) => ({ value: m.mbuild / m.node, unit: '× node -e 0', goal: 4 }),
    };
  },
};

/** What a trivial RUN costs beyond its command, as the slope between a build of 1 and a build of 21 steps. */
export const steps = {
  title: `a trivial RUN step (of ${STEPS}, cold)`,
  async setup({ scratch, smallBase, builders }) {
    for (const builder of builders) await measure(builder.import(smallBase, 'small-base'), builder);
    const rootfs = join(scratch, 'rootfs');
    mkdirSync(rootfs);
    execFileSync('tar', ['-xpf', smallBase, '-C', rootfs]);
    const run = (count) => Array.from({ length: count }, (_, i) => `RUN echo ${i} > /f${i}`);
    const one = dockerfile(join(scratch, 'one-step'), ['FROM small-base', ...run(1)]);
    const many = dockerfile(join(scratch, 'many-steps'), ['FROM small-base', ...run(STEPS + 1)]);
    const bare = (prefix) => [
      'sh',
      '-c',
      `i=0; while [ $i -lt ${STEPS} ]; do ${prefix} chroot "$0" /bin/sh -c "echo $i > /f$i"; i=$((i+1)); done`,
      rootfs,
    ];
    return {
      sides: {
        command: async () => (await seconds(bare(''))) / STEPS,
        'command in namespaces': async () =>
          (await seconds(bare('unshare --fork --mount --pid --ipc --uts --mount-proc'))) / STEPS,
        ...Object.fromEntries(
          builders.map((builder) => [
            builder.name,
            async () => {
              const few = await seconds(builder.build({ dir: one, noCache: true }), builder);
              return (
                ((await seconds(builder.build({ dir: many, noCache: true }), builder)) - few) /
                STEPS
              );
            },
          ]),
        ),
      },
      result: (m) => ({
        value: (m.mbuild - m.command) * 1000,
        unit: 'ms over the command',
        goal: 15,
      }),
    };
  },
};

/** What keeping a step apart costs: mbuild's sandbox with everything on, over the same namespaces and mounts made by the machine's tools. */
export const containment = {
  title: `containment of a command (${STEPS} of them)`,
  async setup({ scratch, smallBase, builders: [own] }) {
    const layers = join(scratch, 'layers');
    for (const name of ['lower', 'upper', 'work', 'merged'])
      mkdirSync(join(layers, name), { recursive: true });
    execFileSync('tar', ['-xpf', smallBase, '-C', join(layers, 'lower')]);
    await measure(own.import(smallBase, 'small-base'), own);
    const store = join(scratch, '..', 'store');
    const inside =
      'mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work,volatile merged && mount -t proc proc merged/proc && exec chroot merged /bin/sh -c "echo $1 > /f$1"';
    const loop = `cd "$0"; i=0; while [ $i -lt ${STEPS} ]; do rm -rf work; mkdir work; unshare --fork --mount --pid --ipc --uts sh -c '${inside}' sh $i; i=$((i+1)); done`;
    return {
      sides: {
        'namespaces, overlay, proc and chroot': async () =>
          (await seconds(['sh', '-c', loop, layers])) / STEPS,
        mbuild: () =>
          Number(execFileSync('node', [SANDBOX, store, String(STEPS)], { encoding: 'utf8' })),
      },
      result: (m) => ({
        value: (m.mbuild - m['namespaces, overlay, proc and chroot']) * 1000,
        unit: 'ms over the bare ones',
        goal: 5,
      }),
    };
  },
};

/** A long Dockerfile parsed and planned, after start-up: in a process that has done neither before. */
export const parse = {
  title: 'a Dockerfile of 2,000 lines parsed and planned',
  setup({ scratch }) {
    const { buildSync } = createRequire(import.meta.url)('esbuild');
    const script = join(scratch, 'planning.cjs');
    buildSync({
      entryPoints: [PLANNING],
      outfile: script,
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'cjs',
      minifyWhitespace: true,
      minifySyntax: true,
      external: ['koffi', 'undici'],
    });
    const file = join(dockerfile(join(scratch, 'long'), longDockerfile(2000)), 'Dockerfile');
    return {
      sides: {
        'node -e 0': () => seconds(['node', '-e', '0']),
        'mbuild parse': () => seconds([MBUILD, 'parse', '-f', file]),
        'parse and plan': () =>
          Number(execFileSync('node', [script, file], { encoding: 'utf8' })) / 1000,
      },
      result: (m) => ({ value: m['parse and plan'] * 1000, unit: 'ms', goal: 50 }),
    };
  },
};

/** A root file system unpacked into the store against GNU tar. */
export const unpack = {
  title: 'a Debian base unpacked into the store',
  rounds: 3,
  async setup({ scratch, debianBase }) {
    if (debianBase === undefined)
      return { skip: 'there is no Debian base (it takes root and mmdebstrap)' };
    let round = 0;
    // Nothing is deleted before the end: on some file systems files are slow to make for a while after others were deleted.
    const fresh = (name) => {
      const dir = join(scratch, `${name}-${round++}`);
      mkdirSync(dir);
      return dir;
    };
    return {
      sides: {
        tar: () => {
          const dir = fresh('tar');
          return seconds(['tar', '-xpf', debianBase, '--numeric-owner', '--xattrs', '-C', dir]);
        },
        'tar and sha256sum': () => {
          const dir = fresh('both');
          return seconds([
            'sh',
            '-c',
            'sha256sum "$0" > /dev/null & tar -xpf "$0" --numeric-owner --xattrs -C "$1"; wait',
            debianBase,
            dir,
          ]);
        },
        mbuild: () => {
          const dir = fresh('store');
          const own = mbuild(dir);
          return seconds(own.import(debianBase, 'debian'), own);
        },
      },
      result: (m) => ({ value: m.mbuild / m.tar, unit: '× GNU tar', goal: 1.5 }),
    };
  },
};

/** The same work where nothing can be mounted: a base unpacked, and a RUN on it whose changes are found. */
export const rungs = {
  title: 'a Debian base unpacked and a RUN on it, in a container without privileges',
  rounds: 3,
  async setup({ scratch, debianBase }) {
    if (debianBase === undefined)
      return { skip: 'there is no Debian base (it takes root and mmdebstrap)' };
    const dir = dockerfile(join(scratch, 'rungs'), [
      'FROM debian',
      'RUN touch /x && rm -r /usr/share/doc/apt',
    ]);
    let round = 0;
    const both = async (isolation) => {
      const store = join(scratch, `${isolation}-${round++}`);
      mkdirSync(store);
      const own = mbuild(store);
      const builder = { ...own, env: { ...own.env, MBUILD_ISOLATION: isolation } };
      return (
        (await seconds(own.import(debianBase, 'debian'), builder)) +
        (await seconds(own.build({ dir }), builder))
      );
    };
    return {
      sides: { namespaces: () => both('namespaces'), chroot: () => both('chroot') },
      result: (m) => ({
        value: m.chroot / m.namespaces,
        unit: '× namespaces and overlay',
        goal: 2,
      }),
    };
  },
};

/** Memory of a build that copies and exports a large file. */
export const big = {
  title: 'COPY and export of a 1 GiB file',
  rounds: 2,
  async setup({ scratch, builders }) {
    const dir = dockerfile(join(scratch, 'big'), ['FROM scratch', 'COPY big.bin /']);
    bigFile(join(dir, 'big.bin'), 1024);
    const [own] = builders;
    const out = join(scratch, 'big.tar');
    let peak = 0;
    return {
      sides: {
        'cp and sha256sum': () =>
          seconds([
            'sh',
            '-c',
            'cp "$0" "$1" && sha256sum "$1"',
            join(dir, 'big.bin'),
            join(scratch, 'big.copy'),
          ]),
        mbuild: async () => {
          const result = await measure(
            own.build({
              dir,
              noCache: true,
              output: `type=oci,compression=uncompressed,dest=${out}`,
            }),
            { ...own, memory: true },
          );
          peak = Math.max(peak, result.peakMiB);
          return result.seconds;
        },
      },
      result: () => ({ value: peak, unit: 'MiB resident at most', goal: 200 }),
    };
  },
};
