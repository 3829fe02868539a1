import {
  MbuildError,
  isMbuildError,
  type Diagnostic,
  type ErrorCode,
} from '../../diagnostics/error';
import type { Transfer } from '../../images/transfer/transfer';
import type { LaterImages } from '../../images/transfer/later-images';
import { unpackLayers } from '../../images/transfer/unpack';
import type { ChainID, Digest, DiffID } from '../../oci/digest';
import type { Descriptor } from '../../oci/image';
import { MediaType } from '../../oci/media-types';
import { withRow, type VertexId } from '../../progress/events';
import { downloadBlob } from '../../registry/download';
import type { RemoteBlob } from '../../registry/registry';
import { readSmallBlob } from '../../registry/small-blob';
import type { CacheKey } from '../key';
import type { Stack } from '../../snapshot/snapshotter';
import { readCache, type CacheContents, type ReadCache, type RemoteRecord } from './format';
import type { CachePlace } from './place';

/** A cache that was imported, with the place that it is in. */
interface Imported extends ReadCache {
  readonly place: CachePlace;
}

/** A layer on those below it. */
export interface StackedLayer {
  readonly diffId: DiffID;
  readonly chainId: ChainID;
}

/** A result that a cache elsewhere has. */
export interface RemoteResult {
  readonly record: RemoteRecord;
  /** How messages name the cache. */
  readonly from: string;
  /** Bytes of its layer as it is stored there. */
  readonly bytes: number;
}

/** What a build asks of the caches that it was given with `--cache-from`. */
export interface RemoteResults {
  /**
   * The results of a key, the first cache's first. The caches are asked when this is called first.
   */
  find(key: CacheKey): Promise<readonly RemoteResult[]>;
  /** A remembered digest (CacheStore.recall) of the caches that were asked already. */
  recall(name: string): string | undefined;
  /**
   * Says that a remembered digest is wrong: it is not told again.
   * @returns the error to end with; the build then begins anew.
   */
  refuseDigest(name: string): MbuildError;
  /**
   * The directories of layers, bottom first: those that the store lacks are fetched and unpacked,
   * side by side.
   * @throws MbuildError CACHE_INVALID for a layer that cannot be had: its records are then not
   * found any more, so that a new try goes without.
   */
  stack(layers: readonly StackedLayer[]): Promise<Stack>;
}

/** Selections beyond this are not fetched to explain a miss. */
const MAX_SELECTION = 16 << 20;
/** Errors that say nothing about a cache. */
const OWN_TROUBLES: readonly ErrorCode[] = [
  'NO_SPACE',
  'PERMISSION_DENIED',
  'IO_FAILED',
  'CANCELED',
];

/** What the caches of a build work with. */
export interface CacheSetting extends Pick<Transfer, 'services' | 'lease' | 'scope'> {
  readonly newVertex: () => VertexId;
  /** The images below the results, which no cache has. */
  readonly bases: LaterImages;
}

/**
 * The caches of `--cache-from`: keys first, layers when they are used. What cannot be had is a
 * warning and counts as missing.
 */
export class RemoteCaches implements RemoteResults {
  #loading: Promise<void> | undefined;
  #caches: readonly Imported[] = [];
  readonly #refused = new Set<string>();
  readonly #fetching = new Map<Digest, Promise<void>>();

  constructor(
    private readonly places: readonly CachePlace[],
    private readonly setting: CacheSetting,
  ) {}

  /** Begins to ask the caches, so that they have answered when the first step wants to know. */
  begin(): void {
    this.#load().catch(() => undefined); // told to whoever asks
  }

