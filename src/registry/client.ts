import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { MbuildError, isMbuildError } from '../diagnostics/error';
import { digestOf, isDigest, type Digest } from '../oci/digest';
import type { Descriptor } from '../oci/image';
import { MediaType, isIndexType, isManifestType } from '../oci/media-types';
import { DEFAULT_REGISTRY, familiarName, familiarRepository, type Reference } from '../oci/reference';
import { basicHeader, parseChallenge, parseToken, type Challenge, type Token } from './auth';
import { findCredentials, type Credentials } from './credentials';
import type { BlobBody, BlobSource, RawManifest, Registry, Repository, Sent } from './registry';
import { Transport, dismiss, isLoopback, isTransient, networkError, readBody, redactUrl, type HttpRequest, type HttpResponse } from './transport';

/** How a client behaves; everything has a default. */
export interface RegistryOptions {
  /** `--insecure-registry`: `host[:port]`. */
  readonly insecure?: readonly string[] | undefined;
  /** `--authfile`. */
  readonly authFile?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  readonly certFolders?: readonly string[] | undefined;
  /** Credentials to be used instead of the configured ones: `login`. */
  readonly credentials?: Credentials | undefined;
  /** How often a passing failure is tried, and the first pause in milliseconds; it doubles every time. */
  readonly attempts?: number | undefined;
  readonly pauseMs?: number | undefined;
  /** Bytes that are sent in one request of an upload; all that there are when absent. */
  readonly chunkSize?: number | undefined;
}

/** A registry as it turned out at the first contact. */
interface Endpoint {
  readonly base: URL;
  readonly challenge: Challenge | undefined;
}

/** A request of the distribution API. */
interface ApiRequest extends Omit<HttpRequest, 'url' | 'signal'> {
  /** Behind `/v2/`, or an address that the registry gave. */
  readonly target: string | URL;
  readonly scopes: readonly string[];
  /** False for a body that can be sent only once. */
  readonly repeatable?: boolean | undefined;
}

/** A manifest is refused beyond this: distribution-spec, "Pushing Manifests", has registries take at least 4 MiB. */
const MAX_MANIFEST = 4 << 20;
const MAX_LISTING = 32 << 20;
const MAX_REDIRECTS = 5;
const MAX_RETRY_AFTER_MS = 60_000;
/** Blobs up to this size are sent in a single request. */
const MONOLITHIC = 1 << 20;
const MANIFEST_TYPES = [MediaType.ociIndex, MediaType.ociManifest, MediaType.dockerIndex, MediaType.dockerManifest].join(', ');
const CERT_FOLDERS = ['/etc/containers/certs.d', '/etc/docker/certs.d'];

/** Speaks to any number of registries. Tokens and what was learnt of a host live as long as the client. */
export class RegistryClient implements Registry {
  readonly #transport: Transport;
  readonly #endpoints = new Map<string, Promise<Endpoint>>();
  readonly #tokens = new Map<string, Token>();
  readonly #env: Readonly<Record<string, string | undefined>>;

  constructor(private readonly options: RegistryOptions = {}) {
    this.#env = options.env ?? process.env;
    const own = this.#env.HOME === undefined ? [] : [`${this.#env.HOME}/.config/containers/certs.d`];
    this.#transport = new Transport({ env: this.#env, insecure: options.insecure ?? [], certFolders: options.certFolders ?? [...own, ...CERT_FOLDERS] });
  }

  async resolve(ref: Reference, signal: AbortSignal): Promise<Descriptor | undefined> {
    const response = await this.#call(ref, { method: 'HEAD', target: manifestPath(ref), headers: { accept: MANIFEST_TYPES }, scopes: pullScope(ref) }, signal);
    await dismiss(response);
    if (response.status === 404) return undefined;
    const digest = response.headers['docker-content-digest'] ?? ref.digest ?? '';
    const size = Number(response.headers['content-length'] ?? NaN);
    const mediaType = mediaTypeOf(response);
    // Not every registry says all of this in the head; the manifest itself does.
    if (response.status !== 200 || !isDigest(digest) || !Number.isSafeInteger(size) || !isKnown(mediaType)) return (await this.manifest(ref, signal)).descriptor;
    if (ref.digest !== undefined && digest !== ref.digest) throw wrongDigest(ref, digest);
    return { mediaType, digest, size };
  }

