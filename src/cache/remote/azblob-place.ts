import type { BlockBlobClient, ContainerClient } from '@azure/storage-blob';
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
import type { AzureSource, ServicePatience } from './sources';

const PATIENCE: ServicePatience = { silenceMs: 30_000, attempts: 4 };

/** A cache in a container. The client is loaded when it is first asked. */
export function azurePlace(source: AzureSource, patience = PATIENCE): FolderPlace {
  const { host } = new URL(source.accountUrl);
  const title = `${host}/${source.container}/${source.prefix}`;
  return new FolderPlace(folderNames(title, source), new Container(source, patience));
}

/** Blobs of a container. Every call may throw MbuildError CACHE_SERVER_FAILED or CANCELED. */
class Container implements WebFolder {
  #opened: Promise<ContainerClient> | undefined;
  #made: Promise<unknown> | undefined;

  constructor(
    private readonly source: AzureSource,
    private readonly patience: ServicePatience,
  ) {}

  read(name: string, limit: number, signal: AbortSignal): Promise<Buffer | undefined> {
    return this.#told(name, signal, async (blob) => {
      const { contentLength = 0 } = await blob.getProperties({ abortSignal: signal });
      if (contentLength > limit) throw new Error(`${name} has more than ${limit} bytes`);
      return contentLength === 0
        ? Buffer.alloc(0)
        : blob.downloadToBuffer(0, contentLength, { abortSignal: signal });
    }).catch(absent);
  }

  open(name: string, start: number, signal: AbortSignal): Promise<BlobBody | undefined> {
    return this.#told(name, signal, async (blob) => {
      const { readableStreamBody: bytes } = await blob.download(start, undefined, {
        abortSignal: signal,
      });
      return bytes && { start, bytes: bytes as unknown as AsyncIterable<Uint8Array> };
    }).catch(absent);
  }

  size(name: string, signal: AbortSignal): Promise<number | undefined> {
    return this.#told(name, signal, async (blob) => {
      const { contentLength } = await blob.getProperties({ abortSignal: signal });
      return contentLength;
    }).catch(absent);
  }

  async put(
    name: string,
    size: number,
    open: () => AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#make(signal);
    const ids: string[] = [];
    for await (const part of partsOf(open(), PART_SIZE)) {
      await this.#told(name, signal, async (blob) => {
        if (size === part.length) {
          await blob.upload(part, part.length, { abortSignal: signal });
          return;
        }
        const id = Buffer.from(String(ids.length).padStart(8, '0')).toString('base64');
        await blob.stageBlock(id, part, part.length, { abortSignal: signal });
        ids.push(id);
      });
    }
    if (ids.length > 0 || size === 0)
      await this.#told(name, signal, (blob) => blob.commitBlockList(ids, { abortSignal: signal }));
  }

  /** Makes the container, as BuildKit does. */
  #make(signal: AbortSignal): Promise<unknown> {
    this.#made ??= this.#told('', signal, async () => {
      const container = await this.#open();
      if (!(await container.exists({ abortSignal: signal })))
        await container.createIfNotExists({ abortSignal: signal });
    });
    return this.#made;
  }

  async #told<T>(
    name: string,
    signal: AbortSignal,
    work: (blob: BlockBlobClient) => Promise<T>,
  ): Promise<T> {
    try {
      signal.throwIfAborted();
      return await work((await this.#open()).getBlockBlobClient(name));
    } catch (error) {
      if (isAbsent(error)) throw error;
      throw serviceError('the Azure service', error, signal, (cause) => this.#trouble(cause));
    }
  }

  #open(): Promise<ContainerClient> {
    return (this.#opened ??= this.#connect());
  }

  async #connect(): Promise<ContainerClient> {
    const { accountUrl, container, key } = this.source;
    const sdk = await import('@azure/storage-blob');
    const url = new URL(accountUrl);
    const retryOptions = {
      maxTries: this.patience.attempts,
      tryTimeoutInMs: this.patience.silenceMs,
      maxRetryDelayInMs: 4000,
      retryDelayInMs: 500,
    };
    // An emulator has the account's name in the path, Azure in the host.
    const account = url.pathname.split('/')[1] || (url.hostname.split('.')[0] ?? '');
    if (key !== undefined) {
      const credential = new sdk.StorageSharedKeyCredential(account, key);
      return new sdk.BlobServiceClient(accountUrl, credential, {
        retryOptions,
      }).getContainerClient(container);
    }
    if (url.searchParams.has('sig'))
      return new sdk.BlobServiceClient(accountUrl, undefined, { retryOptions }).getContainerClient(
        container,
      );
    const { DefaultAzureCredential } = await import('@azure/identity');
    return new sdk.BlobServiceClient(accountUrl, new DefaultAzureCredential(), {
      retryOptions,
    }).getContainerClient(container);
  }

  #trouble(error: Error): Trouble | undefined {
    const { code = '', statusCode } = error as { code?: string; statusCode?: number } & Error;
    const known = TROUBLES[code] ?? TROUBLES[error.name];
    if (known !== undefined) return known;
    if (code === 'ContainerNotFound')
      return { text: `it has no container "${this.source.container}"` };
    if (statusCode === 403 || statusCode === 401) return REFUSED;
    if (statusCode !== undefined && statusCode >= 500) return { text: `it answers ${statusCode}` };
    if (error.name === 'AbortError') return { text: 'it does not answer' };
    return networkTrouble(error);
  }
}

const REFUSED: Trouble = {
  text: 'the credentials may not do this',
  hint: 'they need to read and write blobs; shared access signatures and tokens expire',
};
/** By the code or name of the error: Azure, "Blob service error codes". */
const TROUBLES: Readonly<Record<string, Trouble | undefined>> = {
  AuthenticationFailed: {
    text: 'it does not take the credentials: the key is wrong, or the token has expired',
    hint: "give new ones; the machine's clock must be right as well",
  },
  InvalidAuthenticationInfo: REFUSED,
  CredentialUnavailableError: {
    text: 'there are no credentials for it',
    hint: 'give secret_access_key=, or a shared access signature in account_url=',
  },
  AggregateAuthenticationError: {
    text: 'there are no credentials for it',
    hint: 'give secret_access_key=, or a shared access signature in account_url=',
  },
  ServerBusy: { text: 'it is asked too often' },
  AccountIsDisabled: { text: 'the account is disabled' },
};

function isAbsent(error: unknown): boolean {
  const { statusCode, code } = error as { statusCode?: number; code?: string };
  return statusCode === 404 || code === 'BlobNotFound' || code === 'ContainerNotFound';
}

/** What is not there is `undefined`. */
function absent(error: unknown): undefined {
  if (isAbsent(error)) return undefined;
  throw error;
}
