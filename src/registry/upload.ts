import type { Readable } from 'node:stream';
import { MbuildError } from '../diagnostics/error';
import type { Digest } from '../oci/digest';
import { familiarRepository } from '../oci/reference';
import { PassingStatus, failure, isSuccess, lostConnection } from './answers';
import { isTransient } from './network-error';
import type { BlobSource, EarlyUpload, Repository, Sent } from './registry';
import { isPassing } from './retry';
import type { RegistrySession } from './session';
import { dismiss, type HttpResponse } from './transport';
import { collect, counted, slice, streamOf } from './upload-streams';

/** Blobs up to this size are sent in a single request. */
const MONOLITHIC = 1 << 20;
/** Bytes of a piece: GitHub's most for Content-Range, then nginx's default most of a body. */
const PIECES = [4 << 20, 1 << 20];
const OCTETS = { 'content-type': 'application/octet-stream' };

/** A blob on its way to a repository. */
interface Sending {
  readonly repository: Repository;
  readonly blob: BlobSource;
  readonly signal: AbortSignal;
  readonly sent: (bytes: number) => void;
}

/** Where an upload goes on. */
interface Place {
  readonly url: URL;
  /** Bytes that the registry has. */
  readonly offset: number;
  /** The least that the registry takes in one piece but the last: `OCI-Chunk-Min-Length`. */
  readonly least: number;
}

/** Brings blobs into repositories: distribution-spec, "Pushing blobs". */
export class Uploads {
  /** @param pieceSize bytes that are sent in one request; all that there are when absent, and less when the registry refuses that. */
  constructor(
    private readonly session: RegistrySession,
    private readonly pieceSize: number | undefined,
  ) {}

  /** Sends a blob unless it is there, on its way already, or can be mounted; `sent` is called with the bytes that were accepted so far. */
  async push(
    repository: Repository,
    blob: BlobSource,
    signal: AbortSignal,
    sent: (bytes: number) => void,
  ): Promise<Sent> {
    const { digest, size } = blob.descriptor;
    const sending = { repository, blob, signal, sent };
    if (await this.#isThere(sending)) {
      blob.early?.abort();
      return 'exists';
    }
    if (blob.early !== undefined && (await isFinished(blob.early, digest, signal, sent)))
      return 'uploaded';
    const offered = await this.#offerMount(sending);
    if (offered === 'mounted') return 'mounted';
    await this.#send(sending, offered);
    sent(size);
    return 'uploaded';
  }

