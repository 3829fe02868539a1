import { listMounts, removeMount, type KeptMount } from '../cache/mounts';
import { keptRepositories, removeRepository, type KeptRepository } from '../context/kept-sources';
import { KeptSteps, type KeptStep } from '../debug/kept-step';
import { isMbuildError } from '../diagnostics/error';
import { visible } from '../diagnostics/visible';
import type { Engine } from '../engine';
import type { BuildRecord } from '../history/build-record';
import { BuildHistory } from '../history/file-history';
import { surplusBuilds } from '../history/retention';

/** What builds left besides results. */
export interface Past {
  readonly builds: readonly BuildRecord[];
  readonly sources: readonly KeptRepository[];
  /** Caches of RUN that no step uses now. */
  readonly mounts: readonly KeptMount[];
  /** Trees of steps that failed. */
  readonly steps: readonly KeptStep[];
}

export const NO_PAST: Past = { builds: [], sources: [], mounts: [], steps: [] };
/** Repositories that were used since are kept, as BuildKit keeps its git checkouts. */
const SOURCES_KEPT_MS = 48 * 3600 * 1000;

/**
 * Builds that no miss is compared with, failed steps that are kept, and repositories that were not used for two days, or with
 * `all` at all.
 * @param before milliseconds since the epoch: what was used since stays.
 */
export function findPast(root: string, before: number, all: boolean, now: number): Past {
  const unused = Math.min(before, all ? Infinity : now - SOURCES_KEPT_MS);
  return {
    builds: surplusBuilds(new BuildHistory(root), before),
    sources: keptRepositories(root).filter(({ used }) => used < unused),
    mounts: [],
    steps: new KeptSteps(root).list().filter(({ kept }) => Date.parse(kept) < before),
  };
}

/** Cache mounts that were not used since a time, and are not now. */
export function idleMounts(root: string, before: number): KeptMount[] {
  return listMounts(root).filter(({ inUse, used }) => !inUse && Date.parse(used) < before);
}

/** What would go or is gone, in sections. */
export function pastText({ builds, sources, mounts, steps }: Past, dry: boolean): string {
  const section = (title: string, lines: readonly string[]): string =>
    lines.length === 0
      ? ''
      : `${dry ? 'Would delete' : 'Deleted'} ${title}:\n${lines.map((line) => `${line}\n`).join('')}\n`;
  return (
    section(
      'build records',
      builds.map(({ id }) => id),
    ) +
    section(
      'fetched repositories',
      sources.map(({ name }) => visible(name)),
    ) +
    section(
      'cache mounts',
      mounts.map(({ id }) => visible(id)),
    ) +
    section(
      'failed steps',
      steps.map(({ build, name }) => visible(`${build} ${name}`)),
    )
  );
}

export function sizeOfPast({ builds, sources, mounts, steps }: Past, root: string): number {
  const history = new BuildHistory(root);
  return [
    ...builds.map((build) => history.size(build)),
    ...sources.map(({ bytes }) => bytes),
    ...mounts.map(({ bytes }) => bytes),
    ...steps.map(({ bytes }) => bytes),
  ].reduce((sum, bytes) => sum + bytes, 0);
}

/** Deletes it, but what a build has begun to use meanwhile. Returns the bytes that were freed. */
export function removePast(
  { builds, sources, mounts, steps }: Past,
  { root, snapshots }: Pick<Engine, 'root' | 'snapshots'>,
): number {
  const history = new BuildHistory(root);
  const freed = sizeOfPast(
    {
      builds,
      sources: sources.filter((source) => removeRepository(source)),
      mounts: mounts.filter(wasRemoved),
      steps,
    },
    root,
  );
  for (const build of builds) history.delete(build);
  new KeptSteps(root).remove(steps, snapshots);
  return freed;
}

function wasRemoved(mount: KeptMount): boolean {
  try {
    removeMount(mount);
    return true;
  } catch (error) {
    if (isMbuildError(error, 'STORE_LOCKED')) return false;
    throw error;
  }
}
