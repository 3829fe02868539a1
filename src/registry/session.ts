import { MbuildError, isMbuildError } from '../diagnostics/error';
import { DEFAULT_REGISTRY, familiarRepository } from '../oci/reference';
import { basicHeader, parseChallenge, parseToken, type Challenge, type Token } from './auth';
import { findCredentials, type Credentials } from './credentials';
import { PATIENCE, type Repository } from './registry';
import { isPassing, pauseBetween, sendRetried, type RetryOptions } from './retry';
import { readRegistrySettings, type RegistrySettings } from './settings';
import {
  Transport,
  dismiss,
  isLoopback,
  isTransient,
  networkError,
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
  /** Credentials to be used instead of the configured ones: `login`. */
  readonly credentials?: Credentials | undefined;
}

/** A registry as it turned out at the first contact. */
interface Endpoint {
  readonly base: URL;
  readonly challenge: Challenge | undefined;
}

/** A request of the distribution API. */
export interface ApiRequest extends Omit<HttpRequest, 'url' | 'signal'> {
  /** Behind `/v2/`, or an address that the registry gave. */
  readonly target: string | URL;
  readonly scopes: readonly string[];
  /** False for a body that can be sent only once. */
  readonly repeatable?: boolean | undefined;
}

const MAX_ANSWER = 4 << 20;
const MAX_REDIRECTS = 5;
/** Where docker and podman look for certificates of hosts. */
export const CERT_FOLDERS = ['/etc/containers/certs.d', '/etc/docker/certs.d'];

/**
 * Sends requests to registries with what they ask for: credentials, tokens, patience. Tokens and what was learnt of a host
 * live as long as the session.
 */
export class RegistrySession {
  readonly #transport: Transport;
  readonly #endpoints = new Map<string, Promise<Endpoint>>();
  readonly #tokens = new Map<string, Token>();
  readonly #env: Readonly<Record<string, string | undefined>>;

  /** What the machine's files say. */
  readonly settings: RegistrySettings;

