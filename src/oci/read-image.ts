import { MbuildError } from '../diagnostics/error';
import { isDigest, type DiffID } from './digest';
import type { Descriptor, ImageConfig, Index, Manifest } from './image';
import {
  JsonError,
  count,
  dictionary,
  flag,
  list,
  number,
  object,
  parseJsonObject,
  text,
  type JsonReader,
} from './json';
import { layerCompression } from './media-types';
import { hostPlatform, type Platform } from './platform';

/** Most layers of an image: overlay takes no more, as docker knows too. */
const MAX_LAYERS = 127;
/**
 * Bytes of a manifest, an index or a config. Distribution-spec, "Pushing Manifests", has registries
 * take 4 MiB.
 */
export const MAX_DESCRIPTION = 4 << 20;

const texts = dictionary(text, '');
/** Go's `map[string]struct{}`. */
const names = dictionary<Record<string, never>>(() => ({}), {});
/** Docker reads a string where words belong as one word. moby, api/types/strslice. */
const words: JsonReader<readonly string[]> = (value, at) =>
  typeof value === 'string' ? [value] : list(text)(value, at);
const time: JsonReader<string> = (value, at) => {
  const read = text(value, at);
  if (read !== '' && Number.isNaN(Date.parse(read)))
    throw new JsonError(`has a ${JSON.stringify(at)} that is not a time`);
  return read;
};

const PLATFORM = {
  os: text,
  architecture: text,
  variant: text,
  'os.version': text,
  'os.features': list(text),
};
const DESCRIPTOR = {
  mediaType: text,
  digest: text,
  size: count,
  annotations: texts,
  platform: object(PLATFORM),
  artifactType: text,
  urls: list(text),
};
const HEALTH = {
  Test: list(text),
  Interval: number,
  Timeout: number,
  StartPeriod: number,
  StartInterval: number,
  Retries: number,
};
const CONTAINER = {
  User: text,
  ExposedPorts: names,
  Env: list(text),
  Entrypoint: words,
  Cmd: words,
  Volumes: names,
  WorkingDir: text,
  Labels: texts,
  StopSignal: text,
  Healthcheck: object(HEALTH),
  OnBuild: list(text),
  Shell: words,
  ArgsEscaped: flag,
  StopTimeout: number,
};
const HISTORY = {
  created: time,
  created_by: text,
  author: text,
  comment: text,
  empty_layer: flag,
};
const CONFIG = {
  ...PLATFORM,
  created: time,
  author: text,
  config: object(CONTAINER),
  rootfs: object({ type: text, diff_ids: list(text) }),
  history: list(object(HISTORY)),
};
const MANIFEST = {
  schemaVersion: number,
  mediaType: text,
  config: object(DESCRIPTOR),
  layers: list(object(DESCRIPTOR)),
  annotations: texts,
  artifactType: text,
  subject: object(DESCRIPTOR),
};
const INDEX = {
  schemaVersion: number,
  mediaType: text,
  manifests: list(object(DESCRIPTOR)),
  annotations: texts,
};

/**
 * Reads an index, from a registry or of a layout. An entry whose platform is null or lacks its os
 * has none.
 * @throws MbuildError IMAGE_INVALID naming `name`, UNSUPPORTED for digests other than sha256,
 * LIMIT_EXCEEDED.
 */
export function parseIndex(bytes: Uint8Array, name: string): Index {
  const index = parse(bytes, { name, what: 'index' }, INDEX);
  if ('layers' in index) throw broken(name, 'its index lists layers');
  const manifests = (index.manifests ?? []).map((entry) => descriptorOf(entry, name));
  return { ...index, manifests } as Index;
}

/**
 * Reads a manifest. @param mostLayers for what is no image.
 * @throws MbuildError IMAGE_INVALID naming `name`, UNSUPPORTED for digests other than sha256,
 * LIMIT_EXCEEDED.
 */
export function parseManifest(bytes: Uint8Array, name: string, mostLayers = MAX_LAYERS): Manifest {
  const manifest = parseArtifact(bytes, name, mostLayers);
  for (const { mediaType } of manifest.layers) {
    if (layerCompression(mediaType) === undefined)
      throw broken(name, `it holds ${JSON.stringify(mediaType)}, which is not a file system layer`);
  }
  return manifest;
}

