import { MbuildError, isMbuildError } from '../diagnostics/error';
import type { Digest } from '../oci/digest';
import type { Descriptor } from '../oci/image';
import { MAX_DESCRIPTION } from '../oci/read-image';
import { familiarName, familiarRepository, type Reference } from '../oci/reference';
import { failure, isSuccess } from './answers';
import { Listings } from './listings';
import { MANIFEST_TYPES, descriptorInHead, manifestOf } from './manifest-answer';
import type {
  BlobBody,
  BlobSource,
  EarlyUpload,
  RawManifest,
  Registry,
  Repository,
  SearchAnswer,
  Sent,
} from './registry';
import { RegistrySession, type SessionOptions } from './session';
import { hasMirrorsOnly, placesOf, type RegistrySettings } from './settings';
import { bytesOf, dismiss, rangeStart, type HttpResponse } from './transport';
import { Uploads, pushScope } from './upload';

/** How a client behaves; everything has a default. */
export interface RegistryOptions extends SessionOptions {
  /** Bytes that are sent in one request of an upload; all that there are when absent. */
  readonly pieceSize?: number | undefined;
}

/** Speaks to any number of registries: distribution-spec 1.1. */
export class RegistryClient implements Registry {
  readonly #session: RegistrySession;
  readonly #uploads: Uploads;
  readonly #listings: Listings;
  /** Mirrors that could not be reached. */
  readonly #down = new Set<string>();

  constructor(options: RegistryOptions = {}) {
    this.#session = new RegistrySession(options);
    this.#uploads = new Uploads(this.#session, options.pieceSize);
    this.#listings = new Listings(this.#session);
  }

