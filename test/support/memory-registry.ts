import { MbuildError } from '../../src/diagnostics/error';
import { digestOf, type Digest } from '../../src/oci/digest';
import type { Descriptor } from '../../src/oci/image';
import { formatReference, type Reference } from '../../src/oci/reference';
import type {
  BlobBody,
  BlobSource,
  ImageSource,
  ImageTarget,
  RawManifest,
  Repository,
  Sent,
} from '../../src/registry/registry';

/**
 * A registry without a network: what is pushed is there for whoever pulls. It keeps to the
 * contract, and to nothing else.
 */
export class MemoryRegistry implements ImageSource, ImageTarget {
  readonly #blobs = new Map<string, Buffer>();
  readonly #manifests = new Map<string, RawManifest>();
  /** What was asked of it, in order: `blob DIGEST`, `push DIGEST`, `manifest NAME`. */
  readonly log: string[] = [];

  async resolve(ref: Reference): Promise<Descriptor | undefined> {
    return this.#manifests.get(formatReference(ref))?.descriptor;
  }

  async manifest(ref: Reference, signal: AbortSignal): Promise<RawManifest> {
    signal.throwIfAborted();
    this.log.push(`manifest ${formatReference(ref)}`);
    const found = this.#manifests.get(formatReference(ref));
    if (found === undefined)
      throw new MbuildError('IMAGE_NOT_FOUND', `${formatReference(ref)} is not here`);
    return found;
  }

  async blob(
    repository: Repository,
    { digest }: Descriptor,
    start: number,
    signal: AbortSignal,
  ): Promise<BlobBody> {
    signal.throwIfAborted();
    this.log.push(`blob ${digest}`);
    const bytes = this.#blobs.get(keyOf(repository, digest));
    if (bytes === undefined) throw new MbuildError('IMAGE_NOT_FOUND', `there is no blob ${digest}`);
    return { start, bytes: chunksOf(bytes.subarray(start)) };
  }

  checkPush(): Promise<void> {
    return Promise.resolve();
  }

  async pushBlob(
    repository: Repository,
    { descriptor, open }: BlobSource,
    signal: AbortSignal,
    sent?: (bytes: number) => void,
  ): Promise<Sent> {
    signal.throwIfAborted();
    const key = keyOf(repository, descriptor.digest);
    if (this.#blobs.has(key)) return 'exists';
    const bytes = await bytesOf(open(0));
    if (digestOf(bytes) !== descriptor.digest)
      throw new MbuildError('DIGEST_MISMATCH', `these are not the bytes of ${descriptor.digest}`);
    this.log.push(`push ${descriptor.digest}`);
    this.#blobs.set(key, bytes);
    sent?.(bytes.length);
    return 'uploaded';
  }

  beginBlob(): Promise<never> {
    return Promise.reject(new MbuildError('UNSUPPORTED', 'no blob without a digest'));
  }

  async pushManifest(ref: Reference, manifest: RawManifest, signal: AbortSignal): Promise<Digest> {
    signal.throwIfAborted();
    const { digest } = manifest.descriptor;
    const { registry, repository } = ref;
    this.log.push(`push manifest ${formatReference(ref)}`);
    this.#manifests.set(formatReference({ registry, repository, digest }), manifest);
    if (ref.tag !== undefined) this.#manifests.set(formatReference(ref), manifest);
    return digest;
  }
}

function keyOf({ registry, repository }: Repository, digest: Digest): string {
  return `${registry}/${repository}@${digest}`;
}

/** In pieces, as a network brings them. */
export async function* chunksOf(bytes: Buffer, size = 1000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** All of a stream. */
export async function bytesOf(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}
