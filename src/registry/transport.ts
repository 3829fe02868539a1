import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { isIP } from 'node:net';
import path from 'node:path';
import { rootCertificates } from 'node:tls';
import type { Readable } from 'node:stream';
import type { Dispatcher, ProxyAgent } from 'undici';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { isInsecureHost } from './settings';

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
  /** `host[:port]` or an IPv4 network whose certificate is not checked, and which may speak plain http. */
  readonly insecure: readonly string[];
  /** Folders like docker's `certs.d`: `<folder>/<host[:port]>/{*.crt,client.cert,client.key}`. */
  readonly certFolders: readonly string[];
}

const TIMEOUT_MS = 60_000;
const SYSTEM_CA_FILE = '/etc/ssl/certs/ca-certificates.crt';

/** Sends http requests through the user's proxies, trusting the user's CAs. Neither undici nor a certificate is loaded before they are needed. */
export class Transport {
  readonly #dispatchers = new Map<string, Promise<Dispatcher>>();

  constructor(private readonly options: NetworkOptions) {}

  /** @throws MbuildError REGISTRY_UNREACHABLE, TLS_FAILED, CANCELED; other network errors as they are (see {@link isTransient}). */
  async send(request: HttpRequest): Promise<HttpResponse> {
    try {
      request.signal.throwIfAborted();
      const undici = require('undici') as typeof import('undici');
      const response = await undici.request(request.url, {
        method: request.method,
        headers: { 'user-agent': 'mbuild', ...request.headers },
        body: request.body ?? null,
        signal: request.signal,
        headersTimeout: TIMEOUT_MS,
        bodyTimeout: TIMEOUT_MS,
        dispatcher: await this.#dispatcher(request.url),
      });
      // A connection may break before anybody reads; whoever reads then is told.
      response.body.on('error', () => undefined);
      const headers = Object.fromEntries(
        Object.entries(response.headers).map(([name, value]) => [
          name,
          Array.isArray(value) ? value.join(', ') : value,
        ]),
      );
      return { status: response.statusCode, url: request.url, headers, body: response.body };
    } catch (error) {
      throw networkError(error, request.url, request.signal);
    }
  }

  /** True when the host may be spoken to without TLS, or with a certificate that nobody vouches for. */
  isInsecure(host: string): boolean {
    return isInsecureHost(host, this.options.insecure);
  }

  async close(): Promise<void> {
    const open = [...this.#dispatchers.values()];
    this.#dispatchers.clear();
    await Promise.all(open.map(async (dispatcher) => (await dispatcher).destroy()));
  }

  #dispatcher(url: URL): Promise<Dispatcher> {
    const key = url.protocol === 'https:' ? url.host : isLoopback(url.host) ? 'loopback' : 'http:';
    let dispatcher = this.#dispatchers.get(key);
    if (dispatcher === undefined) this.#dispatchers.set(key, (dispatcher = this.#connect(url)));
    return dispatcher;
  }

  async #connect(url: URL): Promise<Dispatcher> {
    const { Agent, EnvHttpProxyAgent } = require('undici') as typeof import('undici');
    const connect = url.protocol === 'https:' ? this.#tls(url.host) : {};
    // As Go's http.ProxyFromEnvironment, which docker uses: loopback never goes through a proxy.
    if (isLoopback(url.host)) return new Agent({ connect });
    const variable = (name: string): string | undefined =>
      this.options.env[name.toLowerCase()] || this.options.env[name] || undefined;
    const all = variable('ALL_PROXY');
    const httpProxy = variable('HTTP_PROXY') ?? all;
    const httpsProxy = variable('HTTPS_PROXY') ?? all;
    if (httpProxy === undefined && httpsProxy === undefined) return new Agent({ connect });
    const noProxy = variable('NO_PROXY');
    // The tunnel's inner connection takes its TLS settings from `requestTls`, which the agent hands on but its type leaves out.
    const proxied: ConstructorParameters<typeof EnvHttpProxyAgent>[0] &
      Pick<ProxyAgent.Options, 'requestTls'> = {
      connect,
      requestTls: connect,
      ...(httpProxy === undefined ? {} : { httpProxy }),
      ...(httpsProxy === undefined ? {} : { httpsProxy }),
      ...(noProxy === undefined ? {} : { noProxy }),
    };
    return new EnvHttpProxyAgent(proxied);
  }

  #tls(host: string): { ca: string[]; cert?: string; key?: string; rejectUnauthorized: boolean } {
    const { env, certFolders } = this.options;
    // The launcher takes NODE_EXTRA_CA_CERTS out of node's way, as reading it costs every start 40 ms, and passes it on.
    const files = [
      env.MBUILD_EXTRA_CA_CERTS,
      env.NODE_EXTRA_CA_CERTS,
      env.SSL_CERT_FILE ?? SYSTEM_CA_FILE,
    ].filter((file) => file !== undefined && existsSync(file));
    const folders = certFolders
      .map((folder) => path.join(folder, host))
      .filter((folder) => existsSync(folder));
    for (const folder of folders)
      files.push(
        ...readdirSync(folder)
          .filter((name) => name.endsWith('.crt'))
          .map((name) => path.join(folder, name)),
      );
    const read = (file: string): string => readFileSync(file, 'utf8');
    const client = folders.find(
      (folder) =>
        existsSync(path.join(folder, 'client.cert')) && existsSync(path.join(folder, 'client.key')),
    );
    return {
      ca: [...rootCertificates, ...files.flatMap((file) => (file === undefined ? [] : read(file)))],
      ...(client === undefined
        ? {}
        : {
            cert: read(path.join(client, 'client.cert')),
            key: read(path.join(client, 'client.key')),
          }),
      rejectUnauthorized: !this.isInsecure(host),
    };
  }
}