  /** @throws MbuildError USAGE for a file of settings that cannot be understood. */
  constructor(private readonly options: SessionOptions) {
    this.#env = options.env ?? process.env;
    this.settings = readRegistrySettings(this.#env);
    const own =
      this.#env.HOME === undefined
        ? []
        : ['containers', 'docker'].map((program) => `${this.#env.HOME}/.config/${program}/certs.d`);
    this.#transport = new Transport({
      env: this.#env,
      insecure: [...(options.insecure ?? []), ...this.settings.insecure],
      certFolders: options.certFolders ?? [...own, ...CERT_FOLDERS],
    });
  }

  async close(): Promise<void> {
    await this.#transport.close();
  }

  /** Sends a request with what authorization it takes, again after passing failures. Any final status is returned but 401 and 403. */
  async call(
    repository: Repository,
    request: ApiRequest,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    for (let attempt = 1; ; attempt++) {
      const last = attempt >= this.attempts() || request.repeatable === false;
      try {
        const response = await this.#authorized(repository, request, signal);
        if (last || !isPassing(response.status)) return response;
        await dismiss(response);
        await this.pause(attempt, response, signal);
      } catch (error) {
        if (!isTransient(error)) throw error;
        if (request.repeatable === false) throw error;
        if (last)
          throw lostConnection(error, new URL((await this.#endpoint(repository, signal)).base));
        await this.pause(attempt, undefined, signal);
      }
    }
  }

  /** Asks a registry's host for something outside of the distribution API, without credentials. */
  async search(registry: string, target: string, signal: AbortSignal): Promise<HttpResponse> {
    const base =
      registry === DEFAULT_REGISTRY
        ? new URL('https://index.docker.io/')
        : (await this.#endpoint({ registry, repository: '' }, signal)).base;
    try {
      return await this.#retried({ method: 'GET', url: new URL(target, base), signal });
    } catch (error) {
      throw isTransient(error) ? lostConnection(error, base) : error;
    }
  }

  async #authorized(
    repository: Repository,
    request: ApiRequest,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    const endpoint = await this.#endpoint(repository, signal);
    const url =
      typeof request.target === 'string' ? new URL(request.target, endpoint.base) : request.target;
    let challenge = endpoint.challenge;
    let fresh = false;
    for (;;) {
      const authorization = await this.#authorization(
        repository,
        challenge,
        request.scopes,
        endpoint,
        fresh,
        signal,
      );
      const response = await this.#follow({ ...request, url, signal }, endpoint, authorization);
      if (response.status !== 401 && response.status !== 403) return response;
      const asked = parseChallenge(response.headers['www-authenticate']);
      // A token may have ended, or the host may not have asked before: once more with a fresh one, never in a loop.
      if (
        response.status === 403 ||
        fresh ||
        asked === undefined ||
        request.repeatable === false ||
        response.url.host !== url.host
      )
        throw await denied(response, repository, authorization !== undefined);
      await dismiss(response);
      challenge = asked;
      fresh = true;
    }
  }

  /** Follows redirects. Authorization goes to the host that asked for it and to no other. */
  async #follow(
    request: HttpRequest,
    endpoint: Endpoint,
    authorization: string | undefined,
  ): Promise<HttpResponse> {
    let url = request.url;
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const trusted = url.host === endpoint.base.host && url.protocol === endpoint.base.protocol;
      const headers = {
        ...request.headers,
        ...(authorization !== undefined && trusted ? { authorization } : {}),
      };
      const response = await this.#transport.send({ ...request, url, headers });
      const next = response.headers.location;
      if (![301, 302, 303, 307, 308].includes(response.status) || next === undefined)
        return response;
      await dismiss(response);
      if (request.method !== 'GET' && request.method !== 'HEAD' && request.body !== undefined)
        throw new MbuildError(
          'REGISTRY_FAILED',
          `${url.host} redirects an upload, which mbuild does not follow`,
        );
      const target = new URL(next, url);
      if (target.protocol !== 'https:' && target.protocol !== 'http:')
        throw new MbuildError('REGISTRY_FAILED', `${url.host} redirects to ${target.protocol}`);
      if (
        url.protocol === 'https:' &&
        target.protocol === 'http:' &&
        !this.#transport.isInsecure(target.host)
      ) {
        throw new MbuildError(
          'TLS_FAILED',
          `${url.host} redirects to ${redactUrl(target)}, which is not encrypted`,
          { hint: `name the host with --insecure-registry ${target.host} if that is meant` },
        );
      }
      url = target;
    }
    throw new MbuildError(
      'REGISTRY_FAILED',
      `${request.url.host} redirects more than ${MAX_REDIRECTS} times`,
    );
  }

  async #authorization(
    repository: Repository,
    challenge: Challenge | undefined,
    scopes: readonly string[],
    endpoint: Endpoint,
    fresh: boolean,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    if (challenge === undefined) return undefined;
    if (challenge.scheme === 'basic') return basicHeader(await this.#credentials(repository));
    const wanted =
      scopes.length === 0 && challenge.scope !== undefined ? challenge.scope.split(' ') : scopes;
    const key = [endpoint.base.host, challenge.realm, challenge.service, ...wanted].join('\n');
    const known = this.#tokens.get(key);
    if (known !== undefined && !fresh && known.expires > Date.now()) return `Bearer ${known.value}`;
    const token = await this.#fetchToken(repository, challenge, wanted, endpoint, signal);
    this.#tokens.set(key, token);
    return `Bearer ${token.value}`;
  }

  /** Asks the token server: distribution, "Token Authentication Specification" and "OAuth2 Token Authentication". */
  async #fetchToken(
    repository: Repository,
    challenge: Extract<Challenge, { scheme: 'bearer' }>,
    scopes: readonly string[],
    endpoint: Endpoint,
    signal: AbortSignal,
  ): Promise<Token> {
    if (!URL.canParse(challenge.realm))
      throw new MbuildError(
        'REGISTRY_FAILED',
        `${repository.registry} names a token server that is no address`,
      );
    const url = new URL(challenge.realm);
    const credentials = await this.#credentials(repository);
    const mayBePlain =
      isLoopback(url.host) ||
      this.#transport.isInsecure(url.host) ||
      (endpoint.base.protocol === 'http:' && url.hostname === endpoint.base.hostname);
    if (url.protocol !== 'https:' && !(url.protocol === 'http:' && mayBePlain)) {
      throw new MbuildError(
        'REGISTRY_DENIED',
        `${repository.registry} asks to log in at ${redactUrl(url)}, which is not encrypted; no credentials were sent`,
      );
    }
    const service = challenge.service === undefined ? {} : { service: challenge.service };
    let request: HttpRequest;
    if (credentials?.kind === 'identityToken') {
      const form = new URLSearchParams({
        grant_type: 'refresh_token',
        refresh_token: credentials.token,
        client_id: 'mbuild',
        ...service,
        scope: scopes.join(' '),
      });
      request = {
        method: 'POST',
        url,
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: form.toString(),
        signal,
      };
    } else {
      for (const [name, value] of Object.entries(service)) url.searchParams.set(name, value);
      for (const scope of scopes) url.searchParams.append('scope', scope);
      const authorization = basicHeader(credentials);
      request = {
        method: 'GET',
        url,
        headers: authorization === undefined ? {} : { authorization },
        signal,
      };
    }
    const response = await this.#retried(request);
    if (response.status === 401 || response.status === 403)
      throw await denied(response, repository, credentials !== undefined);
    if (response.status !== 200) throw await failure(response, 'asking for a token');
    const token = parseToken(
      (await this.read(response, MAX_ANSWER, signal)).toString('utf8'),
      Date.now(),
    );
    if (token === undefined)
      throw new MbuildError('REGISTRY_FAILED', `${url.host} answered without a token`);
    return token;
  }

  #credentials(repository: Repository): Promise<Credentials | undefined> {
    if (this.options.credentials !== undefined) return Promise.resolve(this.options.credentials);
    return findCredentials(repository, { env: this.#env, authFile: this.options.authFile });
  }

  #endpoint(repository: Repository, signal: AbortSignal): Promise<Endpoint> {
    const { registry } = repository;
    let endpoint = this.#endpoints.get(registry);
    if (endpoint === undefined) {
      this.#endpoints.set(registry, (endpoint = this.#discover(registry, signal)));
      endpoint.catch(() => this.#endpoints.delete(registry));
    }
    return endpoint;
  }

  /** Finds out how a host is spoken to: https, but loopback by plain http if it takes it, and insecure hosts as they can. */
  async #discover(registry: string, signal: AbortSignal): Promise<Endpoint> {
    const host = registry === DEFAULT_REGISTRY ? 'registry-1.docker.io' : registry;
    if (!URL.canParse(`https://${host}/v2/`))
      throw new MbuildError('REFERENCE_INVALID', `${host} is not the address of a registry`);
    const https = new URL(`https://${host}/v2/`);
    const http = new URL(`http://${host}/v2/`);
    const order = isLoopback(host)
      ? [http, https]
      : this.#transport.isInsecure(host)
        ? [https, http]
        : [https];
    let first: unknown;
    for (const base of order) {
      try {
        const response = await this.#retried({ method: 'GET', url: base, signal });
        const text = (await this.read(response, MAX_ANSWER, signal)).toString('utf8');
        // What Go's servers, docker's registry among them, answer to plain http on a TLS port.
        if (base === http && response.status === 400 && /HTTPS server/i.test(text)) continue;
        if (
          response.status === 404 &&
          response.headers['docker-distribution-api-version'] === undefined &&
          base !== order.at(-1)
        )
          continue;
        return {
          base,
          challenge:
            response.status === 401
              ? parseChallenge(response.headers['www-authenticate'])
              : undefined,
        };
      } catch (error) {
        if (signal.aborted) throw error;
        first ??= error;
      }
    }
    throw isTransient(first) ? lostConnection(first, https) : first;
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

  /** Reads a whole answer. @throws MbuildError LIMIT_EXCEEDED when it is longer than `limit` bytes. */
  async read(response: HttpResponse, limit: number, signal: AbortSignal): Promise<Buffer> {
    try {
      return await readBody(response, limit);
    } catch (error) {
      response.body.destroy();
      throw networkError(error, response.url, signal);
    }
  }
}

