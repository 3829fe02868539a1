// Steps that are really run, as on a fresh checkout: copies, a large diff, an edit, stages side by side.
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bigFile, dockerfile, sourceTree } from './contexts.mjs';
import { measure } from './measure.mjs';

const seconds = async (argv, options) => (await measure(argv, options)).seconds;
const NO_DEBIAN = { skip: 'there is no Debian base (it takes root and mmdebstrap)' };

/** One side for each builder: its cold build of a directory. mbuild starts with an empty store each time; others are told `--no-cache`. */
async function coldSides(builders, base, baseName, dir) {
  for (const builder of builders) await measure(builder.import(base, baseName), builder);
  return Object.fromEntries(
    builders.map((builder) => [
      builder.name,
      async () => {
        if (builder.empty !== undefined) {
          builder.empty();
          await measure(builder.import(base, baseName), builder);
        }
        return seconds(builder.build({ dir, tag: 'bench-cold', noCache: true }), builder);
      },
    ]),
  );
}

/** Runs a command that makes `out`, which goes afterwards. */
async function making(out, argv) {
  const time = await seconds(argv);
  rmSync(out, { recursive: true });
  return time;
}

export const copyMany = {
  title: 'COPY of 20,000 files, 100 MB, cold',
  async setup({ scratch, smallBase, builders }) {
    const dir = dockerfile(join(scratch, 'many'), ['FROM small-base', 'COPY src /data/']);
    sourceTree(join(dir, 'src'), 20_000, 5_000);
    const out = join(scratch, 'many-copy');
    return {
      sides: {
        'cp -a': () => making(out, ['cp', '-a', join(dir, 'src'), out]),
        ...(await coldSides(builders, smallBase, 'small-base', dir)),
      },
      result: (m) => ({ value: m.mbuild / m['cp -a'], unit: '× cp -a', goal: 1.8 }),
      peerGoal: 0.15,
    };
  },
};

export const copyBig = {
  title: 'COPY of one 512 MiB file, cold',
  async setup({ scratch, smallBase, builders }) {
    const dir = dockerfile(join(scratch, 'one'), ['FROM small-base', 'COPY big.bin /']);
    bigFile(join(dir, 'big.bin'), 512);
    const out = join(scratch, 'one-copy');
    return {
      sides: {
        'cp and sha256sum': () =>
          making(out, ['sh', '-c', 'cp "$0" "$1" && sha256sum "$1"', join(dir, 'big.bin'), out]),
        ...(await coldSides(builders, smallBase, 'small-base', dir)),
      },
      result: (m) => ({
        value: m.mbuild / m['cp and sha256sum'],
        unit: '× cp and sha256sum',
        goal: 1.3,
      }),
      peerGoal: 0.2,
    };
  },
};

export const runDiff = {
  title: 'a RUN that writes 180 MB, cold',
  async setup({ scratch, debianBase, builders }) {
    if (debianBase === undefined) return NO_DEBIAN;
    const dir = dockerfile(join(scratch, 'diff'), ['FROM debian-base', 'RUN cp -a /usr /usr2']);
    const rootfs = join(scratch, 'rootfs');
    mkdirSync(rootfs);
    execFileSync('tar', ['-xpf', debianBase, '-C', rootfs]);
    const out = join(scratch, 'usr2');
    return {
      sides: {
        command: () => making(out, ['cp', '-a', join(rootfs, 'usr'), out]),
        'tar into sha256sum': () =>
          seconds(['sh', '-c', 'tar -C "$0" -cf - usr | sha256sum', rootfs]),
        ...(await coldSides(builders, debianBase, 'debian-base', dir)),
      },
      result: (m) => ({
        value: m.mbuild / (m.command + 1.2 * m['tar into sha256sum']),
        unit: '× the command and 1.2 × tar into sha256sum',
        goal: 1,
      }),
      peerGoal: 0.4,
    };
  },
};

export const edit = {
  title: 'one of 2,000 files changed: COPY and RUN redone',
  async setup({ scratch, smallBase, builders }) {
    const dir = dockerfile(join(scratch, 'app'), [
      'FROM small-base',
      'WORKDIR /app',
      'COPY package.json ./',
      'RUN mkdir node_modules && echo 1 > node_modules/a',
      'COPY . .',
      'RUN cat src/d0/m0/f0.js > copy.js',
    ]);
    writeFileSync(join(dir, 'package.json'), '{}\n');
    sourceTree(join(dir, 'src'), 2000, 10_000);
    for (const builder of builders) {
      await measure(builder.import(smallBase, 'small-base'), builder);
      await measure(builder.build({ dir, tag: 'bench-edit' }), builder);
    }
    let edits = 0;
    const out = join(scratch, 'app-copy');
    return {
      sides: {
        'cp -a': () => making(out, ['cp', '-a', dir, out]),
        ...Object.fromEntries(
          builders.map((builder) => [
            builder.name,
            () => {
              writeFileSync(join(dir, 'src/d0/m0/f0.js'), `// edit ${edits++}\n`);
              return seconds(builder.build({ dir, tag: 'bench-edit' }), builder);
            },
          ]),
        ),
      },
      result: (m) => ({ value: m.mbuild / m['cp -a'], unit: '× cp -a of the files' }),
      peerGoal: 0.2,
    };
  },
};