  async find(key: CacheKey): Promise<readonly RemoteResult[]> {
    await this.#load();
    return this.#caches.flatMap(({ contents, layers, place }) =>
      contents.records.flatMap((record): RemoteResult[] => {
        if (record.key !== key) return [];
        const diffId = record.layer?.diffId;
        return diffId !== undefined && this.#refused.has(diffId)
          ? []
          : [
              {
                record,
                from: place.title,
                bytes: diffId === undefined ? 0 : (layers.get(diffId)?.size ?? 0),
              },
            ];
      }),
    );
  }

  recall(name: string): string | undefined {
    if (this.#refused.has(name)) return undefined;
    for (const { contents } of this.#caches)
      if (contents.digests[name] !== undefined) return contents.digests[name];
    return undefined;
  }

  refuseDigest(name: string): MbuildError {
    this.#refused.add(name);
    const from =
      this.#caches.find(({ contents }) => contents.digests[name] !== undefined)?.place.title ??
      'a remote cache';
    return this.#warn(from, 'its record of a file does not match the file');
  }

  async stack(layers: readonly StackedLayer[]): Promise<Stack> {
    await this.setting.bases.pullBelow(layers.map(({ chainId }) => chainId));
    const id = this.setting.newVertex();
    const failed = new Set<DiffID>();
    return withRow('fetching layers from the cache', id, this.setting.scope, () =>
      unpackLayers(
        layers.map(({ diffId, chainId }) => {
          const found = this.#blobOf(diffId);
          const blob = found?.blob ??
            this.setting.services.layers.get(chainId)?.blobs[0] ?? {
              mediaType: MediaType.ociLayerTar,
              digest: diffId as string as Digest,
              size: 0,
            };
          return {
            diffId,
            blob,
            coming: () =>
              this.#fetching.has(blob.digest)
                ? undefined
                : this.setting.services.content.partial(blob.digest).path,
            fetch: (inner, report) =>
              this.#fetch(found?.place, blob, inner.signal, (bytes, retrying) =>
                report(retrying === true ? 'retrying' : 'downloading', bytes),
              ).catch((error: unknown) => {
                if (!inner.signal.aborted) failed.add(diffId);
                throw error;
              }),
          };
        }),
        { ...this.setting, vertex: id },
      ).catch((error: unknown) => {
        throw this.#refuse(
          failed.size > 0 ? [...failed] : layers.map(({ diffId }) => diffId),
          error,
        );
      }),
    );
  }

  /**
   * What the caches say that may be used, for explanations. Nothing of those that were not asked.
   */
  imported(): readonly { readonly title: string; readonly contents: CacheContents }[] {
    return this.#caches.map(({ place, contents }) => ({
      title: place.title,
      contents: {
        ...contents,
        records: contents.records.filter(
          ({ layer }) => layer === undefined || !this.#refused.has(layer.diffId),
        ),
      },
    }));
  }

  /**
   * The description of a selection; `undefined` when none can be had, as it only serves
   * explanations.
   */
  async selection(digest: string): Promise<Buffer | undefined> {
    const found = this.#selectionOf(digest);
    if (found === undefined) return undefined;
    return readSmallBlob(found.blob, found.place, {
      limit: MAX_SELECTION,
      what: 'a selection',
      signal: this.setting.scope.signal,
    }).catch((error: unknown) => {
      if (isMbuildError(error)) return undefined;
      throw error;
    });
  }

  /**
   * A layer of an image below the results, or of a result, as a blob that can be written elsewhere.
   */
  outgoingLayer(diffId: DiffID): RemoteBlob | undefined {
    return this.setting.bases.outgoing(diffId) ?? this.outgoing({ diffId });
  }

  /** A layer or selection of a cache as a blob that can be written elsewhere. */
  outgoing(
    what: { readonly diffId: DiffID } | { readonly selection: string },
  ): RemoteBlob | undefined {
    const found = 'diffId' in what ? this.#blobOf(what.diffId) : this.#selectionOf(what.selection);
    if (found === undefined) return undefined;
    const layers = 'diffId' in what ? [what.diffId] : [];
    return {
      descriptor: found.blob,
      repository: found.place.repository,
      open: (start) => this.#open(found.place, found.blob, layers, start),
    };
  }

  async *#open(
    place: CachePlace,
    blob: Descriptor,
    layers: readonly DiffID[],
    start: number,
  ): AsyncGenerator<Uint8Array> {
    this.setting.lease.hold({ blobs: [blob.digest] });
    await this.#fetch(place, blob, this.setting.scope.signal, () => undefined).catch(
      (error: unknown) => {
        throw this.#refuse(layers, error);
      },
    );
    yield* this.setting.services.content.open(blob.digest, { start }) as AsyncIterable<Uint8Array>;
  }

  #load(): Promise<void> {
    this.#loading ??= Promise.all(this.places.map((place) => this.#import(place))).then((read) => {
      this.#caches = read.flat();
    });
    return this.#loading;
  }

  async #import(place: CachePlace): Promise<Imported[]> {
    return withRow(
      `importing cache manifest from ${place.title}`,
      this.setting.newVertex(),
      this.setting.scope,
      async (id) => {
        try {
          const stored = await place.read(this.setting.scope.signal);
          const caches = stored.flatMap(
            ({ manifest, config }) => readCache(manifest, config) ?? [],
          );
          for (const why of caches.flatMap(({ refused }) => refused)) this.#warn(place.title, why);
          const records = caches.reduce((sum, { contents }) => sum + contents.records.length, 0);
          const text = caches.length > 0 ? plural(records) : nothingIn(stored);
          this.setting.scope.events({ kind: 'note', id, text });
          return caches.map((cache) => ({ ...cache, place }));
        } catch (error) {
          if (!isMbuildError(error) || this.setting.scope.signal.aborted) throw error;
          this.#warn(place.title, error.message);
          return [];
        }
      },
    );
  }

  #blobOf(diffId: DiffID): { readonly place: CachePlace; readonly blob: Descriptor } | undefined {
    for (const { place, layers } of this.#caches) {
      const blob = layers.get(diffId);
      if (blob !== undefined) return { place, blob };
    }
    return undefined;
  }

  #selectionOf(
    digest: string,
  ): { readonly place: CachePlace; readonly blob: Descriptor } | undefined {
    for (const { place, selections } of this.#caches) {
      const blob = selections.get(digest);
      if (blob !== undefined) return { place, blob };
    }
    return undefined;
  }

  /**
   * One download of a blob at a time: several layers, or builds of several stages, may be the same.
   */
  #fetch(
    place: CachePlace | undefined,
    blob: Descriptor,
    signal: AbortSignal,
    progress: (bytes: number, retrying?: boolean) => void,
  ): Promise<void> {
    if (place === undefined)
      return Promise.reject(
        new MbuildError('CACHE_INVALID', `no cache has the layer ${blob.digest}`),
      );
    const started =
      this.#fetching.get(blob.digest) ??
      downloadBlob(blob, place, { content: this.setting.services.content, signal, progress });
    this.#fetching.set(blob.digest, started);
    return started.finally(() => this.#fetching.delete(blob.digest));
  }

  /**
   * What could not be had is not taken another time, and nothing from a place that does not answer.
   * The build's own troubles are none of theirs.
   */
  #refuse(layers: readonly DiffID[], error: unknown): unknown {
    if (
      !isMbuildError(error) ||
      this.setting.scope.signal.aborted ||
      OWN_TROUBLES.includes(error.code)
    )
      return error;
    const places = new Set(layers.flatMap((diffId) => this.#blobOf(diffId)?.place ?? []));
    if (places.size === 0) return error;
    for (const diffId of layers) this.#refused.add(diffId);
    if (['REGISTRY_UNREACHABLE', 'REGISTRY_DENIED', 'TLS_FAILED'].includes(error.code))
      this.#caches = this.#caches.filter(({ place }) => !places.has(place));
    return this.#warn([...places].map(({ title }) => title).join(', '), error.message);
  }

  #warn(from: string, why: string): MbuildError {
    const diagnostic: Diagnostic = {
      severity: 'warning',
      code: 'CacheImport',
      message: `the cache of ${from} is not used here: ${why}`,
    };
    this.setting.scope.events({ kind: 'warning', diagnostic });
    return new MbuildError('CACHE_INVALID', diagnostic.message);
  }
}

function plural(records: number): string {
  return `${records} record${records === 1 ? '' : 's'}`;
}

function nothingIn(stored: readonly unknown[]): string {
  return stored.length === 0
    ? 'it is still empty'
    : 'holds no cache that this version of mbuild can read';
}
