import { MbuildError, isMbuildError } from '../diagnostics/error';
import { digestOf, isDigest, type Digest } from '../oci/digest';
import type { Descriptor } from '../oci/image';
import { MediaType, isIndexType, isManifestType } from '../oci/media-types';
import {
  DEFAULT_REGISTRY,
  familiarName,
  familiarRepository,
  type Reference,
} from '../oci/reference';
import type {
  BlobBody,
  BlobSource,
  EarlyUpload,
  RawManifest,
  Registry,
  Repository,
  SearchAnswer,
  SearchHit,
  Sent,
} from './registry';
import { placesOf, type RegistrySettings } from './settings';
import { RegistrySession, failure, type SessionOptions } from './session';
import { bytesOf, dismiss, rangeStart, type HttpResponse } from './transport';
import { Uploads, pushScope } from './upload';

/** How a client behaves; everything has a default. */
export interface RegistryOptions extends SessionOptions {
  /** Bytes that are sent in one request of an upload; all that there are when absent. */
  readonly chunkSize?: number | undefined;
}

/** A manifest is refused beyond this: distribution-spec, "Pushing Manifests", has registries take at least 4 MiB. */
const MAX_MANIFEST = 4 << 20;
const MAX_LISTING = 32 << 20;
const MANIFEST_TYPES = [
  MediaType.ociIndex,
  MediaType.ociManifest,
  MediaType.dockerIndex,
  MediaType.dockerManifest,
].join(', ');

/** Speaks to any number of registries: distribution-spec 1.1. */
export class RegistryClient implements Registry {
  readonly #session: RegistrySession;
  readonly #uploads: Uploads;
  /** Mirrors that could not be reached. */
  readonly #down = new Set<string>();

  constructor(options: RegistryOptions = {}) {
    this.#session = new RegistrySession(options);
    this.#uploads = new Uploads(this.#session, options.chunkSize);
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

  async #resolveAt(ref: Reference, signal: AbortSignal): Promise<Descriptor | undefined> {
    const response = await this.#session.call(
      ref,
      {
        method: 'HEAD',
        target: manifestPath(ref),
        headers: { accept: MANIFEST_TYPES },
        scopes: pullScope(ref),
      },
      signal,
    );
    await dismiss(response);
    if (response.status === 404) return undefined;
    const digest = response.headers['docker-content-digest'] ?? ref.digest ?? '';
    const size = Number(response.headers['content-length'] ?? NaN);
    const mediaType = mediaTypeOf(response);
    // Not every registry says all of this in the head; the manifest itself does.
    if (
      response.status !== 200 ||
      !isDigest(digest) ||
      !Number.isSafeInteger(size) ||
      !isKnown(mediaType)
    )
      return (await this.#manifestAt(ref, signal)).descriptor;
    if (ref.digest !== undefined && digest !== ref.digest) throw wrongDigest(ref, digest);
    return { mediaType, digest, size };
  }

  async #manifestAt(ref: Reference, signal: AbortSignal): Promise<RawManifest> {
    const response = await this.#session.call(
      ref,
      {
        method: 'GET',
        target: manifestPath(ref),
        headers: { accept: MANIFEST_TYPES },
        scopes: pullScope(ref),
      },
      signal,
    );
    if (response.status === 404) {
      await dismiss(response);
      throw new MbuildError('IMAGE_NOT_FOUND', `${ref.registry} has no image ${familiarName(ref)}`);
    }
    if (response.status !== 200) throw await failure(response, `asking for ${familiarName(ref)}`);
    const bytes = await this.#session.read(response, MAX_MANIFEST, signal);
    const digest = digestOf(bytes);
    const announced = response.headers['docker-content-digest'];
    if (ref.digest !== undefined && ref.digest !== digest) throw wrongDigest(ref, digest);
    if (announced !== undefined && isDigest(announced) && announced !== digest)
      throw wrongDigest(ref, digest, announced);
    const mediaType = manifestType(bytes, mediaTypeOf(response), ref);
    return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
  }

  async #blobAt(
    repository: Repository,
    blob: Descriptor,
    start: number,
    signal: AbortSignal,
  ): Promise<BlobBody> {
    const headers = start === 0 ? {} : { range: `bytes=${start}-` };
    const response = await this.#session.call(
      repository,
      {
        method: 'GET',
        target: `${repository.repository}/blobs/${blob.digest}`,
        headers,
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
    if (response.status === 416) {
      await dismiss(response);
      return this.#blobAt(repository, blob, 0, signal);
    }
    if (response.status !== 200 && response.status !== 206)
      throw await failure(response, `fetching ${blob.digest}`);
    const from = response.status === 200 ? 0 : rangeStart(response);
    if (from !== 0 && from !== start)
      throw new MbuildError(
        'REGISTRY_FAILED',
        `${response.url.host} answered with another range than was asked for`,
      );
    return { start: from, bytes: bytesOf(response, signal) };
  }

  /** Asks the mirrors first. One that is down is not asked again, one that lacks something only costs the question. */
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
    const target = `${ref.repository}/manifests/${ref.tag ?? digest}`;
    const response = await this.#session.call(
      ref,
      {
        method: 'PUT',
        target,
        headers: { 'content-type': mediaType },
        body: manifest.bytes,
        scopes: pushScope(ref),
      },
      signal,
    );
    if (response.status !== 201) throw await failure(response, `pushing ${familiarName(ref)}`);
    await dismiss(response);
    return digest;
  }

  async tags(repository: Repository, signal: AbortSignal): Promise<string[] | undefined> {
    const place = origin(repository, this.#session.settings);
    return this.#listing(place, `${place.repository}/tags/list`, pullScope(place), 'tags', signal);
  }

  async repositories(registry: string, signal: AbortSignal): Promise<string[]> {
    return (
      (await this.#listing(
        { registry, repository: '' },
        '_catalog',
        ['registry:catalog:*'],
        'repositories',
        signal,
      )) ?? []
    );
  }

  async search(
    registry: string,
    term: string,
    limit: number,
    signal: AbortSignal,
  ): Promise<SearchAnswer> {
    const response = await this.#session.search(
      registry,
      `/v1/search?${new URLSearchParams({ q: term, n: String(limit) }).toString()}`,
      signal,
    );
    if (response.status === 200 && mediaTypeOf(response) === 'application/json') {
      const { results } = parseObject(await this.#session.read(response, MAX_LISTING, signal));
      return {
        source: 'search',
        hits: (Array.isArray(results) ? results : []).flatMap(searchHit).slice(0, limit),
      };
    }
    if (registry === DEFAULT_REGISTRY) throw await failure(response, `searching for ${term}`);
    await dismiss(response);
    const names = (await this.repositories(registry, signal)).filter((name) =>
      name.includes(term.toLowerCase()),
    );
    return {
      source: 'catalog',
      hits: names.slice(0, limit).map((name) => ({
        name: `${registry}/${name}`,
        description: '',
        stars: 0,
        official: false,
      })),
    };
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

  /** Pages are linked by `Link: <…>; rel="next"`. Distribution-spec, "Content Discovery". */
  async #listing(
    repository: Repository,
    first: string,
    scopes: readonly string[],
    member: string,
    signal: AbortSignal,
  ): Promise<string[] | undefined> {
    const found: string[] = [];
    const seen = new Set<string>();
    for (
      let target: string | URL | undefined = first;
      target !== undefined && !seen.has(String(target));
    ) {
      seen.add(String(target));
      const response = await this.#session.call(
        repository,
        { method: 'GET', target, scopes },
        signal,
      );
      if (response.status === 404) {
        await dismiss(response);
        return undefined;
      }
      if (response.status !== 200)
        throw await failure(response, `listing the ${member} of ${repository.registry}`);
      const page = parseObject(await this.#session.read(response, MAX_LISTING, signal))[member];
      if (Array.isArray(page)) found.push(...page.filter((item) => typeof item === 'string'));
      const next: string | undefined = /<([^>]+)>\s*;\s*rel="?next"?/i.exec(
        response.headers.link ?? '',
      )?.[1];
      target = next === undefined ? undefined : new URL(next, response.url);
      if (found.length > 1_000_000)
        throw new MbuildError(
          'LIMIT_EXCEEDED',
          `${repository.registry} lists more than a million ${member}`,
        );
    }
    return found;
  }
}

