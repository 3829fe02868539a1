import { randomBytes } from 'node:crypto';
import type { BlockBlobClient } from '@azure/storage-blob';
import { MbuildError } from '../../diagnostics/error';
import { digestOf } from '../../oci/digest';
import type { Descriptor } from '../../oci/image';
import { count, dictionary, object, parseJsonObject } from '../../oci/json';
import type { JsonAnswer, JsonRequest } from '../../registry/download-file';
import type { BlobBody, BlobSource } from '../../registry/registry';
import { configOf, MAX_CACHE_CONFIG } from './format';
import { networkTrouble, partsOf, PART_SIZE, serviceError, type Trouble } from './object-store';
import type { CachePlace, OutgoingCache, StoredCache } from './place';
import type { ActionsSource } from './sources';

/*
 * The cache service of GitHub Actions, protocol version 2: Twirp calls with JSON, and signed
 * addresses of Azure blobs. The official client keeps paths in a tar and fetches that as a whole;
 * here a part of an entry is read at a time, which signed addresses allow, so that layers that are
 * not needed stay there.
 *
 * An entry is never changed: each cache that is written is a new one, and the newest whose key begins
 * as asked for is found. An entry is one file: a header (below), the manifest, the config, the layers.
 */

/** Sends a JSON call with the proxies and certificates of the machine. */
export type Call = (request: JsonRequest, signal: AbortSignal) => Promise<JsonAnswer>;

/** Where things are in an entry: the length of the header's JSON stands in its first bytes. */
interface Header {
  readonly manifest: Place;
  readonly blobs: Readonly<Record<string, Place>>;
}

interface Place {
  readonly start: number;
  readonly size: number;
}

/** An entry that was found. */
interface Entry {
  readonly key: string;
  readonly blob: BlockBlobClient;
  readonly header: Header;
  /** Its beginning, up to a size. */
  readonly head: Buffer;
}

const SERVICE = 'twirp/github.actions.results.api.v1.CacheService/';
const MAGIC = 'mbuild cache 1\n';
const PREAMBLE = MAGIC.length + 8;
/** Bytes that are read of an entry at first: most headers, manifests and configs are in them. */
const FIRST_READ = 512 << 10;
const MAX_HEADER = 16 << 20;
/** Stands for the form of entries: those of another one are not found. */
const VERSION = digestOf(Buffer.from(MAGIC)).slice('sha256:'.length);

const PLACE = object({ start: count, size: count });

/** Caches of one scope in a repository's cache service. */
export class ActionsPlace implements CachePlace {
  readonly title: string;
  #found: Promise<Entry | undefined> | undefined;

  constructor(
    private readonly source: ActionsSource,
    private readonly call: Call,
  ) {
    this.title = `GitHub Actions (scope ${source.scope})`;
  }

