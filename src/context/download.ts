import { createHash } from 'node:crypto';
import path from 'node:path';
import { readJson, replaceFile } from '../content/files';
import type { ContentStore } from '../content/store';
import { MbuildError, isMbuildError } from '../diagnostics/error';
import { toRaw, type RawPath } from '../linux/paths';
import type { Digest } from '../oci/digest';
import type { FileSource, IncomingFile } from '../registry/download-file';

/** A fetched file: a blob of the content store. */
export interface Download {
  readonly digest: Digest;
  readonly size: number;
  readonly hostPath: RawPath;
  /**
   * Last-Modified, in seconds since the epoch; 0 without one, so that the file is the same wherever
   * and whenever it is fetched.
   */
  readonly mtime: number;
}

/** Where files come from and go to. */
export interface DownloadServices {
  /** The store's folder. */
  readonly root: string;
  readonly content: ContentStore;
  readonly files: FileSource;
  /** Secrets of the build: `HTTP_AUTH_HEADER_HOST` and `HTTP_AUTH_TOKEN_HOST`, without a port. */
  readonly secret: (id: string) => Buffer | undefined;
  /** Keeps a blob from being collected while the build works with it. */
  readonly hold: (digest: Digest) => void;
}

/** `<root>/downloads/<hash of the address>.json`: what the address gave at last. */
export interface DownloadRecord {
  /** The address, without what may be secret. */
  readonly from?: string | undefined;
  readonly digest: Digest;
  readonly size: number;
  readonly etag?: string | undefined;
  readonly lastModified?: number | undefined;
}

/** No build needs a larger file, and a server that never ends must not fill the disk. */
const MAX_FILE = 64 * 1024 ** 3;
/** What BuildKit calls a file whose address names none. */
const UNNAMED = '__unnamed__';
const MAX_NAME = 255;

/**
 * Fetches a file into the store. One that the server says is unchanged, or whose checksum was given
 * and that is there, is not fetched again.
 * @param checksum what the file must be.
 * @throws MbuildError DOWNLOAD_FAILED, CHECKSUM_MISMATCH, LIMIT_EXCEEDED, NO_SPACE, CANCELED.
 */
export async function downloadFile(
  url: URL,
  checksum: Digest | undefined,
  services: DownloadServices,
  signal: AbortSignal,
): Promise<Download> {
  const file = recordFile(url, services);
  const known = usable(readRecord(file), services);
  if (known !== undefined && known.digest === checksum) return downloadOf(known, services);
  const etag = checksum === undefined ? known?.etag : undefined;
  const authorization = authorizationFor(url, services);
  const fetched = await services.files.fetch({ url, etag, authorization }, signal, (incoming) =>
    store(incoming, checksum, url, services),
  );
  if (fetched === 'unchanged') {
    if (known === undefined)
      throw new MbuildError(
        'DOWNLOAD_FAILED',
        `${url.host} says that a file has not changed, but the file was never fetched`,
      );
    return downloadOf(known, services);
  }
  replaceFile(
    services.root,
    file,
    JSON.stringify({ from: `${url.origin}${url.pathname}`, ...fetched } satisfies DownloadRecord),
  );
  return downloadOf(fetched, services);
}

/**
 * What proves who asks. Dockerfile reference, "ADD", "Secrets"; where both are given the token
 * counts, as in BuildKit.
 */
function authorizationFor({ hostname }: URL, { secret }: DownloadServices): string | undefined {
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  const text = (id: string): string | undefined => secret(`${id}_${host}`)?.toString('utf8').trim();
  const token = text('HTTP_AUTH_TOKEN');
  return token === undefined ? text('HTTP_AUTH_HEADER') : `Bearer ${token}`;
}

/**
 * The name that a fetched file gets: the last part of the address's path, as BuildKit takes it;
 * what the server suggests (Content-Disposition) has no say.
 * @throws MbuildError DOWNLOAD_FAILED for a part that is no file name.
 */
export function downloadName(url: URL): string {
  const name = path.posix.basename(decoded(url.pathname));
  if (name === '' || name === '.') return UNNAMED;
  if (name === '..' || name.includes('\0') || Buffer.byteLength(name) > MAX_NAME) {
    throw new MbuildError(
      'DOWNLOAD_FAILED',
      `the address ${url.host}${url.pathname.slice(0, 100)} does not end in a file name`,
      { hint: 'write a file name as the destination' },
    );
  }
  return name;
}

function decoded(pathname: string): string {
  try {
    return decodeURIComponent(pathname);
  } catch {
    return pathname;
  }
}

async function store(
  incoming: IncomingFile,
  checksum: Digest | undefined,
  url: URL,
  { content, hold }: DownloadServices,
): Promise<DownloadRecord> {
  if (checksum !== undefined) hold(checksum);
  try {
    const { digest, size } = await content.ingest(
      limited(incoming.bytes, url),
      checksum === undefined ? undefined : { digest: checksum },
    );
    hold(digest);
    return { digest, size, etag: incoming.etag, lastModified: incoming.lastModified };
  } catch (error) {
    if (!isMbuildError(error, 'DIGEST_MISMATCH')) throw error;
    throw new MbuildError(
      'CHECKSUM_MISMATCH',
      `${url.host}${url.pathname} does not match its checksum: ${error.message}`,
      {
        cause: error,
        hint: 'the file has changed, or the checksum is wrong; check the file before you trust it',
      },
    );
  }
}

async function* limited(bytes: AsyncIterable<Uint8Array>, url: URL): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const chunk of bytes) {
    size += chunk.length;
    if (size > MAX_FILE)
      throw new MbuildError(
        'LIMIT_EXCEEDED',
        `${url.host}${url.pathname} is larger than ${MAX_FILE} bytes`,
      );
    yield chunk;
  }
}

/** A record whose file is still there; it is held from now on. */
function usable(
  record: DownloadRecord | undefined,
  { content, hold }: DownloadServices,
): DownloadRecord | undefined {
  if (record === undefined) return undefined;
  hold(record.digest);
  return content.size(record.digest) === record.size ? record : undefined;
}

function downloadOf(
  { digest, size, lastModified }: DownloadRecord,
  { content }: DownloadServices,
): Download {
  return { digest, size, hostPath: toRaw(content.path(digest)), mtime: lastModified ?? 0 };
}

/**
 * Addresses may hold credentials, as their user or in their query: a file has the hash for its
 * name, and in it only what is neither.
 */
function recordFile(url: URL, { root }: DownloadServices): string {
  return path.join(
    root,
    'downloads',
    `${createHash('sha256').update(url.href).digest('hex')}.json`,
  );
}

/** A record that cannot be read is none: the file is fetched again. */
function readRecord(file: string): DownloadRecord | undefined {
  try {
    return readJson<DownloadRecord>(file);
  } catch (error) {
    if (isMbuildError(error, 'STORE_CORRUPT')) return undefined;
    throw error;
  }
}