  /** Begins an upload and gives it up. @throws MbuildError REGISTRY_DENIED where pushing is not allowed. */
  async check(repository: Repository, signal: AbortSignal): Promise<void> {
    const { url } = await this.#start(repository, signal);
    // What is not given up ends by itself: registries forget uploads.
    const answer = await this.session
      .call(
        repository,
        { method: 'DELETE', target: url, scopes: pushScope(repository), isRetried: false },
        signal,
      )
      .catch((error: unknown) => unlessCanceled(error, signal));
    if (answer !== undefined) await dismiss(answer);
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
      () => streamOf(counted(open(inner), (done) => tell((bytes = done)))),
      inner,
    );
    // `finish` tells of it, if anybody still wants to know.
    sending.catch(() => undefined);
    return {
      finish: async (digest, sent = () => undefined) => {
        tell = sent;
        sent(bytes);
        await this.#close(repository, await sending, { digest }, inner);
      },
      abort: () => stop.abort(),
    };
  }

  /** False too for a registry that does not say: then the blob is sent, as docker does. */
  async #isThere({ repository, blob, signal }: Sending): Promise<boolean> {
    const target = `${repository.repository}/blobs/${blob.descriptor.digest}`;
    const head = await this.session
      .call(repository, { method: 'HEAD', target, scopes: pushScope(repository) }, signal)
      .catch((error: unknown) => unlessCanceled(error, signal));
    if (head !== undefined) await dismiss(head);
    return head?.status === 200;
  }

  /** A mount is an offer: whatever refuses it, also the token for the other repository, the blob is sent instead. */
  async #offerMount({ repository, blob, signal }: Sending): Promise<'mounted' | Place | undefined> {
    const { from, descriptor } = blob;
    if (from === undefined || from === repository.repository) return undefined;
    const query = new URLSearchParams({ mount: descriptor.digest, from });
    const answer = await this.session
      .call(
        repository,
        {
          method: 'POST',
          target: `${repository.repository}/blobs/uploads/?${query.toString()}`,
          scopes: [...pushScope(repository), `repository:${from}:pull`],
          isRetried: false,
        },
        signal,
      )
      .catch((error: unknown) => unlessCanceled(error, signal));
    if (answer === undefined) return undefined;
    await dismiss(answer);
    if (answer.status === 201) return 'mounted';
    return answer.status === 202 ? placeOf(answer, 0) : undefined;
  }

  /** A blob in one request as docker sends it, in pieces where the registry refuses that; what breaks off goes on where the registry says that it is. */
  async #send(sending: Sending, offered: Place | undefined): Promise<void> {
    const { repository, blob, signal } = sending;
    const { digest, size } = blob.descriptor;
    const sizes = [this.pieceSize ?? Infinity, ...PIECES].filter(
      (piece) => piece <= (this.pieceSize ?? Infinity),
    );
    for (const [i, most] of sizes.entries()) {
      const place = (i === 0 ? offered : undefined) ?? (await this.#start(repository, signal));
      const isLast = i === sizes.length - 1;
      const refused =
        size <= Math.min(MONOLITHIC, most)
          ? await this.#sendSmall(sending, place)
          : await this.#sendPieces(sending, place, Math.max(most, place.least));
      if (refused === undefined) return;
      // Too much at once, or no part of a whole: in smaller pieces, from the beginning.
      if (isLast || (refused.status !== 413 && refused.status !== 416))
        throw await failure(refused, `uploading ${digest}`);
      await dismiss(refused);
    }
  }

  async #sendSmall(sending: Sending, { url }: Place): Promise<HttpResponse | undefined> {
    const { repository, blob, signal } = sending;
    const body = await collect(blob.open(0));
    const { digest } = blob.descriptor;
    const response = await this.#put(repository, url, { digest, body }, signal);
    if (!isSuccess(response)) return response;
    await dismiss(response);
    return undefined;
  }

  /** @returns the answer that refuses a piece. */
  async #sendPieces(
    sending: Sending,
    begun: Place,
    most: number,
  ): Promise<HttpResponse | undefined> {
    const { repository, blob, signal } = sending;
    const { digest, size } = blob.descriptor;
    let place = begun;
    for (let failures = 0; place.offset < size;) {
      try {
        const response = await this.#sendPiece(sending, place, most);
        if (response.status === 416 && place.offset > 0 && most >= size) {
          // A registry that takes no Content-Range at all gets the whole again.
          await dismiss(response);
          throw new PassingStatus(response);
        }
        if (!isSuccess(response)) return response;
        await dismiss(response);
        const offset = Math.min(size, place.offset + most);
        place = { ...placeOf(response, offset, place.url), least: place.least };
      } catch (error) {
        if (!isTransient(error) && !(error instanceof PassingStatus)) throw error;
        if (++failures >= this.session.attempts()) throw lostConnection(error, place.url);
        const answer = error instanceof PassingStatus ? error.response : undefined;
        await this.session.pause(failures, answer, signal);
        place =
          answer?.status === 416
            ? await this.#start(repository, signal)
            : await this.#whereItIs(sending, place);
      }
    }
    await this.#close(repository, place.url, { digest }, signal);
    return undefined;
  }

  /** Content-Range belongs to a part, so that it lands where it should; a blob that is sent as a whole has none, as docker sends it. @throws PassingStatus. */
  async #sendPiece(
    { repository, blob, signal, sent }: Sending,
    { url, offset }: Place,
    most: number,
  ): Promise<HttpResponse> {
    const length = Math.min(most, blob.descriptor.size - offset);
    const isWhole = length === blob.descriptor.size;
    const range = isWhole ? {} : { 'content-range': `${offset}-${offset + length - 1}` };
    const response = await this.session.call(
      repository,
      {
        method: 'PATCH',
        target: url,
        headers: { ...OCTETS, 'content-length': String(length), ...range },
        body: () =>
          streamOf(counted(slice(blob.open(offset), length), (done) => sent(offset + done))),
        scopes: pushScope(repository),
        isRetried: false,
      },
      signal,
    );
    if (!isPassing(response.status)) return response;
    await dismiss(response);
    throw new PassingStatus(response);
  }

  /** Asks how much the registry has. One that does not say, or has forgotten the upload, gets it from the beginning. */
  async #whereItIs({ repository, signal }: Sending, { url, least }: Place): Promise<Place> {
    const scopes = pushScope(repository);
    const status = await this.session.call(
      repository,
      { method: 'GET', target: url, scopes },
      signal,
    );
    await dismiss(status);
    const { range } = status.headers;
    if (!isSuccess(status) || range === undefined) return this.#start(repository, signal);
    return { ...placeOf(status, rangeEnd(range), url), least };
  }

  /** All the bytes in one request without a length, as docker sends them; what the upload is called then. */
  async #sendUnmeasured(
    repository: Repository,
    body: () => Readable,
    signal: AbortSignal,
  ): Promise<URL> {
    const { url } = await this.#start(repository, signal);
    const response = await this.session.call(
      repository,
      {
        method: 'PATCH',
        target: url,
        headers: OCTETS,
        body,
        scopes: pushScope(repository),
        isRetried: false,
      },
      signal,
    );
    if (!isSuccess(response))
      throw await failure(response, `uploading to ${familiarRepository(repository)}`);
    await dismiss(response);
    return placeOf(response, 0, url).url;
  }

  async #start(repository: Repository, signal: AbortSignal): Promise<Place> {
    const start = await this.session.call(
      repository,
      {
        method: 'POST',
        target: `${repository.repository}/blobs/uploads/`,
        scopes: pushScope(repository),
      },
      signal,
    );
    if (!isSuccess(start))
      throw await failure(start, `starting an upload to ${familiarRepository(repository)}`);
    await dismiss(start);
    return placeOf(start, 0);
  }

  async #close(
    repository: Repository,
    target: URL,
    what: { readonly digest: Digest },
    signal: AbortSignal,
  ): Promise<void> {
    const response = await this.#put(repository, target, what, signal);
    if (!isSuccess(response)) throw await failure(response, `uploading ${what.digest}`);
    await dismiss(response);
  }

  #put(
    repository: Repository,
    target: URL,
    { digest, body }: { readonly digest: Digest; readonly body?: Buffer },
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    const closing = new URL(target);
    closing.searchParams.set('digest', digest);
    const headers = { ...OCTETS, 'content-length': String(body?.length ?? 0) };
    return this.session.call(
      repository,
      { method: 'PUT', target: closing, headers, body, scopes: pushScope(repository) },
      signal,
    );
  }
}

/** What a token must allow for this. */
export function pushScope(repository: Repository): string[] {
  return [`repository:${repository.repository}:pull,push`];
}

function unlessCanceled(error: unknown, signal: AbortSignal): undefined {
  if (signal.aborted) throw error;
  return undefined;
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

/** @param before the address so far, which goes on to count where an answer names no other. */
function placeOf({ headers, url }: HttpResponse, offset: number, before?: URL): Place {
  const { location } = headers;
  const base = before ?? url;
  if (location === undefined ? before === undefined : !URL.canParse(location, base.href))
    throw new MbuildError(
      'REGISTRY_FAILED',
      `${url.host} did not say where to continue the upload`,
    );
  const least = Number(headers['oci-chunk-min-length']);
  return {
    url: location === undefined ? base : new URL(location, base),
    offset,
    least: Number.isSafeInteger(least) ? least : 0,
  };
}

/** Bytes that an upload has: `Range: 0-99` says 100, and registries write `0-0` for none. Distribution-spec, "Pushing a blob in chunks". */
function rangeEnd(header: string): number {
  const end = Number(/^(?:bytes=)?0-(\d+)$/.exec(header)?.[1] ?? 0);
  return end === 0 ? 0 : end + 1;
}
