import { MbuildError } from '../diagnostics/error';
import { makeTreeMutable } from '../linux/file-flags';
import { toRaw } from '../linux/paths';
import { treeSize } from '../linux/tree-size';
import type { Lease } from '../images/store/lease';
import { splitEnv } from '../oci/env';
import { maskedParts } from '../progress/mask';
import type { ActiveSnapshot, LayerId, Snapshotter } from '../snapshot/snapshotter';
import type { FailedRun, StepSettings } from '../solver/failed-run';
import { isDiskFull } from '../solver/full-disk';
import { KeptSteps, layersOfKept, type KeptMount, type KeptRun, type KeptStep } from './kept-step';

/** Where a step is kept, and for whom. */
export interface Keeping {
  readonly root: string;
  readonly snapshots: Snapshotter;
  /** Holds the layers until the record of the kept step does. */
  readonly lease: Lease;
  readonly build: string;
  /** Most bytes of all kept steps. */
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** What stands for a secret's value in what is written down. */
const WITHHELD = '***';

/**
 * Takes over the tree of a RUN that failed, and writes down what it was run with; values of secrets
 * are left out. The oldest kept steps give way. A tree that fills the disk is not kept: nothing else
 * could run until it goes.
 * @returns the kept step, or the bytes that are too many.
 * @throws MbuildError NO_SPACE, IO_FAILED.
 */
export function keepFailedRun(
  failed: FailedRun,
  { root, snapshots, lease, build, size, now }: Keeping,
): KeptStep | { readonly tooLarge: number } {
  const { active, user, spec, trees, step: failedStep, error } = failed;
  if (spec.capabilities.includes('LINUX_IMMUTABLE'))
    makeTreeMutable(toRaw(spec.rootfs.kind === 'directory' ? spec.rootfs.path : active.dir));
  snapshots.collect(active, user);
  const copies = [...trees.values()].flatMap(({ copy }) => copy ?? []);
  const bytes = [active, ...copies].reduce((sum, { dir }) => sum + treeSize(dir).bytes, 0);
  if (bytes > size) return { tooLarge: bytes };
  if (isDiskFull(root)) throw new MbuildError('NO_SPACE', 'the disk of the store is full');
  const own = [active, ...copies].map(({ id }) => id);
  lease.hold({ layers: own });
  const stack = snapshots.commit(active);
  for (const copy of copies) snapshots.commit(copy);
  const { name, run, withheld } = withoutSecrets(failedStep.name, keptRun(failed), failed.secrets);
  const step: KeptStep = {
    version: 1,
    build,
    row: failed.vertex,
    name,
    kept: new Date(now).toISOString(),
    error: error.message,
    bytes,
    stack,
    own,
    run,
    withheld,
  };
  lease.hold({ layers: layersOfKept(step) });
  write(step, root, snapshots);
  const kept = new KeptSteps(root);
  kept.remove(kept.surplus(now, size), snapshots);
  return step;
}

/** Where it can't be written down, nothing of it stays. */
function write(step: KeptStep, root: string, snapshots: Snapshotter): void {
  try {
    new KeptSteps(root).put(step);
  } catch (error) {
    for (const id of step.own) snapshots.remove(id);
    throw error;
  }
}

function keptRun({
  operation: { kind: _kind, mounts, ...operation },
  trees,
  settings,
}: FailedRun): KeptRun {
  return {
    ...operation,
    mounts: mounts.map((mount, i): KeptMount => {
      if (mount.kind !== 'bind' && mount.kind !== 'cache') return mount;
      const { from: _from, ...rest } = mount;
      const tree = trees.get(i);
      const layers = tree === undefined ? undefined : layersOf(tree);
      if (rest.kind === 'cache') return { ...rest, tree: layers };
      return { ...rest, source: tree?.subpath ?? rest.source, tree: layers ?? [] };
    }),
    settings: settingsOf(settings),
  };
}

function layersOf({
  stack,
  copy,
}: {
  readonly stack: readonly LayerId[];
  readonly copy?: ActiveSnapshot | undefined;
}): readonly LayerId[] {
  return copy === undefined ? stack : [copy.id];
}

/** Those alone: the options of a build have more. */
function settingsOf(options: StepSettings): StepSettings {
  const { limits, ulimits, shmSize, extraHosts, resolver } = options;
  return { limits, ulimits, shmSize, extraHosts, resolver };
}

/** Variables whose values hold a secret go whole; in the command it is masked. */
function withoutSecrets(
  name: string,
  run: KeptRun,
  secrets: readonly Buffer[],
): Pick<KeptStep, 'name' | 'run' | 'withheld'> {
  const values = maskedParts(secrets).map((part) => part.toString('utf8'));
  const holds = (text: string): boolean => values.some((value) => text.includes(value));
  const masked = (text: string): string =>
    values.reduce((rest, value) => rest.replaceAll(value, WITHHELD), text);
  return {
    name: masked(name),
    run: {
      ...run,
      args: run.args.map(masked),
      env: run.env.filter((entry) => !holds(entry)),
      mounts: run.mounts.map((mount) =>
        mount.kind === 'script' ? { ...mount, content: masked(mount.content) } : mount,
      ),
    },
    withheld: run.env.filter(holds).map((entry) => splitEnv(entry)[0]),
  };
}
