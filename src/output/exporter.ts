import type { Elsewhere } from '../images/store/assemble';
import type { Descriptor } from '../oci/image';
import type { BuildScope, VertexId } from '../progress/events';
import type { Image } from '../images/store/image-store';
import type { ImageServices } from '../images/store/services';
import type { Attestation } from './attestation';

/** How layers are compressed on their way out. */
export interface CompressionSpec {
  readonly type: 'none' | 'gzip' | 'zstd';
  readonly level?: number | undefined;
  /** Compress again what is compressed another way already. */
  readonly force?: boolean | undefined;
}

/** An image on its way out. */
export interface Outgoing {
  readonly image: Image;
  /** Full names (`formatReference`) under which it goes; perhaps none. */
  readonly names: readonly string[];
  /** The layers that the store lacks. */
  readonly elsewhere?: Elsewhere | undefined;
  /** Images with the same number are one thing for several platforms, and leave as an index. */
  readonly group?: number | undefined;
  /** What is to be said of it; an index is needed to keep them. */
  readonly attestations?: readonly Attestation[] | undefined;
}

/** What an exporter made. */
export interface Exported {
  /**
   * The manifests as they left, in the order of the images; their digests differ from the store's
   * where layers were compressed. None for plain files.
   */
  readonly descriptors: readonly Descriptor[];
  /** The index of each group of images, in order. */
  readonly indexes?: readonly Descriptor[] | undefined;
}

/** Parts of a store that exporters read from. */
export type ExportServices = Pick<
  ImageServices,
  'root' | 'content' | 'layers' | 'snapshots' | 'threads' | 'xattrs'
>;

/**
 * Takes images of the store to another place. What is there under the same name is replaced as a
 * whole or not at all, but for a folder of files, which is added to.
 */
export interface Exporter {
  /**
   * @throws MbuildError USAGE for a place that cannot be written, STORE_CORRUPT, NO_SPACE,
   * CANCELED.
   */
  export(images: readonly Outgoing[], vertex: VertexId, scope: BuildScope): Promise<Exported>;
}
