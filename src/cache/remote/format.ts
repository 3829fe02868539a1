import { MbuildError } from '../../diagnostics/error';
import { isDigest, type DiffID } from '../../oci/digest';
import type { Descriptor } from '../../oci/image';
import {
  JsonError,
  anything,
  count,
  dictionary,
  isObject,
  list,
  object,
  parseJsonObject,
  text,
  type ReadObject,
} from '../../oci/json';
import { MediaType, layerCompression } from '../../oci/media-types';
import { cacheKey, KEY_VERSION, type CacheKey } from '../key';
import type { CacheRecord, RecordedLayer } from '../record';

/*
 * A cache elsewhere is an OCI manifest: its config says what was made, its layers are the layers of the records and, behind them, what
 * their selections hold. Registries keep it like any image. An inline cache has its records in the config of the image itself.
 */

/**
 * Media type of a cache's config. A later form has another version, and is passed over by this one.
 */
export const CACHE_CONFIG_TYPE = 'application/vnd.mbuild.cache.config.v1+json';
/** Media type of the description of a selection (cache/manifest.ts). */
export const SELECTION_TYPE = 'application/vnd.mbuild.cache.selection.v2';
/** The member of an image's config that holds an inline cache. */
export const INLINE_MEMBER = 'mbuild.cache.v1';

/**
 * A step that was done, and where it stands in its Dockerfile, so that a miss can be compared with
 * it.
 */
export interface RemoteRecord extends Omit<CacheRecord, 'version' | 'build'> {
  readonly stage: string;
  /** Place among the steps of its stage, from 0. */
  readonly index: number;
  readonly line: number;
  /** The instruction as it is written. */
  readonly text: string;
}

/** What a cache says, its blobs aside. */
export interface CacheContents {
  readonly version: 1;
  /** The form of the keys: {@link KEY_VERSION}. */
  readonly keys: string;
  readonly records: readonly RemoteRecord[];
  /**
   * Digests of selections of trees that steps left, by the name that says all that they depend on.
   */
  readonly digests: Readonly<Record<string, string>>;
  /** The images that stages began with. */
  readonly bases: readonly {
    readonly stage: string;
    readonly name: string;
    readonly digest: string;
  }[];
}

/** The config of a cache manifest. */
export interface CacheConfig extends CacheContents {
  /** What the manifest's layers unpack to, in their order. */
  readonly layers: readonly DiffID[];
  /** Which selections the manifest's further blobs describe, in their order. */
  readonly selections: readonly string[];
}

/** A cache that was read and checked. */
export interface ReadCache {
  readonly contents: CacheContents;
  readonly layers: ReadonlyMap<DiffID, Descriptor>;
  readonly selections: ReadonlyMap<string, Descriptor>;
  /** What was refused of it, in words. */
  readonly refused: readonly string[];
}

/** Configs beyond this are an attack or damage. */
export const MAX_CACHE_CONFIG = 32 << 20;
const MAX_RECORDS = 20_000;
const MAX_DIGESTS = 20_000;
const MAX_TOLD = 3;

const BLOB = object({ mediaType: text, digest: text, size: count });
const MANIFEST = { config: BLOB, layers: list(BLOB) };
const CONTENTS = {
  layers: list(text),
  selections: list(text),
  records: list(anything),
  digests: dictionary(text),
  bases: list(object({ stage: text, name: text, digest: text })),
};

/**
 * Reads a manifest; `undefined` for one that holds no cache at all, or one of another version.
 * @throws MbuildError CACHE_INVALID.
 */
export function configOf(manifest: Buffer): Descriptor | undefined {
  const { config } = read(manifest, 'manifest', { config: BLOB });
  const isOurs = [CACHE_CONFIG_TYPE, MediaType.ociConfig, MediaType.dockerConfig].includes(
    config?.mediaType ?? '',
  );
  return config !== undefined && isOurs ? descriptorOf(config) : undefined;
}

/**
 * Checks all that can be checked without its blobs. Every key is computed again from what it stands
 * for, so that no result can pass for that of another step. `undefined` when it holds no cache, or
 * only keys of another form.
 * @throws MbuildError CACHE_INVALID.
 */
export function readCache(manifestBytes: Buffer, configBytes: Buffer): ReadCache | undefined {
  const manifest = read(manifestBytes, 'manifest', MANIFEST);
  const blobs = (manifest.layers ?? []).map(descriptorOf);
  const isInline = manifest.config?.mediaType !== CACHE_CONFIG_TYPE;
  const config = isInline ? inlineConfig(configBytes) : ownConfig(configBytes);
  if (config === undefined) return undefined;
  const { layers = [], selections = [], records = [], digests = {} } = config;
  if (
    ![...layers, ...selections].every(isDigest) ||
    layers.length + selections.length !== blobs.length
  )
    throw broken('its config and its manifest do not match');
  if (!Object.keys(digests).every(isKey))
    throw broken('its config does not have the form that its type promises');
  if (records.length > MAX_RECORDS || Object.keys(digests).length > MAX_DIGESTS)
    throw broken(`it has ${records.length} records, but at most ${MAX_RECORDS} are allowed`);
  const found = pair(layers as readonly string[] as readonly DiffID[], blobs);
  const { sound, wrong } = judge(records, found);
  const bases = (config.bases ?? []).map(({ stage = '', name = '', digest = '' }) => ({
    stage,
    name,
    digest,
  }));
  return {
    contents: { version: 1, keys: KEY_VERSION, records: sound, digests, bases },
    layers: found,
    selections: pair(selections, blobs.slice(layers.length)),
    refused:
      wrong.length > MAX_TOLD
        ? [...wrong.slice(0, MAX_TOLD), `and ${wrong.length - MAX_TOLD} more`]
        : wrong,
  };
}