  read(signal: AbortSignal): Promise<readonly StoredCache[]> {
    return this.#timed(signal, async (inner) => {
      const entry = await this.#find(inner);
      if (entry === undefined) return [];
      const manifest = await this.#bytes(entry, entry.header.manifest, inner);
      const config = configOf(manifest);
      if (config === undefined) return [];
      const bytes = await this.#bytes(entry, this.#placeOf(entry, config), inner);
      if (digestOf(bytes) !== config.digest)
        throw new MbuildError('DIGEST_MISMATCH', 'its config is not what its digest says');
      return [{ manifest, config: bytes }];
    });
  }

  blob(blob: Descriptor, start: number, signal: AbortSignal): Promise<BlobBody> {
    return this.#told(signal, async () => {
      const entry = await this.#find(signal);
      if (entry === undefined) throw lacks(blob);
      const place = this.#placeOf(entry, blob);
      // Azure takes no range without bytes.
      if (place.size <= start) return { start: place.size, bytes: nothing() };
      const { readableStreamBody } = await entry.blob.download(
        place.start + start,
        place.size - start,
        { abortSignal: signal },
      );
      if (readableStreamBody === undefined) throw lacks(blob);
      return { start, bytes: readableStreamBody as unknown as AsyncIterable<Uint8Array> };
    });
  }

  write(
    { blobs, manifest }: OutgoingCache,
    signal: AbortSignal,
    note: (text: string) => void,
  ): Promise<void> {
    return this.#timed(signal, async (inner) => {
      const files = [...inMemoryFirst(blobs)];
      const layout = layOut(manifest.bytes.length, files);
      const { maxSize } = this.source;
      if (layout.size > maxSize)
        throw new MbuildError(
          'LIMIT_EXCEEDED',
          `it has ${layout.size} bytes, and max-size is ${maxSize}`,
          { hint: 'mode=min is smaller' },
        );
      const newest = await this.#find(inner);
      if (newest !== undefined) {
        const there = await this.#bytes(newest, newest.header.manifest, inner);
        if (there.equals(manifest.bytes)) {
          note(`manifest ${manifest.descriptor.digest} is there already`);
          return;
        }
      }
      const key = `${this.#prefix()}${Date.now().toString(36)}-${randomBytes(4).toString('hex')}`;
      await this.#upload(key, layout.size, fileOf(layout.header, manifest.bytes, files), inner);
      this.#found = undefined;
      note(`manifest ${manifest.descriptor.digest} in the entry ${key}`);
    });
  }

  #prefix(): string {
    return `mbuild/${encodeURIComponent(this.source.scope)}/`;
  }

  async #upload(
    key: string,
    size: number,
    bytes: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    const begun = await this.#ask('CreateCacheEntry', { key, version: VERSION }, signal);
    const url = begun['signed_upload_url'];
    if (begun['ok'] !== true || typeof url !== 'string' || url === '')
      throw refused('it does not take the entry', 'a job of a fork may only read caches');
    const blob = await openBlob(url);
    const ids: string[] = [];
    for await (const part of partsOf(bytes, PART_SIZE)) {
      const id = Buffer.from(String(ids.length).padStart(8, '0')).toString('base64');
      await blob.stageBlock(id, part, part.length, { abortSignal: signal });
      ids.push(id);
    }
    await blob.commitBlockList(ids, { abortSignal: signal });
    const ended = await this.#ask(
      'FinalizeCacheEntryUpload',
      { key, version: VERSION, size_bytes: String(size) },
      signal,
    );
    if (ended['ok'] !== true) throw refused('it does not take the entry that was sent');
  }

  #find(signal: AbortSignal): Promise<Entry | undefined> {
    this.#found ??= this.#look(signal).catch((error: unknown) => {
      this.#found = undefined;
      throw error;
    });
    return this.#found;
  }

  async #look(signal: AbortSignal): Promise<Entry | undefined> {
    const prefix = this.#prefix();
    const answer = await this.#ask(
      'GetCacheEntryDownloadURL',
      { key: prefix, restore_keys: [prefix], version: VERSION },
      signal,
    );
    const { ok, signed_download_url: url, matched_key: key } = answer;
    if (ok !== true || typeof url !== 'string' || url === '' || typeof key !== 'string')
      return undefined;
    const blob = await openBlob(url);
    const head = await readRange(blob, { start: 0, size: FIRST_READ }, signal);
    const size = headerSize(head);
    const json = await this.#bytes({ blob, head }, { start: PREAMBLE, size }, signal);
    return { key, blob, head, header: readHeader(json) };
  }

  #placeOf(entry: Entry, blob: Descriptor): Place {
    const place = entry.header.blobs[blob.digest];
    if (place === undefined || place.size !== blob.size) throw lacks(blob);
    return place;
  }

  /** A small part of an entry, out of what was read already where it is in that. */
  async #bytes(
    { blob, head }: Pick<Entry, 'blob' | 'head'>,
    place: Place,
    signal: AbortSignal,
  ): Promise<Buffer> {
    if (place.size > MAX_CACHE_CONFIG)
      throw new MbuildError('LIMIT_EXCEEDED', `a part of it has ${place.size} bytes`);
    const end = place.start + place.size;
    return end <= head.length ? head.subarray(place.start, end) : readRange(blob, place, signal);
  }

  /** @returns the answer's members. */
  async #ask(
    method: string,
    body: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<Readonly<Record<string, unknown>>> {
    const { url, token } = this.source;
    if (url === '' || token === '')
      throw refused(
        `${url === '' ? 'ACTIONS_RESULTS_URL' : 'ACTIONS_RUNTIME_TOKEN'} is not set`,
        'only actions see it, not steps with run: use the action, or url= and token=',
      );
    const answer = await this.call(
      {
        url: new URL(SERVICE + method, url.endsWith('/') ? url : `${url}/`),
        authorization: `Bearer ${token}`,
        body,
      },
      signal,
    );
    if (answer.status === 200 && answer.json !== undefined) return answer.json;
    throw statusError(answer);
  }

  /** The same with an end, after which the build goes on without. */
  #timed<T>(signal: AbortSignal, work: (inner: AbortSignal) => Promise<T>): Promise<T> {
    const { timeoutMs } = this.source;
    const limit = AbortSignal.timeout(timeoutMs);
    return this.#told(signal, () => work(AbortSignal.any([signal, limit]))).catch(
      (error: unknown) => {
        if (!limit.aborted || signal.aborted) throw error;
        throw refused(`it took longer than ${timeoutMs / 1000} seconds`, 'timeout=20m allows more');
      },
    );
  }

  async #told<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    try {
      signal.throwIfAborted();
      return await work();
    } catch (error) {
      throw serviceError('the cache service', error, signal, trouble);
    }
  }
}

async function openBlob(url: string): Promise<BlockBlobClient> {
  const { BlockBlobClient: Client } = await import('@azure/storage-blob');
  return new Client(url, undefined, {
    retryOptions: { maxTries: 4, tryTimeoutInMs: 60_000, retryDelayInMs: 500 },
  });
}

