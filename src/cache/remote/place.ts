import type { Descriptor } from '../../oci/image';
import type { BlobBody, BlobSource, RawManifest, Repository } from '../../registry/registry';
import type { ActionsSource, AzureSource, S3Source } from './sources';

/** A manifest with its config, as a place has them. */
export interface StoredCache {
  readonly manifest: Buffer;
  readonly config: Buffer;
}

/** A cache on its way out: its blobs first, the manifest last. */
export interface OutgoingCache {
  /** Layers, selections and the config. */
  readonly blobs: readonly BlobSource[];
  readonly manifest: RawManifest;
}

/**
 * Where caches of builds are kept, outside of the store. What is written replaces what was there as
 * a whole or not at all.
 */
export interface CachePlace {
  /** How messages name it: a reference, or a folder. */
  readonly title: string;
  /** Where blobs can be mounted from, of a place in a registry. */
  readonly repository?: Repository | undefined;
  /**
   * What is there; images of several platforms may have a cache each. None when nothing is there
   * yet.
   * @throws MbuildError.
   */
  read(signal: AbortSignal): Promise<readonly StoredCache[]>;
  /** The bytes of a blob from `start` on, not verified. @throws MbuildError. */
  blob(blob: Descriptor, start: number, signal: AbortSignal): Promise<BlobBody>;
  /** @param note is told what was done, a line each. @throws MbuildError. */
  write(cache: OutgoingCache, signal: AbortSignal, note: (text: string) => void): Promise<void>;
}

/** `--cache-from`. */
export type CacheSource =
  | S3Source
  | AzureSource
  | ActionsSource
  | { readonly type: 'registry'; readonly ref: string }
  /** A folder of a web server; `authorization` is sent as the header of that name. */
  | {
      readonly type: 'http';
      readonly url: string;
      readonly tag: string;
      readonly authorization?: string | undefined;
    }
  | {
      readonly type: 'local';
      readonly folder: string;
      readonly tag: string;
      readonly digest?: string | undefined;
    };

/** `--cache-to`. `max`: every step of the build; `min`: those that the images are made of. */
export type CacheTarget =
  | { readonly type: 'inline' }
  | (CacheSource & {
      readonly mode: 'min' | 'max';
      /** A cache that cannot be written is a warning. */
      readonly ignoreError: boolean;
      readonly compression?:
        | {
            readonly type: 'none' | 'gzip' | 'zstd';
            readonly level?: number | undefined;
            readonly force?: boolean | undefined;
          }
        | undefined;
    });
