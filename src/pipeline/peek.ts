import { MbuildError } from '../diagnostics/error';
import {
  parseConfig,
  parseIndex,
  parseManifest,
  selectPlatform,
} from '../images/transfer/manifest';
import { digestOf } from '../oci/digest';
import type { Descriptor, ImageConfig } from '../oci/image';
import { isIndexType } from '../oci/media-types';
import type { Platform } from '../oci/platform';
import { parseReference } from '../oci/reference';
import type { ImageSource } from '../registry/registry';

/** What a registry says of an image without its layers being fetched. */
export interface PeekedImage {
  readonly config: ImageConfig;
  readonly descriptor: Descriptor;
  /** Of the layers, as they are stored. */
  readonly bytes: number;
}

const MAX_CONFIG = 8 << 20;

/** Asks a registry for the manifest and the config of an image. @throws MbuildError REFERENCE_INVALID, DIGEST_MISMATCH, LIMIT_EXCEEDED, and as `ImageSource`. */
export async function peekImage(
  name: string,
  platform: Platform,
  registry: ImageSource,
  signal: AbortSignal,
): Promise<PeekedImage> {
  const ref = parseReference(name);
  if (ref === undefined)
    throw new MbuildError(
      'REFERENCE_INVALID',
      `${JSON.stringify(name)} is not the name of an image`,
    );
  let { descriptor, bytes } = await registry.manifest(ref, signal);
  if (isIndexType(descriptor.mediaType)) {
    const entry = selectPlatform(parseIndex(bytes, name), platform, name);
    ({ descriptor, bytes } = await registry.manifest(
      { registry: ref.registry, repository: ref.repository, digest: entry.digest },
      signal,
    ));
  }
  const manifest = parseManifest(bytes, name);
  const config = parseConfig(
    await smallBlob(ref, manifest.config, registry, signal),
    manifest.layers.length,
    name,
  );
  return { config, descriptor, bytes: manifest.layers.reduce((sum, layer) => sum + layer.size, 0) };
}

async function smallBlob(
  ref: NonNullable<ReturnType<typeof parseReference>>,
  blob: Descriptor,
  registry: ImageSource,
  signal: AbortSignal,
): Promise<Buffer> {
  if (blob.size > MAX_CONFIG)
    throw new MbuildError('LIMIT_EXCEEDED', `the config ${blob.digest} has ${blob.size} bytes`);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (await registry.blob(ref, blob, 0, signal)).bytes) {
    size += chunk.length;
    if (size > blob.size)
      throw new MbuildError(
        'SIZE_MISMATCH',
        `${blob.digest} is longer than the ${blob.size} bytes that were announced`,
      );
    chunks.push(chunk);
  }
  const bytes = Buffer.concat(chunks);
  if (digestOf(bytes) !== blob.digest)
    throw new MbuildError(
      'DIGEST_MISMATCH',
      `expected ${blob.digest}, but the bytes that came are ${digestOf(bytes)}`,
    );
  return bytes;
}