  async manifest(ref: Reference, signal: AbortSignal): Promise<RawManifest> {
    const response = await this.#call(ref, { method: 'GET', target: manifestPath(ref), headers: { accept: MANIFEST_TYPES }, scopes: pullScope(ref) }, signal);
    if (response.status === 404) {
      await dismiss(response);
      throw new MbuildError('IMAGE_NOT_FOUND', `${ref.registry} has no image ${familiarName(ref)}`);
    }
    if (response.status !== 200) throw await failure(response, `asking for ${familiarName(ref)}`);
    const bytes = await this.#read(response, MAX_MANIFEST, signal);
    const digest = digestOf(bytes);
    const announced = response.headers['docker-content-digest'];
    if (ref.digest !== undefined && ref.digest !== digest) throw wrongDigest(ref, digest);
    if (announced !== undefined && isDigest(announced) && announced !== digest) throw wrongDigest(ref, digest, announced);
    const mediaType = manifestType(bytes, mediaTypeOf(response), ref);
    return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
  }

  async blob(repository: Repository, blob: Descriptor, start: number, signal: AbortSignal): Promise<BlobBody> {
    const headers = start === 0 ? {} : { range: `bytes=${start}-` };
    const response = await this.#call(repository, { method: 'GET', target: `${repository.repository}/blobs/${blob.digest}`, headers, scopes: pullScope(repository) }, signal);
    if (response.status === 404) {
      await dismiss(response);
      throw new MbuildError('IMAGE_NOT_FOUND', `${repository.registry} lacks the blob ${blob.digest} of ${familiarRepository(repository)}`);
    }
    if (response.status === 416) {
      await dismiss(response);
      return this.blob(repository, blob, 0, signal);
    }
    if (response.status !== 200 && response.status !== 206) throw await failure(response, `fetching ${blob.digest}`);
    const from = response.status === 200 ? 0 : rangeStart(response.headers['content-range']);
    if (from !== 0 && from !== start) throw new MbuildError('REGISTRY_FAILED', `${response.url.host} answered with another range than was asked for`);
    return { start: from, bytes: bodyOf(response, signal) };
  }

  async pushBlob(repository: Repository, blob: BlobSource, signal: AbortSignal, sent: (bytes: number) => void = () => undefined): Promise<Sent> {
    const { digest, size } = blob.descriptor;
    const scopes = pushScope(repository);
    const uploads = `${repository.repository}/blobs/uploads/`;
    const head = await this.#call(repository, { method: 'HEAD', target: `${repository.repository}/blobs/${digest}`, scopes }, signal);
    await dismiss(head);
    if (head.status === 200) return 'exists';
    if (head.status !== 404) throw await failure(head, `asking for ${digest}`);
    let start: HttpResponse | undefined;
    if (blob.from !== undefined && blob.from !== repository.repository) {
      const target = `${uploads}?mount=${encodeURIComponent(digest)}&from=${encodeURIComponent(blob.from)}`;
      start = await this.#call(repository, { method: 'POST', target, scopes: [...scopes, `repository:${blob.from}:pull`] }, signal);
      await dismiss(start);
      if (start.status === 201) return 'mounted';
    }
    if (start?.status !== 202) {
      start = await this.#call(repository, { method: 'POST', target: uploads, scopes }, signal);
      if (start.status !== 202) throw await failure(start, `starting an upload to ${familiarRepository(repository)}`);
      await dismiss(start);
    }
    await this.#upload(repository, blob, location(start), signal, sent);
    sent(size);
    return 'uploaded';
  }

