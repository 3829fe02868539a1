import { createReadStream } from 'node:fs';
import { MbuildError, errnoOf, machineFault } from '../../diagnostics/error';
import { decompressed } from '../../layer/decompress';
import type { ContainerConfig, ImageConfig } from '../../oci/image';
import { hostPlatform, type Platform } from '../../oci/platform';
import type { BuildScope } from '../../progress/events';
import { assembleImage } from '../store/assemble';
import type { Image } from '../store/image-store';
import { Lease } from '../store/lease';
import type { ImageServices } from '../store/services';
import { checkCanceled } from './transfer';
import { unpackTar } from './unpack';

/** A root file system to be made an image. */
export interface ImportRequest {
  /** A tar, plain or compressed. */
  readonly source: { readonly path: string } | { readonly stream: AsyncIterable<Uint8Array> };
  /** How it shows in the history, e.g. the file's name or `-`. */
  readonly label: string;
  /** Full name (`formatReference`); a dangling image when absent. */
  readonly name?: string | undefined;
  /** `-c`: what the image runs with. */
  readonly config?: ContainerConfig | undefined;
  /** `-m`. */
  readonly message?: string | undefined;
  readonly platform?: Platform | undefined;
  /** RFC 3339; now when absent. */
  readonly created?: string | undefined;
}

/**
 * Makes an image of one layer out of a root file system. The tar is kept as it is, for its bytes
 * are what the DiffID names.
 * @throws MbuildError ARCHIVE_INVALID, ARCHIVE_UNSAFE, LIMIT_EXCEEDED, NO_SPACE, CANCELED.
 */
export async function importImage(
  request: ImportRequest,
  services: ImageServices,
  scope: BuildScope,
): Promise<Image> {
  const lease = new Lease(services.root);
  try {
    const { diffId } = await unpackTar(stoppable(decompressed(bytesOf(request)), scope.signal), {
      services,
      lease,
    });
    const created = request.created ?? new Date().toISOString();
    const config: ImageConfig = {
      ...(request.platform ?? hostPlatform()),
      created,
      config: request.config ?? {},
      rootfs: { type: 'layers', diff_ids: [diffId] },
      history: [{ created, comment: request.message ?? `Imported from ${request.label}` }],
    };
    return assembleImage(
      { config, names: request.name === undefined ? [] : [request.name] },
      services,
      lease,
    );
  } finally {
    lease.release();
  }
}

async function* bytesOf(request: ImportRequest): AsyncGenerator<Uint8Array> {
  if ('stream' in request.source) {
    yield* request.source.stream;
    return;
  }
  const { path } = request.source;
  try {
    yield* createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>;
  } catch (cause) {
    if (errnoOf(cause) === undefined) throw cause;
    throw (
      machineFault(cause) ??
      new MbuildError('ARCHIVE_INVALID', `cannot read ${path}: ${(cause as Error).message}`, {
        cause,
      })
    );
  }
}

async function* stoppable(
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of source) {
      checkCanceled(signal);
      yield chunk;
    }
  } catch (error) {
    checkCanceled(signal);
    throw error;
  }
}
