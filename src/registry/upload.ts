import { Readable } from 'node:stream';
import { MbuildError } from '../diagnostics/error';
import type { Digest } from '../oci/digest';
import { familiarRepository } from '../oci/reference';
import type { BlobSource, EarlyUpload, Repository, Sent } from './registry';
import { isPassing } from './retry';
import { PassingStatus, failure, lostConnection, type RegistrySession } from './session';
import { dismiss, isTransient, type HttpResponse } from './transport';

/** Blobs up to this size are sent in a single request. */
const MONOLITHIC = 1 << 20;
const OCTETS = { 'content-type': 'application/octet-stream' };

/** Brings blobs into repositories: distribution-spec, "Pushing blobs". */
export class Uploads {
  /** @param chunkSize bytes that are sent in one request; all that there are when absent. */
  constructor(
    private readonly session: RegistrySession,
    private readonly chunkSize: number | undefined,
  ) {}

  /** Sends a blob unless it is there, on its way already, or can be mounted; `sent` is called with the bytes that were accepted so far. */
  async push(
    repository: Repository,
    blob: BlobSource,
    signal: AbortSignal,
    sent: (bytes: number) => void,
  ): Promise<Sent> {
    const { digest, size } = blob.descriptor;
    const scopes = pushScope(repository);
    const head = await this.session.call(
      repository,
      { method: 'HEAD', target: `${repository.repository}/blobs/${digest}`, scopes },
      signal,
    );
    await dismiss(head);
    if (head.status === 200) {
      blob.early?.abort();
      return 'exists';
    }
    if (head.status !== 404) throw await failure(head, `asking for ${digest}`);
    if (blob.early !== undefined && (await isFinished(blob.early, digest, signal, sent)))
      return 'uploaded';
    let start: HttpResponse | undefined;
    if (blob.from !== undefined && blob.from !== repository.repository) {
      const target = `${repository.repository}/blobs/uploads/?mount=${encodeURIComponent(digest)}&from=${encodeURIComponent(blob.from)}`;
      start = await this.session.call(
        repository,
        { method: 'POST', target, scopes: [...scopes, `repository:${blob.from}:pull`] },
        signal,
      );
      await dismiss(start);
      if (start.status === 201) return 'mounted';
    }
    await this.#send(
      repository,
      blob,
      start?.status === 202 ? location(start) : await this.#start(repository, signal),
      signal,
      sent,
    );
    sent(size);
    return 'uploaded';
  }

  /** Begins to send bytes whose digest is not known yet. */
  begin(
    repository: Repository,
    open: (signal: AbortSignal) => AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): EarlyUpload {
    const stop = new AbortController();
    const inner = AbortSignal.any([signal, stop.signal]);
    let bytes = 0;
    let tell: (bytes: number) => void = () => undefined;
    const sending = this.#sendUnmeasured(
      repository,
      counted(open(inner), (done) => tell((bytes = done))),
      inner,
    );
    // `finish` tells of it, if anybody still wants to know.
    sending.catch(() => undefined);
    return {
      finish: async (digest, sent = () => undefined) => {
        tell = sent;
        sent(bytes);
        await this.#close(repository, await sending, digest, undefined, inner);
      },
      abort: () => stop.abort(),
    };
  }

  /** A small blob in one PUT; others by PATCHes from where the registry says that it is, and a closing PUT. */
  async #send(
    repository: Repository,
    blob: BlobSource,
    address: URL,
    signal: AbortSignal,
    sent: (bytes: number) => void,
  ): Promise<void> {
    const { digest, size } = blob.descriptor;
    const scopes = pushScope(repository);
    let target = address;
    let body: Buffer | undefined;
    if (size <= MONOLITHIC) {
      body = await collect(blob.open(0));
    } else {
      let offset = 0;
      for (let failures = 0; offset < size;) {
        const length = Math.min(this.chunkSize ?? size, size - offset);
        const from = offset;
        try {
          const stream = Readable.from(
            counted(slice(blob.open(from), length), (done) => sent(from + done)),
            { objectMode: false },
          );
          const headers = {
            ...OCTETS,
            'content-length': String(length),
            'content-range': `${from}-${from + length - 1}`,
          };
          const response = await this.session.call(
            repository,
            { method: 'PATCH', target, headers, body: stream, scopes, repeatable: false },
            signal,
          );
          if (isPassing(response.status)) {
            await dismiss(response);
            throw new PassingStatus(response);
          }
          if (response.status !== 202 && response.status !== 204)
            throw await failure(response, `uploading ${digest}`);
          await dismiss(response);
          target = location(response, target);
          offset = from + length;
        } catch (error) {
          if (!isTransient(error) && !(error instanceof PassingStatus)) throw error;
          if (++failures >= this.session.attempts()) throw lostConnection(error, target);
          await this.session.pause(
            failures,
            error instanceof PassingStatus ? error.response : undefined,
            signal,
          );
          const status = await this.session.call(
            repository,
            { method: 'GET', target, scopes },
            signal,
          );
          await dismiss(status);
          if (status.status !== 204)
            throw await failure(status, `resuming the upload of ${digest}`);
          target = location(status, target);
          offset = rangeEnd(status.headers.range);
        }
      }
    }
    await this.#close(repository, target, digest, body, signal);
  }

  /** All the bytes in one request without a length, as docker sends them; what the upload is called then. */
  async #sendUnmeasured(
    repository: Repository,
    bytes: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<URL> {
    const target = await this.#start(repository, signal);
    const body = Readable.from(bytes, { objectMode: false });
    const response = await this.session.call(
      repository,
      {
        method: 'PATCH',
        target,
        headers: OCTETS,
        body,
        scopes: pushScope(repository),
        repeatable: false,
      },
      signal,
    );
    if (response.status !== 202 && response.status !== 204)
      throw await failure(response, `uploading to ${familiarRepository(repository)}`);
    await dismiss(response);
    return location(response, target);
  }

  async #start(repository: Repository, signal: AbortSignal): Promise<URL> {
    const start = await this.session.call(
      repository,
      {
        method: 'POST',
        target: `${repository.repository}/blobs/uploads/`,
        scopes: pushScope(repository),
      },
      signal,
    );
    if (start.status !== 202)
      throw await failure(start, `starting an upload to ${familiarRepository(repository)}`);
    await dismiss(start);
    return location(start);
  }

  async #close(
    repository: Repository,
    target: URL,
    digest: Digest,
    body: Buffer | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const closing = new URL(target);
    closing.searchParams.set('digest', digest);
    const headers = { ...OCTETS, 'content-length': String(body?.length ?? 0) };
    const response = await this.session.call(
      repository,
      { method: 'PUT', target: closing, headers, body, scopes: pushScope(repository) },
      signal,
    );
    if (response.status !== 201 && response.status !== 204)
      throw await failure(response, `uploading ${digest}`);
    await dismiss(response);
  }
}