/** The same for a manifest whose layers may be anything: attestations, charts, signatures. */
export function parseArtifact(bytes: Uint8Array, name: string, mostLayers = MAX_LAYERS): Manifest {
  const manifest = parse(bytes, { name, what: 'manifest' }, MANIFEST);
  if (manifest.schemaVersion !== 2)
    throw broken(name, `its manifest has the schema ${JSON.stringify(manifest.schemaVersion)}`);
  if ('manifests' in manifest || manifest.config === undefined)
    throw broken(name, 'its manifest lacks the config or the layers');
  const config = descriptorOf(manifest.config, name);
  const layers = (manifest.layers ?? []).map((layer) => descriptorOf(layer, name));
  if (layers.length > mostLayers)
    throw new MbuildError(
      'LIMIT_EXCEEDED',
      `${name} has ${layers.length} layers, but at most ${mostLayers} are allowed`,
    );
  if (config.size > MAX_DESCRIPTION)
    throw new MbuildError('LIMIT_EXCEEDED', `the config of ${name} has ${config.size} bytes`);
  return { ...manifest, config, layers } as Manifest;
}

/**
 * Reads an image config, which must fit the manifest. One that names no platform is for `platform`,
 * the machine's.
 * @param layers how many the manifest has.
 * @throws MbuildError IMAGE_INVALID naming `name`, LIMIT_EXCEEDED.
 */
export function parseConfig(
  bytes: Uint8Array,
  layers: number,
  name: string,
  platform: Platform = hostPlatform(),
): ImageConfig {
  const config = parse(bytes, { name, what: 'config' }, CONFIG);
  const diffIds = config.rootfs?.diff_ids ?? [];
  if (!diffIds.every((id): id is DiffID => isDigest(id)))
    throw broken(name, 'its config lists layers that are not sha256 digests');
  if (diffIds.length !== layers)
    throw broken(name, `its manifest has ${layers} layers and its config ${diffIds.length}`);
  const { os, architecture, created, ...rest } = config;
  return {
    ...rest,
    ...(os && architecture ? { os, architecture } : platform),
    ...(created ? { created } : {}),
    rootfs: { type: 'layers', diff_ids: diffIds },
  };
}

function descriptorOf(
  read: ReturnType<ReturnType<typeof object<typeof DESCRIPTOR>>>,
  name: string,
): Descriptor {
  const { mediaType, digest, size, platform, ...rest } = read;
  if (mediaType === undefined || digest === undefined || size === undefined)
    throw broken(name, 'one of its descriptors has no media type, digest or size');
  if (!isDigest(digest)) throw wrongDigest(name, digest);
  const { os, architecture } = platform ?? {};
  return {
    mediaType,
    digest,
    size,
    ...rest,
    ...(os && architecture ? { platform: { ...platform, os, architecture } } : {}),
  };
}

function wrongDigest(name: string, digest: string): MbuildError {
  const algorithm = /^(sha384|sha512|blake3):[0-9a-f]+$/.exec(digest)?.[1];
  if (algorithm === undefined)
    return broken(name, `${JSON.stringify(digest.slice(0, 100))} is not a digest`);
  return new MbuildError(
    'UNSUPPORTED',
    `${name} uses ${algorithm} digests; mbuild reads only sha256`,
    { hint: 'copy the image with a tool that writes sha256 digests' },
  );
}

function parse<M extends Parameters<typeof parseJsonObject>[1]>(
  bytes: Uint8Array,
  { name, what }: { readonly name: string; readonly what: string },
  members: M,
): ReturnType<typeof parseJsonObject<M>> {
  if (bytes.length > MAX_DESCRIPTION)
    throw new MbuildError('LIMIT_EXCEEDED', `the ${what} of ${name} has ${bytes.length} bytes`);
  try {
    return parseJsonObject(bytes, members);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw broken(name, `its ${what} ${error.message}`);
  }
}

function broken(name: string, why: string): MbuildError {
  return new MbuildError('IMAGE_INVALID', `${name} is not a valid image: ${why}`);
}
