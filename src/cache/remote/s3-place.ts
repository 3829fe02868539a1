import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import type { BlobBody } from '../../registry/registry';
import type { WebFolder } from '../../registry/web-folder';
import { FolderPlace } from './folder-place';
import {
  folderNames,
  networkTrouble,
  partsOf,
  PART_SIZE,
  serviceError,
  type Trouble,
} from './object-store';
import type { S3Source, ServicePatience } from './sources';

const PATIENCE: ServicePatience = { silenceMs: 30_000, attempts: 4 };
/** S3, multipart upload limits. */
const MAX_PARTS = 10_000;

/** A cache in a bucket. The client is loaded when the bucket is first asked. */
export function s3Place(source: S3Source, patience = PATIENCE): FolderPlace {
  const title = `s3://${source.bucket}/${source.prefix}`;
  return new FolderPlace(folderNames(title, source), new Bucket(source, patience));
}

type Sdk = typeof import('@aws-sdk/client-s3');

/** Files of a bucket. Every call may throw MbuildError CACHE_SERVER_FAILED or CANCELED. */
class Bucket implements WebFolder {
  #opened: Promise<{ readonly sdk: Sdk; readonly client: S3Client }> | undefined;

  constructor(
    private readonly source: S3Source,
    private readonly patience: ServicePatience,
  ) {}

  async read(name: string, limit: number, signal: AbortSignal): Promise<Buffer | undefined> {
    const body = await this.open(name, 0, signal);
    if (body === undefined) return undefined;
    return this.#told(signal, () => collect(body.bytes, limit, name));
  }

  open(name: string, start: number, signal: AbortSignal): Promise<BlobBody | undefined> {
    return this.#told(signal, async ({ sdk, client }) => {
      const range = start > 0 ? { Range: `bytes=${start}-` } : {};
      const answer = await client
        .send(new sdk.GetObjectCommand({ ...this.#at(name), ...range }), { abortSignal: signal })
        .catch(absent);
      if (answer?.Body === undefined) return undefined;
      return {
        start: answer.ContentRange === undefined ? 0 : start,
        bytes: answer.Body as unknown as AsyncIterable<Uint8Array>,
      };
    });
  }

  size(name: string, signal: AbortSignal): Promise<number | undefined> {
    return this.#told(signal, async ({ sdk, client }) => {
      const head = await client
        .send(new sdk.HeadObjectCommand(this.#at(name)), { abortSignal: signal })
        .catch(absent);
      if (head === undefined) return undefined;
      const age = Date.now() - (head.LastModified?.getTime() ?? Date.now());
      if (age > this.source.touchAfterMs)
        await client.send(
          new sdk.CopyObjectCommand({
            ...this.#at(name),
            CopySource: encodeURI(`${this.source.bucket}/${name}`),
            MetadataDirective: 'REPLACE',
          }),
          { abortSignal: signal },
        );
      return head.ContentLength;
    });
  }

  async put(
    name: string,
    size: number,
    open: () => AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    const partSize = Math.max(PART_SIZE, Math.ceil(size / MAX_PARTS));
    if (size > partSize) return this.#putParts(name, partsOf(open(), partSize), signal);
    const whole: Buffer[] = [];
    for await (const part of partsOf(open(), partSize)) whole.push(part);
    return this.#told(signal, async ({ sdk, client }) => {
      const Body = Buffer.concat(whole);
      await client.send(new sdk.PutObjectCommand({ ...this.#at(name), Body }), {
        abortSignal: signal,
      });
    });
  }

