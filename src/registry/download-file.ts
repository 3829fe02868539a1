import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { MbuildError, errnoOf, isMbuildError } from '../diagnostics/error';
import { isTransient } from './network-error';
import { PATIENCE } from './registry';
import { isPassing, pauseBetween, sendRetried, type RetryOptions } from './retry';
import { CERT_FOLDERS } from './session';
import { HttpFolder, userOf, withoutUser, type WebFolder } from './web-folder';
import { isObject, parseJson } from '../oci/json';
import { Transport, bytesOf, dismiss, readBody, redactUrl, type HttpResponse } from './transport';

/** How files are fetched; everything has a default. */
export interface FileClientOptions extends RetryOptions {
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** `host[:port]` whose certificate is not checked. */
  readonly insecure?: readonly string[] | undefined;
}

/** A file to be fetched from a web server. */
export interface FileRequest {
  /** A user and password in it are sent to its own host alone. */
  readonly url: URL;
  /** The ETag of what is there already. */
  readonly etag?: string | undefined;
  /**
   * The header of that name, instead of the address's user and password; for the address's own
   * origin alone.
   */
  readonly authorization?: string | undefined;
}

/** A file as it comes. */
export interface IncomingFile {
  /**
   * Without a Content-Encoding of gzip, in which some servers keep files whatever a client accepts.
   */
  readonly bytes: AsyncIterable<Uint8Array>;
  readonly etag?: string | undefined;
  /** Seconds since the epoch. */
  readonly lastModified?: number | undefined;
}

/** Files can be fetched from here. */
export interface FileSource {
  /**
   * Fetches a file and hands it to `take`, which may be called again after a break, then with the
   * file from its beginning. Resolves with what `take` made of it, or with `unchanged` when the
   * server says that the ETag still holds.
   * @throws MbuildError DOWNLOAD_FAILED, CANCELED, and what `take` throws.
   */
  fetch<T>(
    request: FileRequest,
    signal: AbortSignal,
    take: (file: IncomingFile) => Promise<T>,
  ): Promise<T | 'unchanged'>;
  /**
   * A folder of a web server.
   * @param authorization the header of that name, instead of the address's user and password.
   * @throws MbuildError NOT_ALLOWED where the network may not be asked.
   */
  folder(url: URL, authorization?: string): Promise<WebFolder>;
  /** Asks a service with JSON. @throws MbuildError REGISTRY_UNREACHABLE, TLS_FAILED, CANCELED. */
  call(request: JsonRequest, signal: AbortSignal): Promise<JsonAnswer>;
}

/** A call of a service. */
export interface JsonRequest {
  readonly url: URL;
  /** The header of that name. */
  readonly authorization: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** What the service said; `json` is absent where that is not an object. */
export interface JsonAnswer {
  readonly status: number;
  readonly json?: Readonly<Record<string, unknown>> | undefined;
}

/** Answers of services are short. */
const MAX_ANSWER = 1 << 20;

const STATUS_HINTS: Readonly<Record<number, string>> = {
  404: 'is the address right?',
};

/** As many as Go's http client follows. */
const MAX_REDIRECTS = 10;

/**
 * Fetches files over http and https, with the proxies and certificates that registries are reached
 * with.
 */
export class FileClient implements FileSource {
  readonly #transport: Transport;

  constructor(private readonly options: FileClientOptions = {}) {
    this.#transport = new Transport({
      env: options.env ?? process.env,
      insecure: options.insecure ?? [],
      certFolders: CERT_FOLDERS,
    });
  }

  async fetch<T>(
    request: FileRequest,
    signal: AbortSignal,
    take: (file: IncomingFile) => Promise<T>,
  ): Promise<T | 'unchanged'> {
    const attempts = this.options.attempts ?? PATIENCE.attempts;
    for (let attempt = 1; ; attempt++) {
      try {
        const response = await this.#follow(request, signal);
        if (response.status === 304 && request.etag !== undefined) {
          await dismiss(response);
          return 'unchanged';
        }
        if (response.status === 200) return await take(fileOf(response, signal));
        await dismiss(response);
        if (!isPassing(response.status) || attempt >= attempts)
          throw refused(request.url, response.status);
      } catch (error) {
        if (!isTransient(error)) throw downloadError(error, request.url);
        if (attempt >= attempts)
          throw new MbuildError(
            'DOWNLOAD_FAILED',
            `the connection to ${request.url.host} keeps breaking while ${redactUrl(request.url)} is fetched`,
            { cause: error },
          );
      }
      await pauseBetween(attempt, undefined, this.options, signal);
    }
  }

  folder(url: URL, authorization?: string): Promise<WebFolder> {
    return Promise.resolve(new HttpFolder(url, authorization, this.#transport, this.options));
  }

  async call({ url, authorization, body }: JsonRequest, signal: AbortSignal): Promise<JsonAnswer> {
    const response = await sendRetried(
      this.#transport,
      () => ({
        method: 'POST',
        url,
        headers: { authorization, 'content-type': 'application/json' },
        body: JSON.stringify(body),
        signal,
      }),
      this.options,
    );
    const json = objectIn(await readBody(response, MAX_ANSWER));
    return { status: response.status, json };
  }

  async close(): Promise<void> {
    await this.#transport.close();
  }

  async #follow(request: FileRequest, signal: AbortSignal): Promise<HttpResponse> {
    let url = request.url;
    for (let redirects = 0; ; redirects++) {
      const response = await this.#transport.send({
        method: 'GET',
        url: withoutUser(url),
        headers: headersFor(url, request),
        signal,
      });
      const { location } = response.headers;
      if (![301, 302, 303, 307, 308].includes(response.status) || location === undefined)
        return response;
      await dismiss(response);
      if (redirects >= MAX_REDIRECTS)
        throw new MbuildError(
          'DOWNLOAD_FAILED',
          `${redactUrl(request.url)} leads through more than ${MAX_REDIRECTS} redirects`,
        );
      const next = URL.canParse(location, url.href) ? new URL(location, url.href) : undefined;
      if (next === undefined || !/^https?:$/.test(next.protocol))
        throw new MbuildError(
          'DOWNLOAD_FAILED',
          `${redactUrl(url)} redirects to an address that is not http or https`,
        );
      // Credentials stay with the origin that they were given for.
      if (next.origin === url.origin && next.username === '')
        [next.username, next.password] = [url.username, url.password];
      url = next;
    }
  }
}

