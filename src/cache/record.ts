import type { ChainID, DiffID } from '../oci/digest';
import type { CacheKey, KeyInput, ResultId } from './key';

/** The layer that a step left. */
export interface RecordedLayer {
  readonly diffId: DiffID;
  /** The layer together with those below it: where the store finds it. */
  readonly chainId: ChainID;
  /** Bytes of the tar, and of its files. */
  readonly size: number;
  readonly contentSize: number;
  /** SOURCE_DATE_EPOCH that it was made for: later times in the tar are this. Absent for none. */
  readonly clampMtime?: number | undefined;
  /** Hash of the layer without its times; absent until it was needed once. */
  readonly treeDigest?: string | undefined;
}

/** A result of a step: from its key to what it left. */
export interface CacheRecord {
  readonly version: 1;
  readonly key: CacheKey;
  readonly input: KeyInput;
  /** The tree that came out, for the keys of what follows. */
  readonly result: ResultId;
  /** Absent when the step changed nothing: the tree is its parent's. */
  readonly layer?: RecordedLayer | undefined;
  /**
   * RFC 3339: goes into the image's history, so that a rebuild from the cache is the same image.
   */
  readonly created: string;
  readonly durationMs: number;
  /** The build that ran the step. */
  readonly build?: string | undefined;
}

/**
 * Records by key, and by what may have the same outcome. Shared by processes; a record is whole or
 * not there.
 */
export interface CacheStore {
  /**
   * The record of a key. A damaged one counts as missing and is set aside; so does one that another
   * version of mbuild wrote, which is left alone.
   */
  get(key: CacheKey): CacheRecord | undefined;
  /** Stores a record; one that is there already is replaced. */
  put(record: CacheRecord): void;
  /**
   * Earlier records of the same operation on the same parent, under whatever arguments and mounts.
   */
  candidates(family: string): CacheRecord[];
  /** Whether any copy onto a tree is on record. */
  knowsCopyOnto(parent: ResultId): boolean;
  /** Every record, for listing and pruning. */
  list(): CacheRecord[];
  delete(key: CacheKey): void;
  /**
   * Whether the record of a key is one that another version of mbuild wrote, in a form of its own.
   */
  isForeign(key: CacheKey): boolean;
  /**
   * When a record was deleted that is not there now (RFC 3339); `undefined` when there was none, or
   * it is there.
   */
  evictedAt(key: CacheKey): string | undefined;
  /**
   * Forgets what is older than a time (milliseconds since the epoch): notes of deleted records,
   * digests that were remembered, records of other versions of mbuild. What finds records is made
   * good where it does not agree with them.
   */
  forget(before: number): void;
  /** A digest that was computed once for a name which says all that it depends on. */
  recall(name: string): string | undefined;
  remember(name: string, digest: string): void;
}