/** What a token must allow for this. */
export function pushScope(repository: Repository): string[] {
  return [`repository:${repository.repository}:pull,push`];
}

/** False when an early upload came to nothing, and all has to be sent. */
async function isFinished(
  early: EarlyUpload,
  digest: Digest,
  signal: AbortSignal,
  sent: (bytes: number) => void,
): Promise<boolean> {
  try {
    await early.finish(digest, sent);
    return true;
  } catch (error) {
    if (signal.aborted) throw error;
    return false;
  }
}

function location(response: HttpResponse, base = response.url): URL {
  const header = response.headers.location;
  if (header === undefined || !URL.canParse(header, base.href))
    throw new MbuildError(
      'REGISTRY_FAILED',
      `${response.url.host} did not say where the upload goes on`,
    );
  return new URL(header, base);
}

/** Bytes that an upload has: `Range: 0-99` says 100, and registries write `0-0` for none. Distribution-spec, "Pushing a blob in chunks". */
function rangeEnd(header: string | undefined): number {
  const end = Number(/^(?:bytes=)?0-(\d+)$/.exec(header ?? '')?.[1] ?? 0);
  return end === 0 ? 0 : end + 1;
}

async function* slice(
  source: AsyncIterable<Uint8Array>,
  length: number,
): AsyncGenerator<Uint8Array> {
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

async function* counted(
  source: AsyncIterable<Uint8Array>,
  count: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of source) {
    yield chunk;
    count((bytes += chunk.length));
  }
}

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}
