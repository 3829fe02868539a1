import { MbuildError } from '../../diagnostics/error';
import type { Descriptor, ImageConfig, Manifest } from '../../oci/image';
import { JsonError, anything, parseJsonObject } from '../../oci/json';
import { isIndexType, isManifestType } from '../../oci/media-types';
import { formatPlatform, hostPlatform } from '../../oci/platform';
import { MAX_DESCRIPTION, parseArtifact, parseConfig, parseIndex } from '../../oci/read-image';
import { familiarName, type Reference } from '../../oci/reference';
import { blobsIn } from '../../registry/download';
import type { ImageSource, RawManifest } from '../../registry/registry';
import { readSmallBlob } from '../../registry/small-blob';

/** No attestation is read that is longer. Bytes. */
const MAX_ATTESTATION = 128 << 20;
const REFERENCE_DIGEST = 'vnd.docker.reference.digest';
const PREDICATE_TYPE = 'in-toto.io/predicate-type';

/** An image of an index, and what lies beside it. */
export interface ListedImage {
  /** `os/architecture[/variant]`. */
  readonly platform: string;
  readonly descriptor: Descriptor;
  readonly attestations: readonly Descriptor[];
}

/** What a name stands for in a registry, with what is said of it. Parts are read when asked for. */
export class RemoteName {
  private constructor(
    readonly ref: Reference,
    readonly top: RawManifest,
    /** Of an index; empty for an image that is alone. */
    readonly manifests: readonly Descriptor[],
    private readonly source: { readonly registry: ImageSource; readonly signal: AbortSignal },
  ) {}

  /**
   * Asks for a name. @throws MbuildError IMAGE_NOT_FOUND, IMAGE_INVALID, and as the registry does.
   */
  static async open(
    ref: Reference,
    registry: ImageSource,
    signal: AbortSignal,
  ): Promise<RemoteName> {
    const top = await registry.manifest(ref, signal);
    const isIndex = isIndexType(top.descriptor.mediaType);
    const manifests = isIndex ? parseIndex(top.bytes, familiarName(ref)).manifests : [];
    return new RemoteName(ref, top, manifests, { registry, signal });
  }

  /** The images that it lists; the image itself where it is one. */
  images(): ListedImage[] {
    if (!isIndexType(this.top.descriptor.mediaType))
      return [{ platform: '', descriptor: this.top.descriptor, attestations: [] }];
    return this.manifests.filter(isImage).map((descriptor) => ({
      platform: formatPlatform(descriptor.platform ?? hostPlatform()),
      descriptor,
      attestations: this.manifests.filter(
        ({ annotations }) => annotations?.[REFERENCE_DIGEST] === descriptor.digest,
      ),
    }));
  }

  /** The config of an image. @throws MbuildError IMAGE_INVALID, LIMIT_EXCEEDED. */
  async config({ descriptor }: ListedImage): Promise<ImageConfig> {
    const { config, layers } = await this.#manifest(descriptor);
    const bytes = await this.#blob(config, 'the config', MAX_DESCRIPTION);
    return parseConfig(bytes, layers.length, familiarName(this.ref));
  }

  /**
   * The predicates of an image whose type begins like this, in order.
   * @throws MbuildError IMAGE_INVALID for a statement that is not one, LIMIT_EXCEEDED.
   */
  async predicates({ attestations }: ListedImage, type: string): Promise<unknown[]> {
    const found: unknown[] = [];
    for (const attestation of attestations) {
      const { layers } = await this.#manifest(attestation);
      for (const layer of layers.filter(({ annotations }) =>
        annotations?.[PREDICATE_TYPE]?.startsWith(type),
      ))
        found.push(this.#predicate(await this.#blob(layer, 'an attestation', MAX_ATTESTATION)));
    }
    return found;
  }

  #predicate(statement: Buffer): unknown {
    try {
      return parseJsonObject(statement, { predicate: anything }).predicate;
    } catch (error) {
      if (!(error instanceof JsonError)) throw error;
      throw new MbuildError(
        'IMAGE_INVALID',
        `an attestation of ${familiarName(this.ref)} ${error.message}`,
      );
    }
  }

  async #manifest({ digest, mediaType }: Descriptor): Promise<Manifest> {
    const { registry, repository } = this.ref;
    const isTop = digest === this.top.descriptor.digest && isManifestType(mediaType);
    const { bytes } = isTop
      ? this.top
      : await this.source.registry.manifest({ registry, repository, digest }, this.source.signal);
    return parseArtifact(bytes, familiarName(this.ref));
  }

  #blob(blob: Descriptor, what: string, limit: number): Promise<Buffer> {
    return readSmallBlob(blob, blobsIn(this.ref, this.source.registry), {
      limit,
      what: `${what} of ${familiarName(this.ref)}`,
      signal: this.source.signal,
    });
  }
}

function isImage({ platform, mediaType }: Descriptor): boolean {
  return isManifestType(mediaType) && platform !== undefined && platform.os !== 'unknown';
}