  resolve(ref: Reference, signal: AbortSignal): Promise<Descriptor | undefined> {
    return this.#fromPlaces(ref, ref.digest !== undefined, signal, (place) =>
      this.#resolveAt({ ...ref, ...place }, signal),
    );
  }

  manifest(ref: Reference, signal: AbortSignal): Promise<RawManifest> {
    return this.#fromPlaces(ref, ref.digest !== undefined, signal, (place) =>
      this.#manifestAt({ ...ref, ...place }, signal),
    );
  }

  blob(
    repository: Repository,
    blob: Descriptor,
    start: number,
    signal: AbortSignal,
  ): Promise<BlobBody> {
    return this.#fromPlaces(repository, true, signal, (place) =>
      this.#blobAt(place, blob, start, signal),
    );
  }

  /**
   * Not every registry answers to HEAD, and not every answer says all; the manifest itself does.
   */
  async #resolveAt(ref: Reference, signal: AbortSignal): Promise<Descriptor | undefined> {
    const response = await this.#askManifest('HEAD', ref, signal).catch((error: unknown) => {
      if (isMbuildError(error, 'REGISTRY_DENIED')) return undefined;
      throw error;
    });
    if (response !== undefined) await dismiss(response);
    if (response?.status === 404) return undefined;
    const said = response === undefined ? undefined : descriptorInHead(response, ref);
    return said ?? (await this.#manifestAt(ref, signal)).descriptor;
  }

  async #manifestAt(ref: Reference, signal: AbortSignal): Promise<RawManifest> {
    const response = await this.#askManifest('GET', ref, signal);
    if (response.status === 404) {
      await dismiss(response);
      throw new MbuildError('IMAGE_NOT_FOUND', `${ref.registry} has no image ${familiarName(ref)}`);
    }
    if (response.status !== 200) throw await failure(response, `asking for ${familiarName(ref)}`);
    return manifestOf(response, await this.#session.read(response, MAX_DESCRIPTION, signal), ref);
  }

  #askManifest(method: 'GET' | 'HEAD', ref: Reference, signal: AbortSignal): Promise<HttpResponse> {
    const target = `${ref.repository}/manifests/${ref.digest ?? ref.tag ?? 'latest'}`;
    const headers = { accept: MANIFEST_TYPES };
    return this.#session.call(ref, { method, target, headers, scopes: pullScope(ref) }, signal);
  }

  async #blobAt(
    repository: Repository,
    blob: Descriptor,
    start: number,
    signal: AbortSignal,
  ): Promise<BlobBody> {
    const response = await this.#session.call(
      repository,
      {
        method: 'GET',
        target: `${repository.repository}/blobs/${blob.digest}`,
        headers: start === 0 ? {} : { range: `bytes=${start}-` },
        scopes: pullScope(repository),
      },
      signal,
    );
    if (response.status === 404) {
      await dismiss(response);
      throw new MbuildError(
        'IMAGE_NOT_FOUND',
        `${repository.registry} lacks the blob ${blob.digest} of ${familiarRepository(repository)}`,
      );
    }
    if (response.status === 416 && start > 0) {
      await dismiss(response);
      return this.#blobAt(repository, blob, 0, signal);
    }
    if (response.status !== 200 && response.status !== 206)
      throw await failure(response, `fetching ${blob.digest}`);
    const from = response.status === 200 ? 0 : rangeStart(response);
    if (from !== 0 && from !== start)
      throw new MbuildError(
        'REGISTRY_FAILED',
        `${response.url.host} answered with a different range than requested`,
      );
    return { start: from, bytes: bytesOf(response, signal) };
  }

  /**
   * Asks the mirrors first. One that is down is not asked again, one that lacks something only
   * costs the question.
   */
  async #fromPlaces<T>(
    repository: Repository,
    byDigest: boolean,
    signal: AbortSignal,
    fetch: (place: Repository) => Promise<T>,
  ): Promise<T> {
    const places = placesOf(repository, this.#session.settings).filter(
      ({ pulls }) => pulls === 'all' || (pulls === 'digest-only') === byDigest,
    );
    for (const { registry, repository: path } of places.slice(0, -1)) {
      if (this.#down.has(registry)) continue;
      try {
        const found = await fetch({ registry, repository: path });
        if (found !== undefined) return found;
      } catch (error) {
        if (signal.aborted) throw error;
        if (isMbuildError(error, 'REGISTRY_UNREACHABLE') || isMbuildError(error, 'TLS_FAILED'))
          this.#down.add(registry);
      }
    }
    if (hasMirrorsOnly(repository, this.#session.settings))
      throw new MbuildError(
        'IMAGE_NOT_FOUND',
        `no mirror has ${familiarRepository(repository)}, and ${repository.registry} is not to be asked`,
        { hint: 'bring it to a mirror, or let the registry itself be asked' },
      );
    return fetch(origin(repository, this.#session.settings));
  }

  pushBlob(
    named: Repository,
    blob: BlobSource,
    signal: AbortSignal,
    sent: (bytes: number) => void = () => undefined,
  ): Promise<Sent> {
    return this.#uploads.push(origin(named, this.#session.settings), blob, signal, sent);
  }

  async beginBlob(
    named: Repository,
    open: (signal: AbortSignal) => AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<EarlyUpload> {
    return this.#uploads.begin(origin(named, this.#session.settings), open, signal);
  }

  async pushManifest(
    named: Reference,
    manifest: RawManifest,
    signal: AbortSignal,
  ): Promise<Digest> {
    const ref: Reference = { ...named, ...origin(named, this.#session.settings) };
    const { digest, mediaType } = manifest.descriptor;
    const response = await this.#session.call(
      ref,
      {
        method: 'PUT',
        target: `${ref.repository}/manifests/${ref.tag ?? digest}`,
        headers: { 'content-type': mediaType },
        body: manifest.bytes,
        scopes: pushScope(ref),
      },
      signal,
    );
    if (!isSuccess(response)) throw await failure(response, `pushing ${familiarName(ref)}`);
    await dismiss(response);
    return digest;
  }

  checkPush(named: Repository, signal: AbortSignal): Promise<void> {
    return this.#uploads.check(origin(named, this.#session.settings), signal);
  }

  async tags(repository: Repository, signal: AbortSignal): Promise<string[] | undefined> {
    return this.#listings.tags(origin(repository, this.#session.settings), signal);
  }

  repositories(registry: string, signal: AbortSignal): Promise<string[]> {
    return this.#listings.repositories(registry, signal);
  }

  search(
    registry: string,
    term: string,
    limit: number,
    signal: AbortSignal,
  ): Promise<SearchAnswer> {
    return this.#listings.search(registry, term, limit, signal);
  }

  async check(registry: string, signal: AbortSignal): Promise<void> {
    const response = await this.#session.call(
      { registry, repository: '' },
      { method: 'GET', target: '', scopes: [] },
      signal,
    );
    if (response.status !== 200) throw await failure(response, 'logging in');
    await dismiss(response);
  }

  async close(): Promise<void> {
    await this.#session.close();
  }
}

/** Where a repository itself is. */
function origin(repository: Repository, settings: RegistrySettings): Repository {
  const place = placesOf(repository, settings).at(-1) ?? repository;
  return { registry: place.registry, repository: place.repository };
}

function pullScope(repository: Repository): string[] {
  return [`repository:${repository.repository}:pull`];
}
