import { MbuildError } from '../../diagnostics/error';
import {
  FLAG,
  NOT_EMPTY,
  type KeyTable,
  type KeyValues,
} from '../../diagnostics/structured-option';
import { parseReference } from '../../oci/reference';
import type { Exported } from '../exporter';
import { IMAGE_KEYS, formOf, namesOf, readTag } from './image-keys';
import {
  defineOutput,
  type ImageForm,
  type OutgoingResult,
  type OutputSetting,
  type ReadContext,
} from './kind';

/** What images that may be pushed can be told. */
export interface PushSpec extends ImageForm {
  readonly names: readonly string[];
  /** The registry gets no tag: the image is found by its digest alone. */
  readonly pushByDigest?: boolean | undefined;
  /** In the store it is also found as NAME@DIGEST, without having been pushed. */
  readonly nameCanonical?: boolean | undefined;
  /** Without names it is found as PREFIX@DIGEST in the store. */
  readonly danglingPrefix?: string | undefined;
}

/** `type=image`: the store, and with `push` registries. */
export interface ImageOutput extends PushSpec {
  readonly type: 'image';
  readonly push: boolean;
  /** False where the store is not to have the image. */
  readonly store?: boolean | undefined;
}

const PUSH_KEYS = {
  ...IMAGE_KEYS,
  'push-by-digest': FLAG,
  'name-canonical': FLAG,
  'dangling-name-prefix': NOT_EMPTY,
  // Trees are what the store has of layers: they are unpacked always.
  unpack: FLAG,
  store: FLAG,
  push: FLAG,
  'registry.insecure': {
    refused: 'is an option for registries, not for images',
    hint: 'use --insecure-registry HOST',
  },
} as const satisfies KeyTable;

export const image = defineOutput<ImageOutput, typeof PUSH_KEYS>({
  type: 'image',
  keys: PUSH_KEYS,
  read: (values, context) => ({
    type: 'image',
    ...readPush(values, context, values.push === true),
    push: values.push === true,
    store: values.store,
  }),
  traits: ({ push, store, compression, pushByDigest, nameCanonical, danglingPrefix }) => ({
    result: push || store !== false ? 'image' : 'nothing',
    inStore: store !== false,
    isNamed: pushByDigest !== true,
    isCanonical: push || nameCanonical === true,
    danglingPrefix,
    takesBlobs: store === false && compression === undefined,
    indexes: true,
    layers: 'gzip',
    title: push ? 'pushing the image' : undefined,
  }),
  export: (spec, images, setting) => pushImages(spec, images, setting),
});

/**
 * `type=registry` and `--push`: registries, and the store where it has all layers. Layers that a
 * cache elsewhere has are not
 * fetched for it; then the store has no such image.
 */
export interface RegistryOutput extends PushSpec {
  readonly type: 'registry';
}

export const registry = defineOutput<RegistryOutput, typeof PUSH_KEYS>({
  type: 'registry',
  keys: PUSH_KEYS,
  read: (values, context) => {
    if (values.push === false)
      throw new MbuildError('USAGE', '--output type=registry pushes: push=false is not valid', {
        hint: 'use type=image',
      });
    return { type: 'registry', ...readPush(values, context, true) };
  },
  traits: ({ compression, pushByDigest }) => ({
    result: 'image',
    inStore: true,
    isNamed: pushByDigest !== true,
    danglingPrefix: undefined,
    isCanonical: true,
    takesBlobs: compression === undefined,
    indexes: true,
    layers: 'gzip',
    title: 'pushing the image',
  }),
  export: (spec, images, setting) => pushImages(spec, images, setting),
});

function readPush(
  values: KeyValues<typeof PUSH_KEYS>,
  context: ReadContext,
  push: boolean,
): PushSpec {
  const names = namesOf(values.name, context);
  if (push && names.length === 0)
    throw new MbuildError('USAGE', '--output needs a name to push to', {
      hint: 'add name=… or --tag',
    });
  const pushByDigest = values['push-by-digest'];
  if (pushByDigest === true) names.forEach(refuseTag);
  const prefix = values['dangling-name-prefix'];
  return {
    names,
    pushByDigest,
    nameCanonical: values['name-canonical'],
    danglingPrefix: prefix === undefined ? undefined : readTag(prefix),
    ...formOf(values, context),
  };
}

/** A name without a tag was given the usual one. */
function refuseTag(name: string): void {
  const tag = parseReference(name)?.tag;
  if (tag === undefined || tag === 'latest') return;
  throw new MbuildError('USAGE', `push-by-digest pushes no tag, but ${name} has one`, {
    hint: 'leave out the tag, or push-by-digest',
  });
}

async function pushImages(
  spec: PushSpec,
  images: readonly OutgoingResult[],
  { services, vertex, scope, annotations }: OutputSetting,
): Promise<Exported> {
  const [{ pushExporter }, { mountSources }] = await Promise.all([
    import('../push'),
    import('../../images/transfer/mount-sources'),
  ]);
  const { compression, mediaTypes, attestationArtifact, pushByDigest: byDigest } = spec;
  const output = {
    mountFrom: mountSources(services),
    ...{ compression, mediaTypes, annotations, attestationArtifact, byDigest },
  };
  return pushExporter(output, services, services.registry).export(images, vertex, scope);
}
