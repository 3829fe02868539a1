import type { Readable } from 'node:stream';
import { MbuildError } from '../diagnostics/error';
import { DEFAULT_REGISTRY } from '../oci/reference';
import { denied, hostOf, lostConnection } from './answers';
import { parseChallenge } from './auth';
import { Authorization, type Access } from './authorization';
import { findCredentials, type Credentials } from './credentials';
import { isTransient, networkError } from './network-error';
import { isLoopback } from './proxy';
import { PATIENCE, type Repository } from './registry';
import { isPassing, pauseBetween, sendRetried, type RetryOptions } from './retry';
import {
  mergeSettings,
  readRegistrySettings,
  type RegistryRule,
  type RegistrySettings,
} from './settings';
import {
  Transport,
  dismiss,
  readBody,
  redactUrl,
  type HttpRequest,
  type HttpResponse,
} from './transport';

/** How registries are spoken to; everything has a default. */
export interface SessionOptions extends RetryOptions {
  /** `--insecure-registry`: `host[:port]`. */
  readonly insecure?: readonly string[] | undefined;
  /** `--authfile`. */
  readonly authFile?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  readonly certFolders?: readonly string[] | undefined;
  /** Like the usual ones, and looked at before them. */
  readonly moreCertFolders?: readonly string[] | undefined;
  /** Rules that stand above those of the machine's files. */
  readonly rules?: readonly RegistryRule[] | undefined;
  /** Credentials to be used instead of the configured ones: `login`. */
  readonly credentials?: Credentials | undefined;
}

/** A request of the distribution API. */
export interface ApiRequest extends Omit<HttpRequest, 'url' | 'signal' | 'body'> {
  /** Behind `/v2/`, or an address that the registry gave. */
  readonly target: string | URL;
  /** What a token must allow. */
  readonly scopes: readonly string[];
  /** A stream is made anew for every time that the request is sent. */
  readonly body?: string | Buffer | (() => Readable) | undefined;
  /**
   * False for what is not to be sent again after a passing failure: whoever asks looks what came of
   * it first.
   */
  readonly isRetried?: boolean | undefined;
}

const MAX_ANSWER = 4 << 20;
const MAX_REDIRECTS = 5;
/**
 * Refusals of one server that are answered: it may ask for a token, and the token may have ended.
 */
const MAX_REFUSALS = 2;
/** Where docker and podman look for certificates of hosts. */
export const CERT_FOLDERS = ['/etc/containers/certs.d', '/etc/docker/certs.d'];

/**
 * Sends requests to registries with what they ask for: credentials, tokens, patience. Tokens and
 * what was learnt of a host live as long as the session.
 */
export class RegistrySession {
  readonly #transport: Transport;
  readonly #authorization: Authorization;
  /** Where the API of a registry is, as it turned out at the first contact. */
  readonly #bases = new Map<string, Promise<URL>>();

  /** What the machine's files say. */
  readonly settings: RegistrySettings;