function ownConfig(bytes: Buffer): ReadObject<typeof CONTENTS> | undefined {
  return isOfThisForm(read(bytes, 'config', {})) ? read(bytes, 'config', CONTENTS) : undefined;
}

/** An image's own layers are those of its inline cache. */
function inlineConfig(bytes: Buffer): ReadObject<typeof CONTENTS> | undefined {
  const { [INLINE_MEMBER]: contents, rootfs } = read(bytes, 'config', {
    [INLINE_MEMBER]: anything,
    rootfs: object({ diff_ids: list(text) }),
  });
  if (!isObject(contents) || !isOfThisForm(contents)) return undefined;
  const checked = told('config', () => object(CONTENTS)(contents, ''));
  return { ...checked, layers: rootfs?.diff_ids ?? [], selections: [] };
}

/** What another version of mbuild wrote may look different. */
function isOfThisForm(config: Readonly<Record<string, unknown>>): boolean {
  return config['version'] === 1 && config['keys'] === KEY_VERSION;
}

function pair<K>(keys: readonly K[], blobs: readonly Descriptor[]): Map<K, Descriptor> {
  return new Map(
    keys.flatMap((key, i) => {
      const blob = blobs[i];
      return blob === undefined ? [] : [[key, blob] as const];
    }),
  );
}

function judge(
  records: readonly unknown[],
  layers: ReadonlyMap<DiffID, Descriptor>,
): { readonly sound: RemoteRecord[]; readonly wrong: string[] } {
  const sound: RemoteRecord[] = [];
  const wrong: string[] = [];
  for (const value of records) {
    const record = withoutNulls(value);
    if (!isRecord(record)) {
      wrong.push('a record does not have the form that its version promises');
      continue;
    }
    const why = faultOf(record, layers);
    if (why === undefined) sound.push(record);
    else wrong.push(why);
  }
  return { sound, wrong };
}

function withoutNulls(value: unknown): unknown {
  return isObject(value)
    ? Object.fromEntries(Object.entries(value).filter(([, member]) => member !== null))
    : value;
}

/** What is wrong with a record that has the right form; `undefined` for a sound one. */
function faultOf(
  record: RemoteRecord,
  layers: ReadonlyMap<DiffID, Descriptor>,
): string | undefined {
  const name = `the record of ${JSON.stringify(record.text.slice(0, 60))}`;
  if (cacheKey(record.input) !== record.key) return `${name} has the key of another step`;
  if (record.layer === undefined)
    return (record.result as string) === record.input.parent
      ? undefined
      : `${name} has no layer, but its result differs from that of the step before`;
  const blob = layers.get(record.layer.diffId);
  if (blob === undefined) return `${name} has a layer that is missing`;
  return layerCompression(blob.mediaType) === undefined
    ? `${name} has a layer of type ${JSON.stringify(blob.mediaType)}`
    : undefined;
}

function isRecord(value: unknown): value is RemoteRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { key, input, result, layer, created, durationMs, stage, index, line, text } =
    value as Partial<Record<keyof RemoteRecord, unknown>>;
  return (
    isKey(key) &&
    isKey(result) &&
    typeof input === 'object' &&
    input !== null &&
    hasInput(input) &&
    (layer === undefined || isLayer(layer)) &&
    typeof created === 'string' &&
    !Number.isNaN(Date.parse(created)) &&
    isCount(durationMs) &&
    isCount(index) &&
    isCount(line) &&
    typeof stage === 'string' &&
    typeof text === 'string'
  );
}

function hasInput(value: object): boolean {
  const { kind, parent, inputs } = value as Record<string, unknown>;
  return (
    typeof kind === 'string' &&
    isKey(parent) &&
    typeof inputs === 'object' &&
    inputs !== null &&
    !Array.isArray(inputs)
  );
}

function isLayer(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { diffId, chainId, size, contentSize, clampMtime } = value as Partial<
    Record<keyof RecordedLayer, unknown>
  >;
  return (
    isDigestText(diffId) &&
    isDigestText(chainId) &&
    isCount(size) &&
    isCount(contentSize) &&
    (clampMtime === undefined || isCount(clampMtime))
  );
}

function isKey(value: unknown): value is CacheKey {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

function isDigestText(value: unknown): boolean {
  return typeof value === 'string' && isDigest(value);
}

function descriptorOf({ mediaType, digest, size }: ReturnType<typeof BLOB>): Descriptor {
  if (mediaType === undefined || digest === undefined || !isDigest(digest) || size === undefined)
    throw broken('its manifest lists entries that are not blobs');
  return { mediaType, digest, size };
}

function read<M extends Parameters<typeof parseJsonObject>[1]>(
  bytes: Buffer,
  what: string,
  members: M,
): ReadObject<M> {
  return told(what, () => parseJsonObject(bytes, members));
}

/** @throws MbuildError CACHE_INVALID, for a JsonError. */
function told<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof JsonError) throw broken(`its ${what} ${error.message}`);
    throw error;
  }
}

function broken(why: string): MbuildError {
  return new MbuildError('CACHE_INVALID', why);
}
