import { createHash } from 'node:crypto';
import type { ReferenceImage } from './cases';

/** A repository of a registry that is reached over plain http. */
interface Repository {
  readonly host: string;
  readonly name: string;
}

interface Blob {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

const MANIFESTS =
  'application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json';

/**
 * Pushes an image whose config is the base's but for the members that are given, written as they
 * are: what `docker import`, `docker commit` and other builders make, and none of the builders that
 * are compared.
 */
export async function pushRawImage(
  image: ReferenceImage,
  base: string,
  target: string,
): Promise<void> {
  const [from, to] = [repositoryOf(base), repositoryOf(target)];
  const manifest = (await read(from, 'manifests/latest')) as { config: Blob; layers: Blob[] };
  const config = (await read(from, `blobs/${manifest.config.digest}`)) as object;
  const members = JSON.parse(image.config ?? '{}') as object;
  const bytes = Buffer.from(JSON.stringify({ ...config, ...members }));
  for (const { digest } of manifest.layers)
    await send(to, 'POST', `blobs/uploads/?mount=${digest}&from=${from.name}`);
  const digest = digestOf(bytes);
  const { location = '' } = await send(to, 'POST', 'blobs/uploads/');
  const upload = new URL(location, `http://${to.host}`);
  upload.searchParams.set('digest', digest);
  await sendTo(upload, 'PUT', bytes, 'application/octet-stream');
  const written = { ...manifest, config: { ...manifest.config, digest, size: bytes.length } };
  const { mediaType = 'application/vnd.oci.image.manifest.v1+json' } = written as {
    mediaType?: string;
  };
  await sendTo(
    urlOf(to, 'manifests/latest'),
    'PUT',
    Buffer.from(JSON.stringify(written)),
    mediaType,
  );
}

function repositoryOf(reference: string): Repository {
  const [host = '', ...rest] = reference.split('/');
  return { host, name: rest.join('/').replace(/:[^:/]*$/, '') };
}

function urlOf({ host, name }: Repository, path: string): URL {
  return new URL(`http://${host}/v2/${name}/${path}`);
}

async function read(repository: Repository, path: string): Promise<unknown> {
  const response = await fetch(urlOf(repository, path), { headers: { accept: MANIFESTS } });
  if (!response.ok) throw new Error(`${urlOf(repository, path).href}: ${response.status}`);
  return response.json();
}

async function send(
  repository: Repository,
  method: string,
  path: string,
): Promise<{ readonly location: string | undefined }> {
  return sendTo(urlOf(repository, path), method, undefined, 'application/octet-stream');
}

async function sendTo(
  url: URL,
  method: string,
  body: Buffer | undefined,
  type: string,
): Promise<{ readonly location: string | undefined }> {
  const response = await fetch(url, {
    method,
    headers: { 'content-type': type },
    ...(body === undefined ? {} : { body: new Uint8Array(body) }),
  });
  if (!response.ok) throw new Error(`${method} ${url.href}: ${response.status}`);
  return { location: response.headers.get('location') ?? undefined };
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