function headersFor(url: URL, { etag, ...request }: FileRequest): Record<string, string> {
  const isAtHome = url.origin === request.url.origin;
  const authorization = (isAtHome ? request.authorization : undefined) ?? userOf(url);
  return {
    // The bytes as they lie on the server; digests are of these.
    'accept-encoding': 'identity',
    ...(etag === undefined ? {} : { 'if-none-match': etag }),
    ...(authorization === undefined ? {} : { authorization }),
  };
}

function fileOf(response: HttpResponse, signal: AbortSignal): IncomingFile {
  const bytes = bytesOf(response, signal);
  const isPacked = /^(?:x-)?gzip$/i.test(response.headers['content-encoding'] ?? '');
  const modified = Date.parse(response.headers['last-modified'] ?? '');
  return {
    bytes: isPacked ? unpacked(bytes) : bytes,
    etag: response.headers.etag,
    ...(Number.isNaN(modified) ? {} : { lastModified: Math.floor(modified / 1000) }),
  };
}

/** @throws MbuildError DOWNLOAD_FAILED for what is not gzip. */
async function* unpacked(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const packed = Readable.from(bytes, { objectMode: false });
  const gunzip = createGunzip();
  // The error of the source is the error of what it is piped through.
  packed.on('error', (error) => gunzip.destroy(error));
  try {
    yield* packed.pipe(gunzip) as AsyncIterable<Uint8Array>;
  } catch (error) {
    if (errnoOf(error)?.startsWith('Z_') !== true) throw error;
    throw new MbuildError(
      'DOWNLOAD_FAILED',
      `the answer claims to be gzip, but is not: ${(error as Error).message}`,
      { cause: error },
    );
  } finally {
    packed.destroy();
    gunzip.destroy();
  }
}

function refused(url: URL, status: number): MbuildError {
  return new MbuildError(
    'DOWNLOAD_FAILED',
    `${redactUrl(url)} could not be fetched: the server answered ${status}`,
    { hint: STATUS_HINTS[status] ?? authorizationHint(url, status) },
  );
}

function authorizationHint({ hostname }: URL, status: number): string | undefined {
  if (status !== 401 && status !== 403) return undefined;
  return `the server asks for a login: pass a token with --secret id=HTTP_AUTH_TOKEN_${hostname}`;
}

/** What the transport says of registries, said of a file. */
function downloadError(error: unknown, url: URL): unknown {
  if (isMbuildError(error, 'REGISTRY_FAILED') || /^(?:UND_ERR|HPE)_/.test(errnoOf(error) ?? '')) {
    return new MbuildError(
      'DOWNLOAD_FAILED',
      `${redactUrl(url)} could not be fetched: ${(error as Error).message}`,
      { cause: error },
    );
  }
  if (!isMbuildError(error, 'REGISTRY_UNREACHABLE') && !isMbuildError(error, 'TLS_FAILED'))
    return error;
  const hint =
    error.code === 'TLS_FAILED'
      ? 'set SSL_CERT_FILE to a file with the CA of the server'
      : error.hint;
  return new MbuildError(
    'DOWNLOAD_FAILED',
    `${redactUrl(url)} could not be fetched: ${error.message}`,
    { cause: error, hint },
  );
}

function objectIn(bytes: Buffer): JsonAnswer['json'] {
  try {
    const value: unknown = parseJson(bytes);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