  async pushManifest(ref: Reference, manifest: RawManifest, signal: AbortSignal): Promise<Digest> {
    const { digest, mediaType } = manifest.descriptor;
    const target = `${ref.repository}/manifests/${ref.tag ?? digest}`;
    const response = await this.#call(ref, { method: 'PUT', target, headers: { 'content-type': mediaType }, body: manifest.bytes, scopes: pushScope(ref) }, signal);
    if (response.status !== 201) throw await failure(response, `pushing ${familiarName(ref)}`);
    await dismiss(response);
    return digest;
  }

  async tags(repository: Repository, signal: AbortSignal): Promise<string[] | undefined> {
    return this.#listing(repository, `${repository.repository}/tags/list`, pullScope(repository), 'tags', signal);
  }

  async repositories(registry: string, signal: AbortSignal): Promise<string[]> {
    return (await this.#listing({ registry, repository: '' }, '_catalog', ['registry:catalog:*'], 'repositories', signal)) ?? [];
  }

  async check(registry: string, signal: AbortSignal): Promise<void> {
    const response = await this.#call({ registry, repository: '' }, { method: 'GET', target: '', scopes: [] }, signal);
    if (response.status !== 200) throw await failure(response, 'logging in');
    await dismiss(response);
  }

  async close(): Promise<void> {
    await this.#transport.close();
  }

  /** Pages are linked by `Link: <…>; rel="next"`. Distribution-spec, "Content Discovery". */
  async #listing(repository: Repository, first: string, scopes: readonly string[], member: string, signal: AbortSignal): Promise<string[] | undefined> {
    const found: string[] = [];
    const seen = new Set<string>();
    for (let target: string | URL | undefined = first; target !== undefined && !seen.has(String(target)); ) {
      seen.add(String(target));
      const response = await this.#call(repository, { method: 'GET', target, scopes }, signal);
      if (response.status === 404) {
        await dismiss(response);
        return undefined;
      }
      if (response.status !== 200) throw await failure(response, `listing the ${member} of ${repository.registry}`);
      const page = parseObject(await this.#read(response, MAX_LISTING, signal))[member];
      if (Array.isArray(page)) found.push(...page.filter((item) => typeof item === 'string'));
      const next: string | undefined = /<([^>]+)>\s*;\s*rel="?next"?/i.exec(response.headers.link ?? '')?.[1];
      target = next === undefined ? undefined : new URL(next, response.url);
      if (found.length > 1_000_000) throw new MbuildError('LIMIT_EXCEEDED', `${repository.registry} lists more than a million ${member}`);
    }
    return found;
  }

  /** A small blob in one PUT; others by PATCHes from where the registry says that it is, and a closing PUT. */
  async #upload(repository: Repository, blob: BlobSource, address: URL, signal: AbortSignal, sent: (bytes: number) => void): Promise<void> {
    const { digest, size } = blob.descriptor;
    const scopes = pushScope(repository);
    const type = { 'content-type': 'application/octet-stream' };
    let target = address;
    let body: Buffer | undefined;
    if (size <= MONOLITHIC) {
      body = await collect(blob.open(0));
    } else {
      let offset = 0;
      for (let failures = 0; offset < size; ) {
        const length = Math.min(this.options.chunkSize ?? size, size - offset);
        const from = offset;
        try {
          const stream = Readable.from(counted(slice(blob.open(from), length), (done) => sent(from + done)), { objectMode: false });
          const headers = { ...type, 'content-length': String(length), 'content-range': `${from}-${from + length - 1}` };
          const response = await this.#call(repository, { method: 'PATCH', target, headers, body: stream, scopes, repeatable: false }, signal);
          if (isPassing(response.status)) {
            await dismiss(response);
            throw new PassingStatus(response);
          }
          if (response.status !== 202 && response.status !== 204) throw await failure(response, `uploading ${digest}`);
          await dismiss(response);
          target = location(response, target);
          offset = from + length;
        } catch (error) {
          if (!isTransient(error) && !(error instanceof PassingStatus)) throw error;
          if (++failures >= this.#attempts()) throw lostConnection(error, target);
          await this.#pause(failures, error instanceof PassingStatus ? error.response : undefined, signal);
          const status = await this.#call(repository, { method: 'GET', target, scopes }, signal);
          await dismiss(status);
          if (status.status !== 204) throw await failure(status, `resuming the upload of ${digest}`);
          target = location(status, target);
          offset = rangeEnd(status.headers.range);
        }
      }
    }
    const closing = new URL(target);
    closing.searchParams.set('digest', digest);
    const response = await this.#call(repository, { method: 'PUT', target: closing, headers: { ...type, 'content-length': String(body?.length ?? 0) }, body, scopes }, signal);
    if (response.status !== 201 && response.status !== 204) throw await failure(response, `uploading ${digest}`);
    await dismiss(response);
  }

  /** Sends a request with what authorization it takes, again after passing failures. Any final status is returned but 401 and 403. */
  async #call(repository: Repository, request: ApiRequest, signal: AbortSignal): Promise<HttpResponse> {
    for (let attempt = 1; ; attempt++) {
      const last = attempt >= this.#attempts() || request.repeatable === false;
      try {
        const response = await this.#authorized(repository, request, signal);
        if (last || !isPassing(response.status)) return response;
        await dismiss(response);
        await this.#pause(attempt, response, signal);
      } catch (error) {
        if (!isTransient(error)) throw error;
        if (request.repeatable === false) throw error;
        if (last) throw lostConnection(error, new URL((await this.#endpoint(repository, signal)).base));
        await this.#pause(attempt, undefined, signal);
      }
    }
  }

  async #authorized(repository: Repository, request: ApiRequest, signal: AbortSignal): Promise<HttpResponse> {
    const endpoint = await this.#endpoint(repository, signal);
    const url = typeof request.target === 'string' ? new URL(request.target, endpoint.base) : request.target;
    let challenge = endpoint.challenge;
    let fresh = false;
    for (;;) {
      const authorization = await this.#authorization(repository, challenge, request.scopes, endpoint, fresh, signal);
      const response = await this.#follow({ ...request, url, signal }, endpoint, authorization);
      if (response.status !== 401 && response.status !== 403) return response;
      const asked = parseChallenge(response.headers['www-authenticate']);
      // A token may have ended, or the host may not have asked before: once more with a fresh one, never in a loop.
      if (response.status === 403 || fresh || asked === undefined || request.repeatable === false || response.url.host !== url.host) throw await denied(response, repository, authorization !== undefined);
      await dismiss(response);
      challenge = asked;
      fresh = true;
    }
  }

  /** Follows redirects. Authorization goes to the host that asked for it and to no other. */
  async #follow(request: HttpRequest, endpoint: Endpoint, authorization: string | undefined): Promise<HttpResponse> {
    let url = request.url;
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const trusted = url.host === endpoint.base.host && url.protocol === endpoint.base.protocol;
      const headers = { ...request.headers, ...(authorization !== undefined && trusted ? { authorization } : {}) };
      const response = await this.#transport.send({ ...request, url, headers });
      const next = response.headers.location;
      if (![301, 302, 303, 307, 308].includes(response.status) || next === undefined) return response;
      await dismiss(response);
      if (request.method !== 'GET' && request.method !== 'HEAD' && request.body !== undefined) throw new MbuildError('REGISTRY_FAILED', `${url.host} redirects an upload, which mbuild does not follow`);
      const target = new URL(next, url);
      if (target.protocol !== 'https:' && target.protocol !== 'http:') throw new MbuildError('REGISTRY_FAILED', `${url.host} redirects to ${target.protocol}`);
      if (url.protocol === 'https:' && target.protocol === 'http:' && !this.#transport.isInsecure(target.host)) {
        throw new MbuildError('TLS_FAILED', `${url.host} redirects to ${redactUrl(target)}, which is not encrypted`, { hint: `name the host with --insecure-registry ${target.host} if that is meant` });
      }
      url = target;
    }
    throw new MbuildError('REGISTRY_FAILED', `${request.url.host} redirects more than ${MAX_REDIRECTS} times`);
  }

