import type { Readable } from 'node:stream';
import type { Digest } from '../oci/digest';

/** What a blob must turn out to be. */
export interface Expected {
  readonly digest: Digest;
  /** Bytes; a longer or shorter stream is refused as soon as that is known. */
  readonly size?: number | undefined;
}

/**
 * Blobs by digest: `blobs/sha256/<hex>`, as in an OCI image layout. A blob that is there is whole
 * and was verified.
 */
export interface ContentStore {
  /** Bytes of a blob, or `undefined` when it is not there. */
  size(digest: Digest): number | undefined;
  /** @throws MbuildError STORE_CORRUPT when it is not there. */
  open(digest: Digest, range?: { readonly start: number }): Readable;
  /**
   * The bytes of a blob, made sure of: those that were not verified since the machine was started
   * are hashed as they go.
   * @throws MbuildError STORE_CORRUPT when it is not there, and at its end when it has changed on
   * disk; it is then set aside.
   */
  openVerified(digest: Digest): AsyncIterable<Buffer>;
  /** A small blob (manifest, config), verified again. @throws MbuildError STORE_CORRUPT. */
  read(digest: Digest): Buffer;
  /**
   * Writes a stream to a temporary name, verifies it and renames it. Nothing is there before it is
   * whole. `hold` is told the digest before the blob is there, so that no collection of garbage can
   * come between; `begun` the file that is written, from its beginning, so that the bytes can be
   * read while they come.
   * @throws MbuildError DIGEST_MISMATCH, SIZE_MISMATCH, NO_SPACE.
   */
  ingest(
    source: AsyncIterable<Uint8Array>,
    expected?: Expected,
    hold?: (digest: Digest) => void,
    begun?: (file: string) => void,
  ): Promise<{ readonly digest: Digest; readonly size: number }>;
  /** The same for bytes in memory. */
  write(bytes: Uint8Array): Digest;
  /**
   * A file beside the blobs in which a download goes on after a break. It is appended to, then
   * handed to `adopt`.
   */
  partial(digest: Digest): { readonly path: string; readonly size: number };
  /**
   * Verifies a partial file and makes it the blob. A file that does not match is deleted.
   * @throws as `ingest`.
   */
  adopt(expected: Expected): Promise<void>;
  /** Path of the blob's file, for workers that read it themselves. */
  path(digest: Digest): string;
  /**
   * Whether a blob is there and still is what its name says: all of it is hashed.
   * @throws MbuildError when it cannot be read; that says nothing of it.
   */
  isIntact(digest: Digest): Promise<boolean>;
  /**
   * Moves a damaged blob out of the way; it is kept until the next prune. A second call does
   * nothing.
   */
  setAside(digest: Digest): void;
  list(): Digest[];
}
