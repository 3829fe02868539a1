import path from 'node:path';
import { namesIn, readJson, replaceFile } from '../content/files';
import { isMbuildError } from '../diagnostics/error';
import type { HostVolume, RunMount, RunOperation } from '../graph/graph';
import { heldByLeases } from '../images/store/lease';
import { removeFile } from '../linux/remove-tree';
import type { LayerId, Snapshotter } from '../snapshot/snapshotter';
import type { StepSettings } from '../solver/failed-run';

/** Milliseconds for which the tree of a step that failed is kept. */
export const KEPT_FOR_MS = 24 * 3600 * 1000;

/** Layers behind a mount, bottom first; none for one that is not known any more. */
export type KeptTree = readonly LayerId[];

type Bind = Extract<RunMount, { kind: 'bind' }>;
type Cache = Extract<RunMount, { kind: 'cache' }>;

/** A mount of a RUN as it is kept: of a secret its name alone. */
export type KeptMount =
  | Exclude<RunMount, Bind | Cache>
  | (Omit<Bind, 'from'> & { readonly tree: KeptTree })
  | (Omit<Cache, 'from'> & { readonly tree?: KeptTree | undefined });

/** What a RUN was run with, so that it can be run again. */
export interface KeptRun extends Omit<RunOperation, 'kind' | 'mounts' | 'volumes'> {
  readonly mounts: readonly KeptMount[];
  readonly volumes?: readonly HostVolume[] | undefined;
  readonly settings: StepSettings;
}

/** A RUN that failed, with its tree as the command left it. */
export interface KeptStep {
  readonly version: 1;
  readonly build: string;
  /** Names the step in its build: the number of the step's row. */
  readonly row: number;
  /** As progress shows it: `[build 2/4] RUN make`. */
  readonly name: string;
  /** RFC 3339. */
  readonly kept: string;
  readonly error: string;
  /** Bytes of the files that the command wrote. */
  readonly bytes: number;
  /** The tree as the command left it, bottom first; the last layer is the step's own. */
  readonly stack: readonly LayerId[];
  /** Layers that were made for it, and go with it. */
  readonly own: readonly LayerId[];
  readonly run: KeptRun;
  /** Variables that are left out, as a secret's value is in them. */
  readonly withheld: readonly string[];
}

/** The steps that are kept in a store: `<root>/kept/<build>-<row>.json`. */
export class KeptSteps {
  readonly #directory: string;

  constructor(private readonly root: string) {
    this.#directory = path.join(root, 'kept');
  }

  put(step: KeptStep): void {
    replaceFile(this.root, this.#file(step), JSON.stringify(step));
  }

  /** All of them, the oldest first; one that cannot be read is left out. */
  list(): KeptStep[] {
    return namesIn(this.#directory)
      .flatMap((name) => this.#read(path.join(this.#directory, name)) ?? [])
      .sort((a, b) => (a.kept < b.kept ? -1 : 1));
  }

  get(build: string, row: number): KeptStep | undefined {
    return this.#read(this.#file({ build, row }));
  }

  /**
   * Forgets steps, and deletes what they alone wrote. Where somebody stands in one, its tree goes
   * with the next collection of garbage.
   */
  remove(steps: readonly KeptStep[], snapshots: Pick<Snapshotter, 'remove'>): void {
    if (steps.length === 0) return;
    for (const step of steps) removeFile(this.#file(step));
    const held = heldByLeases(this.root).layers;
    for (const id of steps.flatMap(({ own }) => own)) if (!held.has(id)) snapshots.remove(id);
  }

  /** Those whose day is over, and the oldest beyond a size. @param now milliseconds. */
  surplus(now: number, size = Infinity): KeptStep[] {
    let room = size;
    return this.list()
      .reverse()
      .filter((step) => {
        room -= step.bytes;
        return room < 0 || Date.parse(step.kept) < now - KEPT_FOR_MS;
      });
  }

  #read(file: string): KeptStep | undefined {
    try {
      const step = readJson<KeptStep>(file);
      return step?.version === 1 && Array.isArray(step.stack) ? step : undefined;
    } catch (error) {
      if (isMbuildError(error, 'STORE_CORRUPT')) return undefined;
      throw error;
    }
  }

  #file({ build, row }: Pick<KeptStep, 'build' | 'row'>): string {
    return path.join(this.#directory, `${build}-${row}.json`);
  }
}

/** Every layer that a kept step needs. */
export function layersOfKept({ stack, run }: KeptStep): LayerId[] {
  return [...stack, ...run.mounts.flatMap((mount) => ('tree' in mount ? (mount.tree ?? []) : []))];
}