  async #authorization(repository: Repository, challenge: Challenge | undefined, scopes: readonly string[], endpoint: Endpoint, fresh: boolean, signal: AbortSignal): Promise<string | undefined> {
    if (challenge === undefined) return undefined;
    if (challenge.scheme === 'basic') return basicHeader(await this.#credentials(repository));
    const wanted = scopes.length === 0 && challenge.scope !== undefined ? challenge.scope.split(' ') : scopes;
    const key = [endpoint.base.host, challenge.realm, challenge.service, ...wanted].join('\n');
    const known = this.#tokens.get(key);
    if (known !== undefined && !fresh && known.expires > Date.now()) return `Bearer ${known.value}`;
    const token = await this.#fetchToken(repository, challenge, wanted, endpoint, signal);
    this.#tokens.set(key, token);
    return `Bearer ${token.value}`;
  }

  /** Asks the token server: distribution, "Token Authentication Specification" and "OAuth2 Token Authentication". */
  async #fetchToken(repository: Repository, challenge: Extract<Challenge, { scheme: 'bearer' }>, scopes: readonly string[], endpoint: Endpoint, signal: AbortSignal): Promise<Token> {
    if (!URL.canParse(challenge.realm)) throw new MbuildError('REGISTRY_FAILED', `${repository.registry} names a token server that is no address`);
    const url = new URL(challenge.realm);
    const credentials = await this.#credentials(repository);
    if (url.protocol !== 'https:' && !(url.protocol === 'http:' && (endpoint.base.protocol === 'http:' || isLoopback(url.host)))) {
      throw new MbuildError('REGISTRY_DENIED', `${repository.registry} asks to log in at ${redactUrl(url)}, which is not encrypted; no credentials were sent`);
    }
    const service = challenge.service === undefined ? {} : { service: challenge.service };
    let request: HttpRequest;
    if (credentials?.kind === 'identityToken') {
      const form = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: credentials.token, client_id: 'mbuild', ...service, scope: scopes.join(' ') });
      request = { method: 'POST', url, headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: form.toString(), signal };
    } else {
      for (const [name, value] of Object.entries(service)) url.searchParams.set(name, value);
      for (const scope of scopes) url.searchParams.append('scope', scope);
      const authorization = basicHeader(credentials);
      request = { method: 'GET', url, headers: authorization === undefined ? {} : { authorization }, signal };
    }
    const response = await this.#retried(request);
    if (response.status === 401 || response.status === 403) throw await denied(response, repository, credentials !== undefined);
    if (response.status !== 200) throw await failure(response, 'asking for a token');
    const token = parseToken((await this.#read(response, MAX_MANIFEST, signal)).toString('utf8'), Date.now());
    if (token === undefined) throw new MbuildError('REGISTRY_FAILED', `${url.host} answered without a token`);
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
      this.#endpoints.set(registry, endpoint = this.#discover(registry, signal));
      endpoint.catch(() => this.#endpoints.delete(registry));
    }
    return endpoint;
  }

  /** Finds out how a host is spoken to: https, but loopback by plain http if it takes it, and insecure hosts as they can. */
  async #discover(registry: string, signal: AbortSignal): Promise<Endpoint> {
    const host = registry === DEFAULT_REGISTRY ? 'registry-1.docker.io' : registry;
    if (!URL.canParse(`https://${host}/v2/`)) throw new MbuildError('REFERENCE_INVALID', `${host} is not the address of a registry`);
    const https = new URL(`https://${host}/v2/`);
    const http = new URL(`http://${host}/v2/`);
    const order = isLoopback(host) ? [http, https] : this.#transport.isInsecure(host) ? [https, http] : [https];
    let first: unknown;
    for (const base of order) {
      try {
        const response = await this.#retried({ method: 'GET', url: base, signal });
        const text = (await this.#read(response, MAX_MANIFEST, signal)).toString('utf8');
        // What Go's servers, docker's registry among them, answer to plain http on a TLS port.
        if (base === http && response.status === 400 && /HTTPS server/i.test(text)) continue;
        if (response.status === 404 && response.headers['docker-distribution-api-version'] === undefined && base !== order.at(-1)) continue;
        return { base, challenge: response.status === 401 ? parseChallenge(response.headers['www-authenticate']) : undefined };
      } catch (error) {
        if (signal.aborted) throw error;
        first ??= error;
      }
    }
    throw isTransient(first) ? lostConnection(first, https) : first;
  }

  async #retried(request: HttpRequest): Promise<HttpResponse> {
    for (let attempt = 1; ; attempt++) {
      try {
        const response = await this.#transport.send(request);
        if (!isPassing(response.status) || attempt >= this.#attempts()) return response;
        await dismiss(response);
        await this.#pause(attempt, response, request.signal);
      } catch (error) {
        if (!isTransient(error) || attempt >= this.#attempts()) throw error;
        await this.#pause(attempt, undefined, request.signal);
      }
    }
  }

  #attempts(): number {
    return this.options.attempts ?? 5;
  }

  /** Waits as long as the server asked for, else longer every time, with some chance in it. */
  async #pause(attempt: number, response: HttpResponse | undefined, signal: AbortSignal): Promise<void> {
    const asked = retryAfter(response?.headers['retry-after'], Date.now());
    if (asked !== undefined && asked > MAX_RETRY_AFTER_MS) {
      throw new MbuildError('REGISTRY_FAILED', `${response?.url.host} is busy and asks to be left alone for ${Math.ceil(asked / 1000)} s`, { hint: 'try again later; logging in often raises the limit' });
    }
    const backOff = Math.min(10_000, (this.options.pauseMs ?? 250) * 2 ** (attempt - 1)) * (0.75 + Math.random() / 2);
    await sleep(asked ?? backOff, undefined, { signal }).catch((cause: unknown) => {
      throw new MbuildError('CANCELED', 'the transfer was stopped', { cause });
    });
  }

  async #read(response: HttpResponse, limit: number, signal: AbortSignal): Promise<Buffer> {
    try {
      return await readBody(response, limit);
    } catch (error) {
      response.body.destroy();
      throw networkError(error, response.url, signal);
    }
  }
}

