import { randomUUID } from 'node:crypto';
import { createServer as createHttp, type IncomingHttpHeaders, type Server } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import { digestOf } from '../../src/oci/digest';

/** What a request wants of a registry. */
export type Operation =
  | 'ping'
  | 'token'
  | 'head-manifest'
  | 'get-manifest'
  | 'put-manifest'
  | 'head-blob'
  | 'get-blob'
  | 'mount'
  | 'start'
  | 'patch'
  | 'put-blob'
  | 'where'
  | 'tags'
  | 'other';

/** A request as it came. */
export interface Asked {
  readonly operation: Operation;
  readonly method: string;
  readonly url: URL;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** `127.0.0.1:PORT` */
  readonly host: string;
}

export interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string | number>> | undefined;
  readonly body?: Buffer | string | undefined;
  /** The connection is cut after so many bytes of the body. */
  readonly cutAt?: number | undefined;
}

/** One way in which the registry is odd. */
export interface Quirk {
  readonly on: Operation | readonly Operation[];
  /** Only the first so many requests; all when absent. */
  readonly times?: number | undefined;
  /**
   * Answers instead of the registry, which then has not seen the request; `undefined` lets it
   * answer as usual.
   */
  readonly instead?: ((asked: Asked) => Reply | undefined) | undefined;
  /** Changes what the registry answers, after it did what was asked. */
  readonly changed?: ((reply: Reply, asked: Asked) => Reply) | undefined;
}

/** How requests are authorized. */
export interface OddAuth {
  /** `WWW-Authenticate` of a refusal; none when empty. */
  readonly challenge: (host: string) => string;
  /** Status of a refusal: 401 when absent. */
  readonly refusal?: number | undefined;
  /** What is open to everybody. */
  readonly open?: readonly Operation[] | undefined;
  /** Whether the token server gives a token for these scopes. */
  readonly grants?: ((scopes: readonly string[], user: string) => boolean) | undefined;
  /** The token server's answer, made of a token that holds. */
  readonly answer?: ((token: string) => unknown) | undefined;
  /** Requests that a token is good for. */
  readonly uses?: number | undefined;
}

export interface OddOptions {
  readonly quirks?: readonly Quirk[] | undefined;
  readonly auth?: OddAuth | undefined;
  readonly tls?: { readonly key: string; readonly cert: string } | undefined;
}

const TOKEN = '/token';

/** A registry in memory that speaks the distribution API, with the oddities that it is given. */
export class OddRegistry {
  readonly seen: Asked[] = [];
  readonly blobs = new Map<string, Buffer>();
  readonly manifests = new Map<string, { readonly bytes: Buffer; readonly type: string }>();
  readonly #uploads = new Map<string, Buffer>();
  readonly #tokens = new Map<string, number>();
  readonly #left = new Map<Quirk, number>();
  #server: Server | undefined;
  #host = '';

  private constructor(private readonly options: OddOptions) {}

  static async start(options: OddOptions = {}): Promise<OddRegistry> {
    const registry = new OddRegistry(options);
    await registry.#listen();
    return registry;
  }

  /** `127.0.0.1:PORT`, or `localhost:PORT` with TLS. */
  get host(): string {
    return this.#host;
  }

  async close(): Promise<void> {
    const server = this.#server;
    await new Promise((resolve) => {
      server?.close(resolve);
      server?.closeAllConnections();
    });
  }

  /** Requests of one kind, in order. */
  of(operation: Operation): Asked[] {
    return this.seen.filter((asked) => asked.operation === operation);
  }

