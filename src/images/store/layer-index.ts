import type { ChainID, DiffID } from '../../oci/digest';
import type { Descriptor } from '../../oci/image';
import type { LayerId, Stack } from '../../snapshot/snapshotter';

/** One unpacked layer of the store: a committed directory and what it comes to. */
export interface LayerRecord {
  /** Names the layer together with everything below it. */
  readonly chainId: ChainID;
  /** The layer below; absent for the first. */
  readonly parent?: ChainID | undefined;
  readonly id: LayerId;
  readonly diffId: DiffID;
  /** Bytes of the uncompressed tar. */
  readonly size: number;
  /** Bytes of its files. */
  readonly contentSize: number;
  /**
   * Later times of its files are this in the tar (seconds since the epoch): the SOURCE_DATE_EPOCH
   * that it was built with.
   */
  readonly clampMtime?: number | undefined;
  /**
   * The blobs that are known to unpack to this tar (as pulled, or as compressed for a push); they
   * may be gone from the store.
   */
  readonly blobs: readonly Descriptor[];
  /**
   * Cache key of the step that wrote the directory, where that was done here: its files are what
   * the key says.
   */
  readonly madeBy?: string | undefined;
  /**
   * The boot in which the directory was written, and whether it was synced: after a reboot an
   * unsynced layer is verified before use.
   */
  readonly boot: string;
  readonly synced: boolean;
}

/**
 * ChainID → unpacked layer. Shared by processes: every record is a file, written to a temporary
 * name and renamed.
 */
export interface LayerIndex {
  get(chainId: ChainID): LayerRecord | undefined;
  /** The unpacked layers of an image, bottom first; `undefined` when one is missing. */
  stack(diffIds: readonly DiffID[]): Stack | undefined;
  /**
   * Records a committed layer. When another process was first, its record is returned and the
   * caller's directory is surplus.
   */
  put(record: LayerRecord): LayerRecord;
  /** Puts a record in the place of the one of the same chain, if that is still there. */
  replace(record: LayerRecord): void;
  /** Remembers one more blob that unpacks to the layer's tar. */
  addBlob(chainId: ChainID, blob: Descriptor): void;
  list(): LayerRecord[];
  delete(chainId: ChainID): void;
  /**
   * Takes a damaged layer's record out of the index; it is kept until the next prune, and its
   * directory with it.
   */
  setAside(chainId: ChainID): void;
}