/** A status that may be another one on the next try, thrown where an upload must be resumed. */
class PassingStatus extends Error {
  constructor(readonly response: HttpResponse) {
    super(`status ${response.status}`);
  }
}

function isPassing(status: number): boolean {
  return status === 408 || status === 429 || status === 500 || status === 502 || status === 503 || status === 504;
}

/** Milliseconds to wait, from seconds or an HTTP date. RFC 9110, 10.2.3. */
function retryAfter(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d+$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

function manifestPath(ref: Reference): string {
  return `${ref.repository}/manifests/${ref.digest ?? ref.tag ?? 'latest'}`;
}

function pullScope(repository: Repository): string[] {
  return [`repository:${repository.repository}:pull`];
}

function pushScope(repository: Repository): string[] {
  return [`repository:${repository.repository}:pull,push`];
}

function mediaTypeOf(response: HttpResponse): string {
  return (response.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}

function isKnown(mediaType: string): boolean {
  return isIndexType(mediaType) || isManifestType(mediaType);
}

/**
 * The type of a manifest. Its own `mediaType`, where present, must agree with the header, and with what it holds:
 * bytes that read as an index to one tool and as a manifest to another are refused (CVE-2021-41190).
 */
function manifestType(bytes: Buffer, header: string, ref: Reference): string {
  const fields = parseObject(bytes);
  const own = typeof fields.mediaType === 'string' ? fields.mediaType : undefined;
  const type = own ?? (isKnown(header) ? header : 'manifests' in fields ? MediaType.ociIndex : MediaType.ociManifest);
  const name = familiarName(ref);
  if (!isKnown(type) || (own !== undefined && isKnown(header) && header !== own)) {
    const old = fields.schemaVersion === 1 ? 'Docker schema 1, which is no longer in use' : `${JSON.stringify(own ?? header)}`;
    throw new MbuildError('IMAGE_INVALID', `${name} is not an image that mbuild knows: its manifest is ${old}`);
  }
  if (isIndexType(type) ? 'layers' in fields || 'config' in fields || !Array.isArray(fields.manifests) : 'manifests' in fields || !Array.isArray(fields.layers)) {
    throw new MbuildError('IMAGE_INVALID', `the manifest of ${name} does not hold what its type ${type} says`);
  }
  return type;
}

function parseObject(bytes: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Falls through to the one error below.
  }
  throw new MbuildError('REGISTRY_FAILED', 'the registry answered with something other than a JSON object');
}

function wrongDigest(ref: Reference, found: Digest, expected = ref.digest): MbuildError {
  return new MbuildError('DIGEST_MISMATCH', `${ref.registry} answered for ${familiarName(ref)} with ${found} instead of ${expected}`, { hint: 'the registry is broken or tampered with; nothing was stored' });
}

function location(response: HttpResponse, base = response.url): URL {
  const header = response.headers.location;
  if (header === undefined || !URL.canParse(header, base.href)) throw new MbuildError('REGISTRY_FAILED', `${response.url.host} did not say where the upload goes on`);
  return new URL(header, base);
}

function rangeStart(header: string | undefined): number {
  const start = /^bytes (\d+)-/.exec(header ?? '')?.[1];
  if (start === undefined) throw new MbuildError('REGISTRY_FAILED', 'the registry answered with a part of a blob without saying which');
  return Number(start);
}

/** Bytes that an upload has: `Range: 0-99` says 100, and registries write `0-0` for none. Distribution-spec, "Pushing a blob in chunks". */
function rangeEnd(header: string | undefined): number {
  const end = Number(/^(?:bytes=)?0-(\d+)$/.exec(header ?? '')?.[1] ?? 0);
  return end === 0 ? 0 : end + 1;
}

async function* bodyOf(response: HttpResponse, signal: AbortSignal): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of response.body) yield chunk as Buffer;
  } catch (error) {
    throw networkError(error, response.url, signal);
  } finally {
    response.body.destroy();
  }
}

