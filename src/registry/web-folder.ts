import { Readable } from 'node:stream';
import { MbuildError } from '../diagnostics/error';
import { basicHeader } from './auth';
import { isTransient } from './network-error';
import type { BlobBody } from './registry';
import { sendRetried, type RetryOptions } from './retry';
import {
  bytesOf,
  dismiss,
  rangeStart,
  readBody,
  redactUrl,
  type HttpRequest,
  type HttpResponse,
  type Transport,
} from './transport';

/**
 * A folder of a web server whose files are read with GET and written with PUT, as the WebDAV
 * modules of nginx and Apache, and many stores of files, have it. Every call may throw MbuildError
 * CACHE_SERVER_FAILED, REGISTRY_UNREACHABLE, TLS_FAILED or CANCELED; passing failures are tried
 * again first.
 */
export interface WebFolder {
  /**
   * A small file; `undefined` when there is none.
   * @throws MbuildError LIMIT_EXCEEDED beyond `limit` bytes.
   */
  read(name: string, limit: number, signal: AbortSignal): Promise<Buffer | undefined>;
  /** A file from `start` on; `undefined` when there is none. */
  open(name: string, start: number, signal: AbortSignal): Promise<BlobBody | undefined>;
  /** Bytes of a file; `undefined` when there is none, or the server does not tell. */
  size(name: string, signal: AbortSignal): Promise<number | undefined>;
  /** Writes a file of `size` bytes; `open` may be called again after a break. */
  put(
    name: string,
    size: number,
    open: () => AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void>;
}

/** A {@link WebFolder} over http and https. */
export class HttpFolder implements WebFolder {
  readonly #base: URL;
  readonly #headers: Readonly<Record<string, string>>;

  /** @param authorization the header of that name, instead of the address's user and password. */
  constructor(
    url: URL,
    authorization: string | undefined,
    private readonly transport: Transport,
    private readonly patience: RetryOptions,
  ) {
    const header = authorization ?? userOf(url);
    this.#base = withoutUser(url);
    if (!this.#base.pathname.endsWith('/')) this.#base.pathname += '/';
    // The bytes as they lie on the server; digests are of these.
    this.#headers = {
      'accept-encoding': 'identity',
      ...(header === undefined ? {} : { authorization: header }),
    };
  }

  async read(name: string, limit: number, signal: AbortSignal): Promise<Buffer | undefined> {
    const response = await this.#found({ method: 'GET', url: this.#url(name), signal }, [200]);
    return response === undefined ? undefined : readBody(response, limit);
  }

  async open(name: string, start: number, signal: AbortSignal): Promise<BlobBody | undefined> {
    const headers = start > 0 ? { range: `bytes=${start}-` } : {};
    const response = await this.#found(
      { method: 'GET', url: this.#url(name), headers, signal },
      [200, 206],
    );
    return (
      response && {
        start: response.status === 206 ? rangeStart(response) : 0,
        bytes: bytesOf(response, signal),
      }
    );
  }

  async size(name: string, signal: AbortSignal): Promise<number | undefined> {
    const response = await this.#found({ method: 'HEAD', url: this.#url(name), signal }, [200]);
    if (response === undefined) return undefined;
    await dismiss(response);
    const length = response.headers['content-length'];
    return length === undefined ? undefined : Number(length);
  }

  async put(
    name: string,
    size: number,
    open: () => AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    const url = this.#url(name);
    const response = await this.#send(() => ({
      method: 'PUT',
      url,
      headers: { 'content-length': String(size), 'content-type': 'application/octet-stream' },
      body: Readable.from(open(), { objectMode: false }),
      signal,
    }));
    await dismiss(response);
    if (![200, 201, 204].includes(response.status)) throw refused(response, 'take');
  }

  async #found(request: HttpRequest, wanted: readonly number[]): Promise<HttpResponse | undefined> {
    const response = await this.#send(() => request);
    if (wanted.includes(response.status)) return response;
    await dismiss(response);
    if (response.status === 404 || response.status === 410) return undefined;
    throw refused(response, 'give');
  }

  async #send(request: () => HttpRequest): Promise<HttpResponse> {
    try {
      return await sendRetried(
        this.transport,
        () => {
          const { headers, ...rest } = request();
          return { ...rest, headers: { ...this.#headers, ...headers } };
        },
        this.patience,
      );
    } catch (error) {
      if (!isTransient(error)) throw error;
      throw new MbuildError(
        'REGISTRY_UNREACHABLE',
        `the connection to ${this.#base.host} keeps breaking: ${(error as Error).message}`,
        { cause: error },
      );
    }
  }

  #url(name: string): URL {
    return new URL(encodeURIComponent(name), this.#base);
  }
}

/** The header for a user and password in an address. */
export function userOf(url: URL): string | undefined {
  return basicHeader(
    url.username === ''
      ? undefined
      : {
          kind: 'password',
          username: decodeURIComponent(url.username),
          password: decodeURIComponent(url.password),
        },
  );
}

/** The address without them. */
export function withoutUser(url: URL): URL {
  const bare = new URL(url);
  [bare.username, bare.password] = ['', ''];
  return bare;
}

/** @param doing what the server would not do with the file. */
function refused({ status, url }: HttpResponse, doing: 'give' | 'take'): MbuildError {
  const hints: Readonly<Record<number, string>> = {
    401: 'put a user and password into the address, or give a variable with authorization-env=',
    403: 'the server does not allow this user to do it',
    405: 'the server does not allow PUT: set dav_methods PUT in nginx, or Dav On in Apache',
    409: 'create the directory on the server first',
    413: 'the server limits the size of files',
  };
  return new MbuildError(
    'CACHE_SERVER_FAILED',
    `the server does not ${doing} ${redactUrl(url)}: it answers ${status}`,
    { hint: hints[status] },
  );
}
