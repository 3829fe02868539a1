import type { CacheStore } from '../cache/record';
import type { RemoteResults } from '../cache/remote/caches';
import type { Aside } from '../content/aside';
import type { ContentStore } from '../content/store';
import type { Diagnostic } from '../diagnostics/error';
import type { TreeSource } from '../graph/graph';
import type { LayerIndex } from '../images/store/layer-index';
import type { Lease } from '../images/store/lease';
import type { OverlayXattrs } from '../layer/layer';
import type { Threads } from '../linux/threads';
import type { Sandbox } from '../sandbox/sandbox';
import type { Snapshotter } from '../snapshot/snapshotter';
import type { SolveOptions } from './options';
import type { Tree } from './tree';

/** What the solver works with. */
export interface SolverServices {
  /** The store's folder. */
  readonly root: string;
  readonly cache: CacheStore;
  /** Caches elsewhere, which are asked for what the store lacks. */
  readonly remote?: RemoteResults | undefined;
  readonly content: ContentStore;
  readonly layers: LayerIndex;
  /** Where what is found damaged goes. */
  readonly aside: Aside;
  readonly snapshots: Snapshotter;
  readonly sandbox: Sandbox;
  readonly threads: Threads;
  readonly xattrs: OverlayXattrs;
  /** Keeps what the build uses from being collected by other processes. */
  readonly lease: Lease;
}

/** What a step's own file may ask of the solver. */
export interface StepServices extends SolverServices {
  readonly options: SolveOptions;
  /** The tree of what `--from` names; a stage is solved first. */
  readonly tree: (source: TreeSource) => Promise<Tree>;
  /** @param once true for what is told of the first step alone that it is true of. */
  readonly warn: (diagnostic: Diagnostic, once?: boolean) => void;
}