  async #listen(): Promise<void> {
    const { tls } = this.options;
    const handle: Parameters<typeof createHttp>[1] = (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const scheme = tls === undefined ? 'http' : 'https';
        const url = new URL(request.url ?? '/', `${scheme}://${this.#host}`);
        const method = request.method ?? 'GET';
        const asked: Asked = {
          operation: operationOf(method, url),
          method,
          url,
          headers: request.headers,
          body: Buffer.concat(chunks),
          host: this.#host,
        };
        this.seen.push(asked);
        const { status, headers = {}, body = '', cutAt } = this.#answer(asked);
        response.writeHead(status, headers);
        if (cutAt === undefined) return response.end(method === 'HEAD' ? undefined : body);
        response.write(Buffer.from(body).subarray(0, cutAt), () =>
          setTimeout(() => response.destroy(), 20),
        );
        return undefined;
      });
    };
    const server = tls === undefined ? createHttp(handle) : createHttps(tls, handle);
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    this.#host = `${tls === undefined ? '127.0.0.1' : 'localhost'}:${port}`;
  }

  #answer(asked: Asked): Reply {
    const quirks = (this.options.quirks ?? []).filter((quirk) => this.#counts(quirk, asked));
    for (const { instead } of quirks) {
      const reply = instead?.(asked);
      if (reply !== undefined) return reply;
    }
    const usual = this.#refusal(asked) ?? this.#serve(asked);
    return quirks.reduce((reply, { changed }) => changed?.(reply, asked) ?? reply, usual);
  }

  #counts(quirk: Quirk, { operation }: Asked): boolean {
    const kinds: readonly Operation[] = typeof quirk.on === 'string' ? [quirk.on] : quirk.on;
    if (!kinds.includes(operation)) return false;
    const left = this.#left.get(quirk) ?? quirk.times ?? Infinity;
    this.#left.set(quirk, left - 1);
    return left > 0;
  }

  #refusal({ operation, headers }: Asked): Reply | undefined {
    const { auth } = this.options;
    if (auth === undefined || operation === 'token' || auth.open?.includes(operation))
      return undefined;
    const given = headers.authorization ?? '';
    const left = this.#tokens.get(given.replace(/^Bearer /, '')) ?? 0;
    if (given.startsWith('Bearer ') && left > 0) {
      this.#tokens.set(given.slice(7), left - 1);
      return undefined;
    }
    const challenge = auth.challenge(this.#host);
    if (given.startsWith('Basic ') && /^basic/i.test(challenge)) return undefined;
    const asked = challenge === '' ? {} : { 'www-authenticate': challenge };
    return error(auth.refusal ?? 401, 'UNAUTHORIZED', asked);
  }

  #serve(asked: Asked): Reply {
    const { operation, url, headers, body } = asked;
    const [, repository = '', last = ''] =
      /^\/v2\/(.+)\/(?:manifests|blobs\/uploads|blobs|tags)\/(.*)$/.exec(url.pathname) ?? [];
    switch (operation) {
      case 'ping':
        return { status: 200, body: '{}' };
      case 'token':
        return this.#token(asked);
      case 'head-manifest':
      case 'get-manifest':
        return this.#manifest(`${repository}@${last}`);
      case 'put-manifest': {
        const stored = { bytes: body, type: headers['content-type'] ?? '' };
        for (const name of [last, digestOf(body)])
          this.manifests.set(`${repository}@${name}`, stored);
        return { status: 201, headers: { location: url.pathname } };
      }
      case 'head-blob':
      case 'get-blob':
        return this.#blob(last, headers.range);
      case 'mount':
      case 'start':
        return this.#start(repository, url.searchParams.get('mount'));
      case 'tags':
        return this.#tags(repository);
      case 'patch':
      case 'put-blob':
      case 'where':
        return this.#upload(last, asked);
      case 'other':
        return error(404, 'UNSUPPORTED');
    }
  }

  #token({ url, headers, body, method }: Asked): Reply {
    const form = method === 'POST' ? new URLSearchParams(body.toString()) : url.searchParams;
    const scopes = form.getAll('scope').flatMap((scope) => scope.split(' '));
    const basic = (headers.authorization ?? '').replace(/^Basic /, '');
    const user = Buffer.from(basic, 'base64').toString().split(':')[0] ?? '';
    if (this.options.auth?.grants?.(scopes, user) === false) return error(401, 'UNAUTHORIZED');
    const value = randomUUID();
    this.#tokens.set(value, this.options.auth?.uses ?? Infinity);
    const answer = this.options.auth?.answer?.(value) ?? { token: value };
    return { status: 200, body: JSON.stringify(answer) };
  }

  #manifest(key: string): Reply {
    const found = this.manifests.get(key);
    if (found === undefined) return error(404, 'MANIFEST_UNKNOWN');
    const { bytes, type } = found;
    const headers = {
      'content-type': type,
      'content-length': bytes.length,
      'docker-content-digest': digestOf(bytes),
    };
    return { status: 200, headers, body: bytes };
  }

  #blob(digest: string, range: string | undefined): Reply {
    const blob = this.blobs.get(digest);
    if (blob === undefined) return error(404, 'BLOB_UNKNOWN');
    const start = Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0);
    const part = blob.subarray(start);
    const headers = { 'content-length': part.length };
    if (range === undefined) return { status: 200, headers, body: part };
    const where = `bytes ${start}-${blob.length - 1}/${blob.length}`;
    return { status: 206, headers: { ...headers, 'content-range': where }, body: part };
  }

  #start(repository: string, mount: string | null): Reply {
    if (mount !== null && this.blobs.has(mount)) return { status: 201 };
    const id = randomUUID();
    this.#uploads.set(id, Buffer.alloc(0));
    return { status: 202, headers: { location: `/v2/${repository}/blobs/uploads/${id}` } };
  }

  #upload(id: string, { operation, url, body }: Asked): Reply {
    const before = this.#uploads.get(id);
    if (before === undefined) return error(404, 'BLOB_UPLOAD_UNKNOWN');
    const bytes = Buffer.concat([before, body]);
    if (operation !== 'where') this.#uploads.set(id, bytes);
    const place = { location: url.pathname, range: `0-${Math.max(0, bytes.length - 1)}` };
    if (operation === 'where') return { status: 204, headers: place };
    if (operation === 'patch') return { status: 202, headers: place };
    const digest = url.searchParams.get('digest') ?? '';
    if (digestOf(bytes) !== digest) return error(400, 'DIGEST_INVALID');
    this.blobs.set(digest, bytes);
    return { status: 201, headers: { 'docker-content-digest': digest } };
  }

  #tags(repository: string): Reply {
    const tags = [...this.manifests.keys()]
      .filter((key) => key.startsWith(`${repository}@`) && !key.includes('sha256:'))
      .map((key) => key.slice(repository.length + 1));
    return { status: 200, body: JSON.stringify({ name: repository, tags }) };
  }
}

