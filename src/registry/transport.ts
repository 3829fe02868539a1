import type { Readable } from 'node:stream';
import type { Dispatcher, buildConnector } from 'undici';
import { MbuildError } from '../diagnostics/error';
import { certificatesFor, type TlsOptions } from './certificates';
import { networkError } from './network-error';
import { hostnameOf, proxyFor } from './proxy';
import { isInsecureHost } from './settings';
import { openTunnel, proxyAuthorization } from './tunnel';

/** One request, sent once: neither redirects nor refusals are acted upon. */
export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body?: string | Buffer | Readable | undefined;
  readonly signal: AbortSignal;
}

/** The answer; `body` must be read or destroyed. */
export interface HttpResponse {
  readonly status: number;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Readable;
}

/** What the network needs to know of the user's machine. */
export interface NetworkOptions {
  /** Proxies (`HTTPS_PROXY`, …) and extra CAs (`SSL_CERT_FILE`, …) are read from here. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /**
   * `host[:port]` or an IPv4 network whose certificate is not checked, and which may speak plain
   * http.
   */
  readonly insecure: readonly string[];
  /** Directories like docker's `certs.d`: {@link certificatesFor}. */
  readonly certFolders: readonly string[];
}

/** How a request reaches its server. */
interface Route {
  readonly dispatcher: Dispatcher;
  /** The http proxy that is asked in the server's place. */
  readonly proxy?: URL | undefined;
}

const TIMEOUT_MS = 60_000;

/**
 * Sends http requests through the user's proxies, trusting the user's CAs. Neither undici nor a
 * certificate is loaded before they are needed.
 */
export class Transport {
  readonly #routes = new Map<string, Route>();

  constructor(private readonly options: NetworkOptions) {}

  /**
   * @throws MbuildError REGISTRY_UNREACHABLE, REGISTRY_FAILED, TLS_FAILED, CANCELED; other network
   * errors as they are (see `isTransient`).
   */
  async send(request: HttpRequest): Promise<HttpResponse> {
    const { url, signal } = request;
    try {
      signal.throwIfAborted();
      const { dispatcher, proxy } = this.#route(url);
      const response = await dispatcher.request({
        origin: (proxy ?? url).origin,
        path: proxy === undefined ? url.pathname + url.search : withoutHash(url),
        method: request.method,
        headers: {
          'user-agent': 'mbuild',
          ...(proxy === undefined ? {} : { host: url.host, ...proxyAuthorization(proxy) }),
          ...request.headers,
        },
        body: request.body ?? null,
        signal,
        headersTimeout: TIMEOUT_MS,
        bodyTimeout: TIMEOUT_MS,
      });
      // A connection may break before anybody reads; whoever reads then is told.
      response.body.on('error', () => undefined);
      if (proxy !== undefined && response.statusCode === 407) {
        response.body.destroy();
        throw new MbuildError(
          'REGISTRY_UNREACHABLE',
          `the proxy ${proxy.host} asks for a user and password`,
        );
      }
      return {
        status: response.statusCode,
        url,
        headers: headersOf(response.headers),
        body: response.body,
      };
    } catch (error) {
      throw networkError(error, url, signal);
    }
  }

  /**
   * True when the host may be spoken to without TLS, or with a certificate that nobody vouches for.
   */
  isInsecure(host: string): boolean {
    return isInsecureHost(host, this.options.insecure);
  }

  async close(): Promise<void> {
    const open = [...this.#routes.values()];
    this.#routes.clear();
    await Promise.all(open.map(({ dispatcher }) => dispatcher.destroy()));
  }

  #route(url: URL): Route {
    let route = this.#routes.get(url.origin);
    if (route === undefined) this.#routes.set(url.origin, (route = this.#connect(url)));
    return route;
  }

  #connect(url: URL): Route {
    const { Agent, buildConnector } = require('undici') as typeof import('undici');
    const isSecure = url.protocol === 'https:';
    const tls = isSecure ? this.#tls(url.host) : undefined;
    const proxy = proxyFor(url, this.options.env);
    if (proxy === undefined) return { dispatcher: new Agent({ connect: tls ?? {} }) };
    const proxyTls = proxy.protocol === 'https:' ? this.#tls(proxy.host) : {};
    // A plain request is handed to an http proxy as a whole, as Go's programs do; many allow no
    // tunnel to port 80.
    if (!isSecure && /^https?:$/.test(proxy.protocol))
      return { dispatcher: new Agent({ connect: proxyTls }), proxy };
    const upgrade = tls === undefined ? undefined : buildConnector({ ...tls });
    return { dispatcher: new Agent({ connect: tunnelThrough(proxy, proxyTls, upgrade) }) };
  }

  #tls(host: string): TlsOptions {
    const { env, certFolders } = this.options;
    return {
      ...certificatesFor(host, env, certFolders),
      rejectUnauthorized: !this.isInsecure(host),
    };
  }
}

/** @param upgrade begins TLS in the tunnel; absent for plain http. */
function tunnelThrough(
  proxy: URL,
  proxyTls: Partial<TlsOptions>,
  upgrade: buildConnector.connector | undefined,
): buildConnector.connector {
  return (options, callback) => {
    const port = Number(options.port || (options.protocol === 'https:' ? 443 : 80));
    const open = async (): Promise<void> => {
      try {
        const to = { hostname: hostnameOf(options.hostname), port };
        const httpSocket = await openTunnel(proxy, to, proxyTls);
        if (upgrade === undefined) callback(null, httpSocket);
        else upgrade({ ...options, httpSocket }, callback);
      } catch (error) {
        callback(error as Error, null);
      }
    };
    void open();
  };
}

function headersOf(headers: Dispatcher.ResponseData['headers']): HttpResponse['headers'] {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.join(', ') : value,
    ]),
  );
}

/**
 * Reads a whole answer. @throws MbuildError LIMIT_EXCEEDED when it is longer than `limit` bytes.
 */
export async function readBody(response: HttpResponse, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response.body) {
    size += (chunk as Buffer).length;
    if (size > limit)
      throw new MbuildError(
        'LIMIT_EXCEEDED',
        `${redactUrl(response.url)} answered with more than ${limit} bytes`,
      );
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

/**
 * The bytes of an answer as they come; the connection is let go of when the reader stops.
 * @throws as {@link networkError} has it.
 */
export async function* bytesOf(
  response: HttpResponse,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of response.body) yield chunk as Buffer;
  } catch (error) {
    throw networkError(error, response.url, signal);
  } finally {
    response.body.destroy();
  }
}

/**
 * Where the part of a file begins that an answer of status 206 holds.
 * @throws MbuildError REGISTRY_FAILED when it does not say.
 */
export function rangeStart({ headers, url }: HttpResponse): number {
  const start = /^bytes (\d+)-/.exec(headers['content-range'] ?? '')?.[1];
  if (start === undefined)
    throw new MbuildError('REGISTRY_FAILED', `${url.host} sent a part of a file without a range`);
  return Number(start);
}

/**
 * Lets go of an answer whose bytes nobody wants; a short one is read so that the connection can be
 * used again.
 */
export async function dismiss(response: HttpResponse): Promise<void> {
  await readBody(response, 64 << 10).catch(() => response.body.destroy());
}

/**
 * A URL fit for messages: no user, password, query or fragment, where credentials and signatures
 * are.
 */
export function redactUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

function withoutHash(url: URL): string {
  return `${url.origin}${url.pathname}${url.search}`;
}