/** A part of a blob; less where it ends earlier. */
async function readRange(
  blob: BlockBlobClient,
  { start, size }: Place,
  signal: AbortSignal,
): Promise<Buffer> {
  const { readableStreamBody: body } = await blob.download(start, size, { abortSignal: signal });
  const chunks: Uint8Array[] = [];
  if (body !== undefined)
    for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function headerSize(head: Buffer): number {
  const size = head.length < PREAMBLE ? NaN : Number(head.readBigUInt64BE(MAGIC.length));
  if (head.toString('latin1', 0, MAGIC.length) === MAGIC && size <= MAX_HEADER) return size;
  throw new MbuildError('CACHE_INVALID', 'its entry is not one of mbuild');
}

function readHeader(json: Buffer): Header {
  const { manifest, blobs } = parseJsonObject(json, { manifest: PLACE, blobs: dictionary(PLACE) });
  return {
    manifest: placed(manifest),
    blobs: Object.fromEntries(
      Object.entries(blobs ?? {}).map(([digest, place]) => [digest, placed(place)]),
    ),
  };
}

function placed(place: ReturnType<typeof PLACE> | undefined): Place {
  if (place?.start !== undefined && place.size !== undefined)
    return { start: place.start, size: place.size };
  throw new MbuildError('CACHE_INVALID', 'the header of its entry is broken');
}

/** The config is small and read first. */
function* inMemoryFirst(blobs: readonly BlobSource[]): Generator<BlobSource> {
  const seen = new Set<string>();
  for (const blob of [...blobs].reverse()) {
    if (seen.has(blob.descriptor.digest)) continue;
    seen.add(blob.descriptor.digest);
    yield blob;
  }
}

/** Places depend on the header's length, and that on the places: numbers are written with equal length. */
function layOut(
  manifestSize: number,
  files: readonly BlobSource[],
): { readonly header: Buffer; readonly size: number } {
  const jsonAt = (origin: number): { json: string; end: number } => {
    let at = origin + manifestSize;
    const blobs = files.map(({ descriptor: { digest, size } }) => {
      const entry = [digest, { start: at, size }] as const;
      at += size;
      return entry;
    });
    const manifest = { start: origin, size: manifestSize };
    return { json: JSON.stringify({ manifest, blobs: Object.fromEntries(blobs) }), end: at };
  };
  // Spaces fill the room that longer numbers would have taken.
  const room = jsonAt(1e15).json.length;
  const { json, end } = jsonAt(PREAMBLE + room);
  const header = Buffer.alloc(PREAMBLE + room, ' ');
  header.write(MAGIC, 'latin1');
  header.writeBigUInt64BE(BigInt(room), MAGIC.length);
  header.write(json, PREAMBLE);
  return { header, size: end };
}

async function* fileOf(
  header: Buffer,
  manifest: Buffer,
  files: readonly BlobSource[],
): AsyncGenerator<Uint8Array> {
  yield header;
  yield manifest;
  for (const { descriptor, open } of files) {
    let size = 0;
    for await (const chunk of open(0)) {
      size += chunk.length;
      yield chunk;
    }
    if (size !== descriptor.size)
      throw new MbuildError(
        'SIZE_MISMATCH',
        `${descriptor.digest} has ${size} bytes, not ${descriptor.size}`,
      );
  }
}

// oxlint-disable-next-line require-yield -- a blob without bytes
async function* nothing(): AsyncGenerator<Uint8Array> {
  return;
}

function lacks({ digest }: Descriptor): MbuildError {
  return new MbuildError('CACHE_INVALID', `it lacks the blob ${digest}`);
}

function refused(what: string, hint?: string): MbuildError {
  return new MbuildError('CACHE_SERVER_FAILED', `the cache service: ${what}`, { hint });
}

/** Twirp, "Errors": a code and a message. */
function statusError({ status, json }: JsonAnswer): MbuildError {
  const said = typeof json?.['msg'] === 'string' ? `: ${json['msg'].slice(0, 200)}` : '';
  if (status === 401)
    return refused(
      'it does not take the token: it ends with the job',
      'ACTIONS_RUNTIME_TOKEN must be that of this job',
    );
  if (status === 403) return refused(`the token may not do this${said}`);
  if (status === 409) return refused(`it refuses the key${said}`);
  if (status === 429) return refused('it is asked too often', 'the next build tries again');
  return refused(`it answers ${status}${said}`);
}

function trouble(error: Error): Trouble | undefined {
  const { statusCode } = error as { statusCode?: number } & Error;
  if (statusCode === 403)
    return { text: 'the signed address of the entry has expired, or the clock is wrong' };
  if (statusCode === 404) return { text: 'the entry has been evicted' };
  if (statusCode !== undefined && statusCode >= 500)
    return { text: `the store of its entries answers ${statusCode}` };
  return networkTrouble(error);
}