/** An error as registries write them. */
export function error(
  status: number,
  code: string,
  headers: Readonly<Record<string, string>> = {},
): Reply {
  return {
    status,
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ errors: [{ code, message: code.toLowerCase() }] }),
  };
}

const KINDS: readonly (readonly [method: string, path: RegExp, operation: Operation])[] = [
  ['GET', /^\/v2\/?$/, 'ping'],
  ['HEAD', /\/manifests\//, 'head-manifest'],
  ['GET', /\/manifests\//, 'get-manifest'],
  ['PUT', /\/manifests\//, 'put-manifest'],
  ['POST', /\/blobs\/uploads\/$/, 'start'],
  ['PATCH', /\/blobs\/uploads\//, 'patch'],
  ['PUT', /\/blobs\/uploads\//, 'put-blob'],
  ['GET', /\/blobs\/uploads\//, 'where'],
  ['HEAD', /\/blobs\//, 'head-blob'],
  ['GET', /\/blobs\//, 'get-blob'],
  ['GET', /\/tags\/list$/, 'tags'],
];

function operationOf(method: string, url: URL): Operation {
  if (url.pathname === TOKEN) return 'token';
  const found = KINDS.find(([verb, path]) => verb === method && path.test(url.pathname))?.[2];
  return found === 'start' && url.searchParams.has('mount') ? 'mount' : (found ?? 'other');
}