/** Reads a whole answer. @throws MbuildError LIMIT_EXCEEDED when it is longer than `limit` bytes. */
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

/** The bytes of an answer as they come; the connection is let go of when the reader stops. @throws as {@link networkError} has it. */
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

/** Where the part of a file begins that an answer of status 206 holds. @throws MbuildError REGISTRY_FAILED when it does not say. */
export function rangeStart({ headers, url }: HttpResponse): number {
  const start = /^bytes (\d+)-/.exec(headers['content-range'] ?? '')?.[1];
  if (start === undefined)
    throw new MbuildError(
      'REGISTRY_FAILED',
      `${url.host} answered with a part of a file without saying which`,
    );
  return Number(start);
}

/** Lets go of an answer whose bytes nobody wants; a short one is read so that the connection can be used again. */
export async function dismiss(response: HttpResponse): Promise<void> {
  await readBody(response, 64 << 10).catch(() => response.body.destroy());
}

/** True for a host that is the machine itself. */
export function isLoopback(host: string): boolean {
  const name = hostnameOf(host);
  return (
    name === 'localhost' ||
    name.endsWith('.localhost') ||
    name === '::1' ||
    (isIP(name) === 4 && name.startsWith('127.'))
  );
}

/** A URL fit for messages: no user, password, query or fragment, where credentials and signatures are. */
export function redactUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

/** True for an error that may pass when the same is tried again: a connection that broke or fell silent. */
export function isTransient(error: unknown): boolean {
  const code = errnoOf(error) ?? errnoOf((error as { cause?: unknown } | undefined)?.cause);
  return (
    code !== undefined &&
    [
      'ECONNRESET',
      'EPIPE',
      'ETIMEDOUT',
      'UND_ERR_SOCKET',
      'UND_ERR_BODY_TIMEOUT',
      'UND_ERR_HEADERS_TIMEOUT',
      'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
      'UND_ERR_CONNECT_TIMEOUT',
      'EAI_AGAIN',
    ].includes(code)
  );
}

/** A failed connection as an MbuildError; what is transient stays recognisable through its cause. */
export function networkError(error: unknown, url: URL, signal: AbortSignal): unknown {
  if (signal.aborted)
    return new MbuildError('CANCELED', `the transfer from ${url.host} was stopped`, {
      cause: error,
    });
  const code = errnoOf(error) ?? '';
  const detail = (error as Error).message || code;
  if (/^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_|ERR_SSL_|EPROTO$)/.test(code)) {
    return new MbuildError('TLS_FAILED', `no trusted connection to ${url.host}: ${detail}`, {
      cause: error,
      hint: `give the registry's CA in SSL_CERT_FILE or as /etc/docker/certs.d/${url.host}/ca.crt, or name the host with --insecure-registry`,
    });
  }
  if (
    [
      'ECONNREFUSED',
      'ENOTFOUND',
      'EAI_AGAIN',
      'EHOSTUNREACH',
      'ENETUNREACH',
      'ETIMEDOUT',
      'UND_ERR_CONNECT_TIMEOUT',
    ].includes(code)
  ) {
    return new MbuildError('REGISTRY_UNREACHABLE', `cannot reach ${url.host}: ${detail}`, {
      cause: error,
      hint: 'check the name and the network; proxies are taken from HTTPS_PROXY, HTTP_PROXY and NO_PROXY',
    });
  }
  return error;
}

function hostnameOf(host: string): string {
  return host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}