  /** @throws MbuildError USAGE for a file of settings that cannot be understood. */
  constructor(private readonly options: SessionOptions) {
    const { env = process.env, authFile, credentials } = options;
    this.settings = mergeSettings([
      readRegistrySettings(env),
      { insecure: [], rules: options.rules ?? [] },
    ]);
    const own =
      env['HOME'] === undefined
        ? []
        : ['containers', 'docker'].map((program) => `${env['HOME']}/.config/${program}/certs.d`);
    this.#transport = new Transport({
      env,
      insecure: [...(options.insecure ?? []), ...this.settings.insecure],
      certFolders: [
        ...(options.moreCertFolders ?? []),
        ...(options.certFolders ?? [...own, ...CERT_FOLDERS]),
      ],
    });
    this.#authorization = new Authorization(
      this.#transport,
      (repository) =>
        credentials === undefined
          ? findCredentials(repository, { env, authFile })
          : Promise.resolve(credentials),
      options,
    );
  }

  async close(): Promise<void> {
    await this.#transport.close();
  }

  /**
   * Sends a request with what authorization it takes, again after passing failures. Any final
   * status is returned but 401 and 403.
   */
  async call(
    repository: Repository,
    request: ApiRequest,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    const base = await this.#base(repository.registry, signal);
    for (let attempt = 1; ; attempt++) {
      const last = attempt >= this.attempts() || request.isRetried === false;
      try {
        const response = await this.#authorized(repository, request, base, signal);
        if (last || !isPassing(response.status)) return response;
        await dismiss(response);
        await this.pause(attempt, response, signal);
      } catch (error) {
        if (!isTransient(error) || request.isRetried === false) throw error;
        if (last) throw lostConnection(error, base);
        await this.pause(attempt, undefined, signal);
      }
    }
  }

  /** Asks a registry's host for something outside of the distribution API, without credentials. */
  async search(registry: string, target: string, signal: AbortSignal): Promise<HttpResponse> {
    const base =
      registry === DEFAULT_REGISTRY
        ? new URL('https://index.docker.io/')
        : await this.#base(registry, signal);
    try {
      return await this.#retried({ method: 'GET', url: new URL(target, base), signal });
    } catch (error) {
      throw isTransient(error) ? lostConnection(error, base) : error;
    }
  }

  /** Follows redirects, and answers each server's challenge with what is meant for that server. */
  async #authorized(
    repository: Repository,
    request: ApiRequest,
    base: URL,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    let url = typeof request.target === 'string' ? new URL(request.target, base) : request.target;
    this.#checkEncrypted(base, url, 'names');
    const refusals = new Map<string, number>();
    for (let redirects = 0; ;) {
      const scopes = url.origin === base.origin ? request.scopes : undefined;
      const access: Access = { repository, url, scopes, signal };
      const authorization = await this.#authorization.header(access);
      const response = await this.#send(request, access, authorization);
      if (response.status === 401 || response.status === 403) {
        const refused = (refusals.get(url.origin) ?? 0) + 1;
        refusals.set(url.origin, refused);
        if (refused > MAX_REFUSALS || !(await this.#canAnswer(response, access, authorization)))
          throw await denied(response, repository, authorization !== undefined);
        await dismiss(response);
        continue;
      }
      const next = redirectOf(response, request);
      if (next === undefined) return response;
      await dismiss(response);
      if (++redirects > MAX_REDIRECTS)
        throw new MbuildError(
          'REGISTRY_FAILED',
          `${base.host} redirects more than ${MAX_REDIRECTS} times`,
        );
      this.#checkEncrypted(url, next, 'redirects to');
      url = next;
    }
  }

  /** Whether there is another answer to a refusal than the one that was refused. */
  async #canAnswer(
    { headers, url }: HttpResponse,
    access: Access,
    refused: string | undefined,
  ): Promise<boolean> {
    const asked = parseChallenge(headers['www-authenticate']);
    if (asked === undefined) return false;
    await this.#authorization.refuse(access, refused);
    this.#authorization.learn(url, asked);
    const renewed = await this.#authorization.header(access);
    return renewed !== undefined && renewed !== refused;
  }

  #send(
    { method, headers, body }: ApiRequest,
    { url, signal }: Access,
    authorization: string | undefined,
  ): Promise<HttpResponse> {
    return this.#transport.send({
      method,
      url,
      signal,
      headers: { ...headers, ...(authorization === undefined ? {} : { authorization }) },
      body: typeof body === 'function' ? body() : body,
    });
  }

  /** What came over https goes on over https, unless the user says otherwise. */
  #checkEncrypted(from: URL, to: URL, doing: 'names' | 'redirects to'): void {
    if (to.protocol !== 'https:' && to.protocol !== 'http:')
      throw new MbuildError(
        'REGISTRY_FAILED',
        `${from.host} ${doing} an address of ${to.protocol}`,
      );
    if (from.protocol !== 'https:' || to.protocol === 'https:') return;
    if (this.#transport.isInsecure(to.host)) return;
    throw new MbuildError(
      'TLS_FAILED',
      `${from.host} uses https, but ${doing} ${redactUrl(to)}, which is not encrypted; nothing was sent there`,
      {
        hint: `if the registry is behind a proxy, the proxy must send it X-Forwarded-Proto: https; --insecure-registry ${to.host} allows the address as it is`,
      },
    );
  }

  #base(registry: string, signal: AbortSignal): Promise<URL> {
    let base = this.#bases.get(registry);
    if (base === undefined) {
      this.#bases.set(registry, (base = this.#discover(registry, signal)));
      base.catch(() => this.#bases.delete(registry));
    }
    return base;
  }

  /**
   * Finds out how a host is spoken to: https, but loopback by plain http if it takes it, and
   * insecure hosts as they can.
   */
  async #discover(registry: string, signal: AbortSignal): Promise<URL> {
    const host = hostOf(registry);
    if (!URL.canParse(`https://${host}/v2/`))
      throw new MbuildError('REFERENCE_INVALID', `${host} is not a valid registry address`);
    const order = this.#schemesOf(host).map((scheme) => new URL(`${scheme}://${host}/v2/`));
    let first: unknown;
    for (const base of order) {
      try {
        const response = await this.#retried({ method: 'GET', url: base, signal });
        const text = (await this.read(response, MAX_ANSWER, signal)).toString('utf8');
        if (base !== order.at(-1) && isSomethingElse(response, text)) continue;
        this.#authorization.learn(
          base,
          response.status === 401
            ? parseChallenge(response.headers['www-authenticate'])
            : undefined,
        );
        return base;
      } catch (error) {
        if (signal.aborted) throw error;
        first ??= error;
      }
    }
    throw isTransient(first) ? lostConnection(first, new URL(`https://${host}/`)) : first;
  }

  #schemesOf(host: string): readonly ('http' | 'https')[] {
    if (isLoopback(host)) return ['http', 'https'];
    return this.#transport.isInsecure(host) ? ['https', 'http'] : ['https'];
  }

  #retried(request: HttpRequest): Promise<HttpResponse> {
    return sendRetried(this.#transport, () => request, this.options);
  }

  /** How often a passing failure is tried. */
  attempts(): number {
    return this.options.attempts ?? PATIENCE.attempts;
  }

  /** See {@link pauseBetween}. */
  pause(attempt: number, response: HttpResponse | undefined, signal: AbortSignal): Promise<void> {
    return pauseBetween(attempt, response, this.options, signal);
  }

  /**
   * Reads a whole answer. @throws MbuildError LIMIT_EXCEEDED when it is longer than `limit` bytes.
   */
  async read(response: HttpResponse, limit: number, signal: AbortSignal): Promise<Buffer> {
    try {
      return await readBody(response, limit);
    } catch (error) {
      response.body.destroy();
      throw networkError(error, response.url, signal);
    }
  }
}

/**
 * What Go's servers, docker's registry among them, answer to plain http on a TLS port; and a server
 * that is not a registry.
 */
function isSomethingElse({ status, headers, url }: HttpResponse, text: string): boolean {
  if (url.protocol === 'http:' && status === 400 && /HTTPS server/i.test(text)) return true;
  return status === 404 && headers['docker-distribution-api-version'] === undefined;
}

/**
 * Where a request goes on.
 * @throws MbuildError REGISTRY_FAILED for a redirect that would lose what is sent.
 */
function redirectOf(response: HttpResponse, { method }: ApiRequest): URL | undefined {
  const { status, url, headers } = response;
  const { location } = headers;
  if (![301, 302, 303, 307, 308].includes(status) || location === undefined) return undefined;
  if (!URL.canParse(location, url.href))
    throw new MbuildError('REGISTRY_FAILED', `${url.host} redirects to an invalid address`);
  // RFC 9110, 15.4: with 301 to 303 a client may change the method to GET, and clients do.
  if (status < 307 && method !== 'GET' && method !== 'HEAD')
    throw new MbuildError(
      'REGISTRY_FAILED',
      `${url.host} redirects a ${method} with status ${status}, which would make it a GET`,
    );
  return new URL(location, url);
}