export const parallel = {
  title: 'two stages of 2 s, joined',
  async setup({ scratch, smallBase, builders }) {
    const dir = dockerfile(join(scratch, 'stages'), [
      'FROM small-base AS a',
      'RUN sleep 2 && echo a > /a',
      'FROM small-base AS b',
      'RUN sleep 2 && echo b > /b',
      'FROM small-base',
      'COPY --from=a /a /a',
      'COPY --from=b /b /b',
    ]);
    for (const builder of builders) await measure(builder.import(smallBase, 'small-base'), builder);
    const [own] = builders;
    await measure(own.build({ dir, tag: 'bench-stages' }), own);
    return {
      sides: {
        'sleep 2': () => seconds(['sleep', '2']),
        'mbuild, cached': () => seconds(own.build({ dir, tag: 'bench-stages' }), own),
        ...Object.fromEntries(
          builders.map((builder) => [
            builder.name,
            () => seconds(builder.build({ dir, tag: 'bench-parallel', noCache: true }), builder),
          ]),
        ),
      },
      result: (m) => ({
        value: (m.mbuild - m['sleep 2']) / m['mbuild, cached'],
        unit: '× a cached build over sleep 2',
        goal: 1.5,
      }),
      peerGoal: 0.8,
    };
  },
};

/** Cost per file, step and layer, from few to many. `series` are drawn by plot.mjs. */
export const growth = {
  title: 'growth',
  rounds: 2,
  async setup({ scratch, smallBase, builders: [own] }) {
    const empty = dockerfile(join(scratch, 'none'), ['FROM small-base', 'ENV A=1']);
    const series = [files(scratch), steps(scratch), layers(scratch)];
    const sides = await coldSides([own], smallBase, 'small-base', empty);
    for (const { what, counts, dirOf } of series) {
      for (const count of counts) {
        const dir = dirOf(count);
        sides[`${count} ${what}`] = (await coldSides([own], smallBase, 'small-base', dir)).mbuild;
        sides[`${count} ${what}, cached`] = () =>
          seconds(own.build({ dir, tag: 'bench-growth' }), own);
      }
    }
    return {
      sides,
      inOrder: true,
      result: (m) => {
        const drawn = series.map(({ what, counts }) => ({
          what,
          counts,
          cold: counts.map((count) => cost(m, `${count} ${what}`, count)),
          cached: counts.map((count) => cost(m, `${count} ${what}, cached`, count)),
        }));
        const [{ cold, counts }] = drawn;
        return {
          value: cold.at(-1) / cold[counts.indexOf(1000)],
          unit: '× the cost of a file among 1,000',
          goal: 1.5,
          series: drawn,
        };
      },
    };
  },
};

/** Seconds per item beyond a build of nothing. */
function cost(medians, side, count) {
  return Math.max(0, medians[side] - medians.mbuild) / count;
}

function files(scratch) {
  return {
    what: 'files',
    counts: [100, 1000, 10_000, 100_000],
    dirOf: (count) => {
      const dir = dockerfile(join(scratch, `files-${count}`), [
        'FROM small-base',
        'COPY src /data/',
      ]);
      sourceTree(join(dir, 'src'), count, 2_000);
      return dir;
    },
  };
}

/** Commands that write nothing, so that no limit on layers is in the way. */
function steps(scratch) {
  return {
    what: 'steps',
    counts: [10, 50, 200, 500],
    dirOf: (count) =>
      dockerfile(join(scratch, `steps-${count}`), [
        'FROM small-base',
        ...Array.from({ length: count }, (_, i) => `RUN : ${i}`),
      ]),
  };
}

function layers(scratch) {
  return {
    what: 'layers',
    counts: [2, 16, 64, 126],
    dirOf: (count) =>
      dockerfile(join(scratch, `layers-${count}`), [
        'FROM small-base',
        ...Array.from({ length: count }, (_, i) => `RUN echo ${i} > /f${i}`),
      ]),
  };
}
