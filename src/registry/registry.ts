import type { Digest } from '../oci/digest';
import type { Descriptor } from '../oci/image';
import type { Reference } from '../oci/reference';

/** A place for images under a registry: a Reference without tag and digest. */
export type Repository = Pick<Reference, 'registry' | 'repository'>;

/** A manifest or index exactly as the registry has it. */
export interface RawManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
}

/**
 * The bytes of a blob from `start` on. They are not verified: `downloadBlob` or ContentStore.ingest
 * does.
 */
export interface BlobBody {
  /** Where the body begins: 0 when the server ignored the range that was asked for. */
  readonly start: number;
  readonly bytes: AsyncIterable<Uint8Array>;
}

/** How long a download that breaks off is pursued. */
export interface Patience {
  /** Breaks in a row without a single new byte. */
  readonly attempts: number;
  /** The first pause in milliseconds; it doubles every time. */
  readonly pauseMs: number;
}

/** The patience of those who were not told otherwise. */
export const PATIENCE: Patience = { attempts: 5, pauseMs: 250 };

/** A blob to be sent. */
export interface BlobSource {
  readonly descriptor: Descriptor;
  /** Its bytes from `start` on; may be called again after a break. */
  open(start: number): AsyncIterable<Uint8Array>;
  /** A repository of the same registry that may have it: mounted from there rather than sent. */
  readonly from?: string | undefined;
  /** The same bytes on their way already. */
  readonly early?: EarlyUpload | undefined;
}

/** A blob that is somewhere else, perhaps in a repository. */
export interface RemoteBlob extends BlobSource {
  readonly repository?: Repository | undefined;
}

/** A blob that is sent before its digest is known. */
export interface EarlyUpload {
  /**
   * Waits until all is there and names it. Rejects when it must be sent in the usual way after all.
   */
  finish(digest: Digest, sent?: (bytes: number) => void): Promise<void>;
  /** Sends no more; nothing is left to do with it. */
  abort(): void;
}

/** How a blob came to be in the registry. */
export type Sent = 'exists' | 'mounted' | 'uploaded';

/**
 * Images can be fetched from here. Every call may throw MbuildError REGISTRY_UNREACHABLE,
 * REGISTRY_DENIED, TLS_FAILED, REGISTRY_FAILED or CANCELED; passing failures (429, 5xx, broken
 * connections) are tried again first.
 */
export interface ImageSource {
  /**
   * What a reference points at, without its bytes; `undefined` when the registry has no such
   * manifest.
   */
  resolve(ref: Reference, signal: AbortSignal): Promise<Descriptor | undefined>;
  /**
   * The manifest, verified against the reference's digest.
   * @throws MbuildError IMAGE_NOT_FOUND, DIGEST_MISMATCH, LIMIT_EXCEEDED.
   */
  manifest(ref: Reference, signal: AbortSignal): Promise<RawManifest>;
  /** @throws MbuildError IMAGE_NOT_FOUND when the registry lacks the blob. */
  blob(
    repository: Repository,
    blob: Descriptor,
    start: number,
    signal: AbortSignal,
  ): Promise<BlobBody>;
}

/** Images can be sent here. */
export interface ImageTarget {
  /** Sends a blob unless it is there; `sent` is called with the bytes that were accepted so far. */
  pushBlob(
    repository: Repository,
    blob: BlobSource,
    signal: AbortSignal,
    sent?: (bytes: number) => void,
  ): Promise<Sent>;
  /**
   * Begins to send bytes that are only being made; `pushBlob` then gets it with the blob that they
   * turned out to be. `open` is given the signal that ends it.
   */
  beginBlob(
    repository: Repository,
    open: (signal: AbortSignal) => AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<EarlyUpload>;
  /**
   * Stores a manifest under the reference's tag, or under its digest when it has no tag. Its blobs
   * must be there.
   */
  pushManifest(ref: Reference, manifest: RawManifest, signal: AbortSignal): Promise<Digest>;
  /**
   * Resolves when the repository may be pushed to: an upload is begun, and given up.
   * @throws MbuildError REGISTRY_DENIED.
   */
  checkPush(repository: Repository, signal: AbortSignal): Promise<void>;
}

/** A repository that was found by a word. */
export interface SearchHit {
  readonly name: string;
  readonly description: string;
  readonly stars: number;
  readonly official: boolean;
}

/** What a search came to. */
export interface SearchAnswer {
  readonly hits: readonly SearchHit[];
  /**
   * `catalog` when the registry cannot search, and its list of repositories was looked through:
   * names are all that is known then.
   */
  readonly source: 'search' | 'catalog';
}

/** What a registry has. */
export interface Catalog {
  /** Tags in the registry's order; `undefined` when there is no such repository. */
  tags(repository: Repository, signal: AbortSignal): Promise<string[] | undefined>;
  /** Repositories of the whole registry; many public ones refuse this. */
  repositories(registry: string, signal: AbortSignal): Promise<string[]>;
  /**
   * Repositories that suit a word, at most `limit`: by Docker's search API v1, else out of the
   * catalog.
   */
  search(registry: string, term: string, limit: number, signal: AbortSignal): Promise<SearchAnswer>;
}

/** A distribution client. OCI distribution-spec 1.1. */
export interface Registry extends ImageSource, ImageTarget, Catalog {
  /** Whether the registry takes the credentials that are configured for it: `login`. */
  check(registry: string, signal: AbortSignal): Promise<void>;
  /** Closes idle connections. */
  close(): Promise<void>;
}
