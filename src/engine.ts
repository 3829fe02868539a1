import type { ContentStore } from './content/store';
import type { ImageStore } from './images/image-store';
import type { LayerIndex } from './images/layer-index';
import type { Threads } from './linux/threads';
import type { Sandbox } from './sandbox/sandbox';
import type { Snapshotter } from './snapshot/snapshotter';

/** The concrete services of one store. */
export interface Engine {
  /** The store's folder. */
  readonly root: string;
  readonly content: ContentStore;
  readonly layers: LayerIndex;
  readonly images: ImageStore;
  readonly snapshots: Snapshotter;
  readonly sandbox: Sandbox;
  readonly threads: Threads;
  /** Ends worker threads and gives up leases. */
  close(): Promise<void>;
}