/** One result of the search API; anything else is none. */
function searchHit(result: unknown): SearchHit[] {
  if (typeof result !== 'object' || result === null) return [];
  const {
    name,
    description,
    star_count: stars,
    is_official: official,
  } = result as Record<string, unknown>;
  if (typeof name !== 'string') return [];
  return [
    {
      name,
      description: typeof description === 'string' ? description : '',
      stars: typeof stars === 'number' ? stars : 0,
      official: official === true,
    },
  ];
}

/** Where a repository itself is. */
function origin(repository: Repository, settings: RegistrySettings): Repository {
  const place = placesOf(repository, settings).at(-1) ?? repository;
  return { registry: place.registry, repository: place.repository };
}

function manifestPath(ref: Reference): string {
  return `${ref.repository}/manifests/${ref.digest ?? ref.tag ?? 'latest'}`;
}

function pullScope(repository: Repository): string[] {
  return [`repository:${repository.repository}:pull`];
}

function mediaTypeOf(response: HttpResponse): string {
  return (response.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}

function isKnown(mediaType: string): boolean {
  return isIndexType(mediaType) || isManifestType(mediaType);
}

/**
 * The type of a manifest. Its own `mediaType`, where present, must agree with the header, and with what it holds:
 * bytes that read as an index to one tool and as a manifest to another are refused (CVE-2021-41190).
 */
function manifestType(bytes: Buffer, header: string, ref: Reference): string {
  const fields = parseObject(bytes);
  const own = typeof fields.mediaType === 'string' ? fields.mediaType : undefined;
  const type =
    own ??
    (isKnown(header) ? header : 'manifests' in fields ? MediaType.ociIndex : MediaType.ociManifest);
  const name = familiarName(ref);
  if (!isKnown(type) || (own !== undefined && isKnown(header) && header !== own)) {
    const old =
      fields.schemaVersion === 1
        ? 'Docker schema 1, which is no longer in use'
        : `${JSON.stringify(own ?? header)}`;
    throw new MbuildError(
      'IMAGE_INVALID',
      `${name} is not an image that mbuild knows: its manifest is ${old}`,
    );
  }
  if (
    isIndexType(type)
      ? 'layers' in fields || 'config' in fields || !Array.isArray(fields.manifests)
      : 'manifests' in fields || !Array.isArray(fields.layers)
  ) {
    throw new MbuildError(
      'IMAGE_INVALID',
      `the manifest of ${name} does not hold what its type ${type} says`,
    );
  }
  return type;
}

function parseObject(bytes: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch {
    // Falls through to the one error below.
  }
  throw new MbuildError(
    'REGISTRY_FAILED',
    'the registry answered with something other than a JSON object',
  );
}

function wrongDigest(ref: Reference, found: Digest, expected = ref.digest): MbuildError {
  return new MbuildError(
    'DIGEST_MISMATCH',
    `${ref.registry} answered for ${familiarName(ref)} with ${found} instead of ${expected}`,
    { hint: 'the registry is broken or tampered with; nothing was stored' },
  );
}
