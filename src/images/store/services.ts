import type { Aside } from '../../content/aside';
import type { ContentStore } from '../../content/store';
import type { OverlayXattrs } from '../../layer/layer';
import type { Workers } from '../../linux/threads';
import type { Admit } from '../../registry/policy';
import type { Patience } from '../../registry/registry';
import type { Snapshotter } from '../../snapshot/snapshotter';
import type { ImageStore } from './image-store';
import type { LayerIndex } from './layer-index';

/** The parts of a store that images are made of. */
export interface ImageServices {
  /** The store's folder. */
  readonly root: string;
  readonly content: ContentStore;
  readonly layers: LayerIndex;
  /** Where what is found damaged goes. */
  readonly aside: Aside;
  readonly images: ImageStore;
  readonly snapshots: Snapshotter;
  readonly threads: Workers;
  /** Which of overlay's marks layer directories carry. */
  readonly xattrs: OverlayXattrs;
  /** Asked before anything of an image from elsewhere is used; everything is let in when absent. */
  readonly admit?: Admit | undefined;
  /** How long downloads that break off are pursued; has a default. */
  readonly patience?: Patience | undefined;
}