/** A status that may be another one on the next try, thrown where an upload must be resumed. */
export class PassingStatus extends Error {
  constructor(readonly response: HttpResponse) {
    super(`status ${response.status}`);
  }
}

/** A connection that kept breaking, as an MbuildError. */
export function lostConnection(error: unknown, url: URL): unknown {
  if (error instanceof PassingStatus)
    return new MbuildError(
      'REGISTRY_FAILED',
      `${url.host} kept answering with status ${error.response.status}`,
    );
  if (isMbuildError(error)) return error;
  return new MbuildError(
    'REGISTRY_UNREACHABLE',
    `the connection to ${url.host} keeps breaking: ${(error as Error).message}`,
    { cause: error, hint: 'what was fetched is kept; try again' },
  );
}

async function denied(
  response: HttpResponse,
  repository: Repository,
  hadCredentials: boolean,
): Promise<MbuildError> {
  const said = await reason(response);
  const what = repository.repository === '' ? repository.registry : familiarRepository(repository);
  return new MbuildError(
    'REGISTRY_DENIED',
    `${response.url.host} denies access to ${what}${said}`,
    {
      hint: hadCredentials
        ? 'the credentials may be wrong or lack the permission; or there is no such repository'
        : `log in with: mbuild login ${repository.registry}; or there is no such repository`,
    },
  );
}

/** An answer that is not what was asked for, with what went wrong in the registry's own words. */
export async function failure(response: HttpResponse, doing: string): Promise<MbuildError> {
  return new MbuildError(
    'REGISTRY_FAILED',
    `${response.url.host} answered ${response.status} when ${doing}${await reason(response)}`,
  );
}

/** The message of an error answer: distribution-spec, "Error Codes". */
async function reason(response: HttpResponse): Promise<string> {
  try {
    const { errors } = JSON.parse((await readBody(response, 64 << 10)).toString('utf8')) as {
      errors?: { code?: string; message?: string }[];
    };
    const first = errors?.[0];
    const text = (first?.message || first?.code || '').slice(0, 200);
    return text === '' ? '' : `: ${text}`;
  } catch {
    response.body.destroy();
    return '';
  }
}
