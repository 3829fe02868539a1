import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  BlobSASPermissions,
  BlobServiceClient,
  StorageSharedKeyCredential,
  generateBlobSASQueryParameters,
} from '@azure/storage-blob';
import { answering, ended, freePort } from './registry';

/*
 * Real object stores on loopback: Azurite (Microsoft's emulator of Azure Blob Storage, which checks
 * signatures) and s3rver (access keys, ranges, parts; needs no more than Node.js, where Debian's
 * Swift needs memcached, rings and four servers; it takes any secret of a known access key). Both are too large to be
 * dependencies of the project: they are installed once, beside other things that tests make.
 */

const PACKAGES = ['azurite@3.37.0', 's3rver@3.7.1'];
const HOME = path.resolve(__dirname, '../../node_modules/.cache/cloud-servers-1');

/** Why there can be no such servers; `undefined` when there can. They are installed the first time. */
export function noCloudServers(): string | undefined {
  if (existsSync(HOME)) return undefined;
  mkdirSync(path.dirname(HOME), { recursive: true });
  const made = mkdtempSync(`${HOME}-`);
  writeFileSync(path.join(made, 'package.json'), '{"private":true}');
  const args = ['install', '--no-audit', '--no-fund', '--ignore-scripts', ...PACKAGES];
  const { status, stderr } = spawnSync('npm', args, { cwd: made, encoding: 'utf8' });
  if (status !== 0) {
    rmSync(made, { recursive: true });
    return `npm can't install ${PACKAGES.join(' and ')}: ${stderr.split('\n')[0]}`;
  }
  renameSync(made, HOME);
  return undefined;
}

/** A server that ends, with its files. */
export interface CloudServer {
  readonly url: string;
  stop(): Promise<void>;
}

/** Azurite's well-known account. */
export const AZURE_ACCOUNT = 'devstoreaccount1';
export const AZURE_KEY =
  'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';

/** Starts Azurite's blob service. `url` is the account's. */
export async function startAzurite(): Promise<CloudServer> {
  const port = await freePort();
  const script = path.join(HOME, 'node_modules/azurite/dist/src/blob/main.js');
  const server = await start(script, port, (folder) => [
    ...['--blobHost', '127.0.0.1', '--blobPort', String(port), '--location', folder],
    ...['--silent', '--skipApiVersionCheck', '--disableTelemetry'],
  ]);
  return { ...server, url: `${server.url}/${AZURE_ACCOUNT}` };
}

/** What s3rver takes. */
export const S3_KEYS = { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' };

/** Starts an S3 service with a bucket `caches`. */
export async function startS3(): Promise<CloudServer> {
  const port = await freePort();
  const script = path.join(HOME, 'node_modules/s3rver/bin/s3rver.js');
  return start(script, port, (folder) => [
    ...['--address', '127.0.0.1', '--port', String(port), '--directory', folder, '--silent'],
    ...['--configure-bucket', 'caches', '--no-vhost-buckets'],
  ]);
}

async function start(
  script: string,
  port: number,
  args: (folder: string) => readonly string[],
): Promise<CloudServer> {
  const folder = mkdtempSync(path.join(tmpdir(), 'mbuild-cloud-'));
  const child: ChildProcess = spawn(process.execPath, [script, ...args(folder)], {
    stdio: 'ignore',
  });
  const url = `http://127.0.0.1:${port}`;
  const stop = async (): Promise<void> => {
    await ended(child);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await answering(url, child);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, stop };
}

/** A cache service of GitHub Actions: protocol 2, its entries in Azurite. */
export interface CacheService extends CloudServer {
  readonly token: string;
  /** Keys of entries that are whole, the oldest first. */
  readonly keys: () => readonly string[];
  /** `METHOD` of each call. */
  readonly calls: string[];
  /** Answers calls in another way: a status, or never. */
  answer: (method: string) => number | 'never' | undefined;
}

interface StoredEntry {
  readonly key: string;
  readonly version: string;
  readonly name: string;
  isWhole: boolean;
}

/** Starts one. Entries are found by key, else by the prefixes of `restore_keys`, the newest first. */
export async function startCacheService(azurite: CloudServer): Promise<CacheService> {
  const credential = new StorageSharedKeyCredential(AZURE_ACCOUNT, AZURE_KEY);
  const containerName = `actions-${process.pid}-${Date.now()}`;
  const container = new BlobServiceClient(azurite.url, credential).getContainerClient(
    containerName,
  );
  await container.create();
  const entries: StoredEntry[] = [];
  const calls: string[] = [];
  const token = 'token-of-the-job';
  const signed = (blobName: string, permissions: string): string => {
    const sas = generateBlobSASQueryParameters(
      {
        ...{ containerName, blobName },
        permissions: BlobSASPermissions.parse(permissions),
        expiresOn: new Date(Date.now() + 600_000),
      },
      credential,
    );
    return `${container.getBlobClient(blobName).url}?${sas.toString()}`;
  };
  const methods: Readonly<Record<string, (body: Body) => [number, object]>> = {
    CreateCacheEntry: ({ key, version }) => {
      if (entries.some((entry) => entry.key === key && entry.version === version))
        return [409, { code: 'already_exists', msg: 'cache entry already exists' }];
      const entry = { key, version, name: `entry-${entries.length}`, isWhole: false };
      entries.push(entry);
      return [200, { ok: true, signed_upload_url: signed(entry.name, 'cw') }];
    },
    FinalizeCacheEntryUpload: ({ key, version }) => {
      const entry = entries.find((one) => one.key === key && one.version === version);
      if (entry !== undefined) entry.isWhole = true;
      return [200, { ok: entry !== undefined, entry_id: '1' }];
    },
    GetCacheEntryDownloadURL: ({ key, restore_keys: prefixes = [], version }) => {
      const whole = entries.filter((entry) => entry.isWhole && entry.version === version);
      const found =
        whole.find((entry) => entry.key === key) ??
        whole.findLast((entry) => prefixes.some((prefix) => entry.key.startsWith(prefix)));
      if (found === undefined) return [200, { ok: false }];
      const url = signed(found.name, 'r');
      return [200, { ok: true, signed_download_url: url, matched_key: found.key }];
    },
  };
  const server = createServer((request, response) => {
    const method = /CacheService\/(\w+)$/.exec(request.url ?? '')?.[1] ?? '';
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      calls.push(method);
      const forced = service.answer(method);
      if (forced === 'never') return;
      const isAllowed = request.headers.authorization === `Bearer ${token}`;
      const [status, body] =
        forced !== undefined || !isAllowed
          ? [forced ?? 401, { code: 'unauthenticated', msg: 'no' }]
          : (methods[method]?.(JSON.parse(Buffer.concat(chunks).toString()) as Body) ?? [404, {}]);
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const service: CacheService = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    token,
    calls,
    keys: () => entries.filter(({ isWhole }) => isWhole).map(({ key }) => key),
    answer: () => undefined,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return service;
}

interface Body {
  readonly key: string;
  readonly version: string;
  readonly restore_keys?: readonly string[];
}