async function* slice(source: AsyncIterable<Uint8Array>, length: number): AsyncGenerator<Uint8Array> {
  let left = length;
  for await (const chunk of source) {
    if (chunk.length >= left) {
      yield chunk.subarray(0, left);
      return;
    }
    left -= chunk.length;
    yield chunk;
  }
}

async function* counted(source: AsyncIterable<Uint8Array>, count: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of source) {
    yield chunk;
    count(bytes += chunk.length);
  }
}

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function lostConnection(error: unknown, url: URL): unknown {
  if (error instanceof PassingStatus) return new MbuildError('REGISTRY_FAILED', `${url.host} kept answering with status ${error.response.status}`);
  if (isMbuildError(error)) return error;
  return new MbuildError('REGISTRY_UNREACHABLE', `the connection to ${url.host} keeps breaking: ${(error as Error).message}`, { cause: error, hint: 'what was fetched is kept; try again' });
}

async function denied(response: HttpResponse, repository: Repository, hadCredentials: boolean): Promise<MbuildError> {
  const said = await reason(response);
  const what = repository.repository === '' ? repository.registry : familiarRepository(repository);
  return new MbuildError('REGISTRY_DENIED', `${response.url.host} denies access to ${what}${said}`, {
    hint: hadCredentials ? 'the credentials may be wrong or lack the permission; or there is no such repository' : `log in with: mbuild login ${repository.registry}; or there is no such repository`,
  });
}

/** What went wrong in the registry's own words. */
async function failure(response: HttpResponse, doing: string): Promise<MbuildError> {
  return new MbuildError('REGISTRY_FAILED', `${response.url.host} answered ${response.status} when ${doing}${await reason(response)}`);
}

/** The message of an error answer: distribution-spec, "Error Codes". */
async function reason(response: HttpResponse): Promise<string> {
  try {
    const { errors } = JSON.parse((await readBody(response, 64 << 10)).toString('utf8')) as { errors?: { code?: string; message?: string }[] };
    const first = errors?.[0];
    const text = (first?.message || first?.code || '').slice(0, 200);
    return text === '' ? '' : `: ${text}`;
  } catch {
    response.body.destroy();
    return '';
  }
}