  async #putParts(name: string, parts: AsyncIterable<Buffer>, signal: AbortSignal): Promise<void> {
    const at = this.#at(name);
    const options = { abortSignal: signal };
    const UploadId = await this.#told(signal, async ({ sdk, client }) => {
      const begun = await client.send(new sdk.CreateMultipartUploadCommand(at), options);
      return begun.UploadId;
    });
    const sent: { readonly PartNumber: number; readonly ETag: string | undefined }[] = [];
    try {
      for await (const Body of parts) {
        const PartNumber = sent.length + 1;
        await this.#told(signal, async ({ sdk, client }) => {
          const part = { ...at, UploadId, PartNumber, Body };
          const { ETag } = await client.send(new sdk.UploadPartCommand(part), options);
          sent.push({ PartNumber, ETag });
        });
      }
      await this.#told(signal, ({ sdk, client }) =>
        client.send(
          new sdk.CompleteMultipartUploadCommand({
            ...at,
            UploadId,
            MultipartUpload: { Parts: sent },
          }),
          options,
        ),
      );
    } catch (error) {
      // Parts of an upload that is neither ended nor called off are paid for.
      const { sdk, client } = await this.#open();
      await client
        .send(new sdk.AbortMultipartUploadCommand({ ...at, UploadId }))
        .catch(() => undefined);
      throw error;
    }
  }

  #at(name: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.source.bucket, Key: name };
  }

  async #told<T>(
    signal: AbortSignal,
    work: (opened: { readonly sdk: Sdk; readonly client: S3Client }) => Promise<T>,
  ): Promise<T> {
    try {
      signal.throwIfAborted();
      return await work(await this.#open());
    } catch (error) {
      throw serviceError('the S3 service', error, signal, (cause) => this.#trouble(cause));
    }
  }

  #open(): Promise<{ readonly sdk: Sdk; readonly client: S3Client }> {
    this.#opened ??= import('@aws-sdk/client-s3').then((sdk) => ({
      sdk,
      client: new sdk.S3Client(this.#config()),
    }));
    return this.#opened;
  }

  #config(): S3ClientConfig {
    const { region, endpoint, pathStyle, credentials } = this.source;
    return {
      region,
      forcePathStyle: pathStyle,
      maxAttempts: this.patience.attempts,
      requestHandler: {
        connectionTimeout: Math.min(10_000, this.patience.silenceMs),
        socketTimeout: this.patience.silenceMs,
        requestTimeout: this.patience.silenceMs,
        throwOnRequestTimeout: true,
      },
      // Services other than AWS know no other checksums; blobs are verified by their digests.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(credentials === undefined ? {} : { credentials: defined(credentials) }),
    };
  }

  #trouble(error: Error): Trouble | undefined {
    const { region, bucket } = this.source;
    const status = statusOf(error);
    const known = TROUBLES[error.name];
    if (known !== undefined) return known;
    if (error.name === 'NoSuchBucket') return { text: `it has no bucket "${bucket}"` };
    if (REDIRECTS.includes(error.name) || status === 301)
      return {
        text: `the bucket "${bucket}" is not in the region ${region}`,
        hint: 'give the region of the bucket: region=…',
      };
    if (status !== undefined && status >= 500) return { text: `it answers ${status}` };
    return networkTrouble(error);
  }
}

function defined({
  sessionToken,
  ...keys
}: NonNullable<S3Source['credentials']>): NonNullable<S3ClientConfig['credentials']> {
  return sessionToken === undefined ? keys : { ...keys, sessionToken };
}

const REDIRECTS = ['PermanentRedirect', 'AuthorizationHeaderMalformed', 'TemporaryRedirect'];
const NEW_TOKEN = 'get new ones: tokens of CI runners end with the job, or earlier';
/** By the name of the error: S3 API reference, "Error responses". */
const TROUBLES: Readonly<Record<string, Trouble | undefined>> = {
  CredentialsProviderError: {
    text: 'there are no credentials for it',
    hint: 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or AWS_WEB_IDENTITY_TOKEN_FILE',
  },
  ExpiredToken: { text: 'the credentials have expired', hint: NEW_TOKEN },
  ExpiredTokenException: { text: 'the credentials have expired', hint: NEW_TOKEN },
  InvalidAccessKeyId: { text: 'it does not know the access key' },
  SignatureDoesNotMatch: { text: 'the secret key is not that of the access key' },
  InvalidToken: { text: 'it does not take the session token', hint: NEW_TOKEN },
  AccessDenied: {
    text: 'the credentials may not do this',
    hint: 'they need s3:GetObject and s3:PutObject',
  },
  RequestTimeTooSkewed: {
    text: "this machine's clock differs too much from the service's",
    hint: 'set the clock: the signature has the time in it',
  },
  EntityTooLarge: { text: 'it takes no files of this size' },
  QuotaExceeded: { text: 'the quota is used up' },
  SlowDown: { text: 'it is asked too often' },
};

function statusOf(error: Error): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
}

/** What is not there is `undefined`. */
function absent(error: unknown): undefined {
  if (error instanceof Error && ['NoSuchKey', 'NotFound'].includes(error.name)) return undefined;
  throw error;
}

/** @throws Error for more than `limit` bytes. */
async function collect(
  bytes: AsyncIterable<Uint8Array>,
  limit: number,
  name: string,
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bytes) {
    size += chunk.length;
    if (size > limit) throw new Error(`${name} has more than ${limit} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
