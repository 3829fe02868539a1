import { MbuildError } from '../diagnostics/error';
import { DEFAULT_REGISTRY } from '../oci/reference';
import { HUB_HOST, denied, failure } from './answers';
import { basicHeader, parseToken, type Challenge, type Token } from './auth';
import type { Credentials } from './credentials';
import { isLoopback } from './proxy';
import type { Repository } from './registry';
import { sendRetried, type RetryOptions } from './retry';
import { readBody, redactUrl, type HttpRequest, type Transport } from './transport';

/** What is asked, and of whom. */
export interface Access {
  /** As the user names it: credentials are looked up under this. */
  readonly repository: Repository;
  /** The server that is asked: the registry, or one that it redirects to. */
  readonly url: URL;
  /** Absent for a server that names its own: one that is redirected to. */
  readonly scopes: readonly string[] | undefined;
  readonly signal: AbortSignal;
}

type BearerChallenge = Extract<Challenge, { scheme: 'bearer' }>;
type FindCredentials = (repository: Repository) => Promise<Credentials | undefined>;

const MAX_TOKEN_ANSWER = 1 << 20;

/**
 * Authorization for servers, each by its own challenge and credentials: what one server was told
 * goes to no other. Challenges and tokens live as long as this object. Distribution, "Token
 * Authentication Specification" and "OAuth2 Token Authentication".
 */
export class Authorization {
  readonly #challenges = new Map<string, Challenge>();
  readonly #tokens = new Map<string, Promise<Token>>();

  constructor(
    private readonly transport: Transport,
    private readonly find: FindCredentials,
    private readonly patience: RetryOptions,
  ) {}

  /** Remembers what a server asks for. */
  learn({ origin }: URL, challenge: Challenge | undefined): void {
    if (challenge !== undefined) this.#challenges.set(origin, challenge);
  }

  /**
   * The header for a request; `undefined` while the server has asked for nothing, or there are no
   * credentials.
   */
  async header(access: Access): Promise<string | undefined> {
    const challenge = this.#challenges.get(access.url.origin);
    if (challenge === undefined) return undefined;
    if (challenge.scheme === 'basic') return basicHeader(await this.#credentials(access));
    return `Bearer ${(await this.#token(challenge, access)).value}`;
  }

  /** Forgets a token that was refused, unless another request has renewed it already. */
  async refuse(access: Access, header: string | undefined): Promise<void> {
    const challenge = this.#challenges.get(access.url.origin);
    if (challenge?.scheme !== 'bearer') return;
    const key = keyOf(challenge, access);
    const token = await this.#tokens.get(key)?.catch(() => undefined);
    if (token !== undefined && `Bearer ${token.value}` === header) this.#tokens.delete(key);
  }

  /** Requests at the same time share one token. */
  async #token(challenge: BearerChallenge, access: Access): Promise<Token> {
    const key = keyOf(challenge, access);
    const known = this.#tokens.get(key);
    if (known !== undefined && (await known).expires > Date.now()) return known;
    const asked = this.#fetchToken(challenge, access);
    this.#tokens.set(key, asked);
    asked.catch(() => {
      if (this.#tokens.get(key) === asked) this.#tokens.delete(key);
    });
    return asked;
  }

  async #fetchToken(challenge: BearerChallenge, access: Access): Promise<Token> {
    const { repository, signal } = access;
    const realm = this.#realm(challenge, access);
    const credentials = await this.#credentials(access);
    const request = tokenRequest(realm, challenge, scopesOf(challenge, access), credentials);
    const response = await sendRetried(
      this.transport,
      () => ({ ...request, signal }),
      this.patience,
    );
    if (response.status === 401 || response.status === 403)
      throw await denied(response, repository, credentials !== undefined);
    if (response.status !== 200) throw await failure(response, 'asking for a token');
    const token = parseToken(await readBody(response, MAX_TOKEN_ANSWER), Date.now());
    if (token === undefined)
      throw new MbuildError('REGISTRY_FAILED', `${realm.host} answered without a valid token`);
    return token;
  }

  /**
   * The token server. Credentials go there in the clear only where the registry itself may be
   * spoken to like that.
   */
  #realm({ realm }: BearerChallenge, { url }: Access): URL {
    if (!URL.canParse(realm, url.href))
      throw new MbuildError(
        'REGISTRY_FAILED',
        `${url.host} names a token server whose address is not valid`,
      );
    const server = new URL(realm, url);
    const mayBePlain =
      isLoopback(server.host) ||
      this.transport.isInsecure(server.host) ||
      (url.protocol === 'http:' && server.hostname === url.hostname);
    if (server.protocol === 'https:' || (server.protocol === 'http:' && mayBePlain)) return server;
    throw new MbuildError(
      'REGISTRY_DENIED',
      `${url.host} asks to log in at ${redactUrl(server)}, which is not encrypted; no credentials were sent`,
      { hint: `if this is intended, allow it with --insecure-registry ${server.host}` },
    );
  }

  /** Those of the registry for the registry itself, those of its own name for any other server. */
  #credentials({ repository, url, scopes }: Access): Promise<Credentials | undefined> {
    if (scopes !== undefined) return this.find(repository);
    const path = /^\/v2\/(.+?)\/(?:manifests|blobs|tags)\//.exec(url.pathname)?.[1] ?? '';
    const registry = url.host === HUB_HOST ? DEFAULT_REGISTRY : url.host;
    return this.find({ registry, repository: path });
  }
}

function scopesOf(challenge: BearerChallenge, { scopes = [] }: Access): readonly string[] {
  return scopes.length === 0 && challenge.scope !== undefined ? challenge.scope.split(' ') : scopes;
}

function keyOf(challenge: BearerChallenge, access: Access): string {
  const { realm, service } = challenge;
  return [access.url.origin, realm, service, ...scopesOf(challenge, access)].join('\n');
}

function tokenRequest(
  realm: URL,
  { service }: BearerChallenge,
  scopes: readonly string[],
  credentials: Credentials | undefined,
): Omit<HttpRequest, 'signal'> {
  if (credentials?.kind === 'identityToken') {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: credentials.token,
      client_id: 'mbuild',
      ...(service === undefined ? {} : { service }),
      scope: scopes.join(' '),
    });
    return {
      method: 'POST',
      url: realm,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: form.toString(),
    };
  }
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set('service', service);
  for (const scope of scopes) url.searchParams.append('scope', scope);
  const authorization = basicHeader(credentials);
  return { method: 'GET', url, headers: authorization === undefined ? {} : { authorization } };
}
