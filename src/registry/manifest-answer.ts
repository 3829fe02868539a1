import { MbuildError } from '../diagnostics/error';
import { digestOf, isDigest, type Digest } from '../oci/digest';
import type { Descriptor } from '../oci/image';
import { JsonError, isObject, parseJson, object, type JsonReader } from '../oci/json';
import { MediaType, isIndexType, isManifestType } from '../oci/media-types';
import { familiarName, type Reference } from '../oci/reference';
import type { RawManifest } from './registry';
import type { HttpResponse } from './transport';

/** What is asked for in `Accept`. */
export const MANIFEST_TYPES = [
  MediaType.ociIndex,
  MediaType.ociManifest,
  MediaType.dockerIndex,
  MediaType.dockerManifest,
].join(', ');

/** The media type that an answer announces, without parameters. */
export function mediaTypeOf(response: HttpResponse): string {
  return (response.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}

/**
 * What the head of an answer says of a manifest; `undefined` where it does not say enough.
 * @throws MbuildError DIGEST_MISMATCH.
 */
export function descriptorInHead(response: HttpResponse, ref: Reference): Descriptor | undefined {
  const digest = response.headers['docker-content-digest'] ?? ref.digest ?? '';
  const size = Number(response.headers['content-length'] ?? NaN);
  const mediaType = mediaTypeOf(response);
  if (
    response.status !== 200 ||
    !isDigest(digest) ||
    !Number.isSafeInteger(size) ||
    !isKnown(mediaType)
  )
    return undefined;
  if (ref.digest !== undefined && digest !== ref.digest) throw wrongDigest(ref, digest);
  return { mediaType, digest, size };
}

/**
 * The manifest in an answer, verified.
 * @throws MbuildError DIGEST_MISMATCH, IMAGE_INVALID, REGISTRY_FAILED.
 */
export function manifestOf(response: HttpResponse, bytes: Buffer, ref: Reference): RawManifest {
  const digest = digestOf(bytes);
  const announced = response.headers['docker-content-digest'];
  if (ref.digest !== undefined && ref.digest !== digest) throw wrongDigest(ref, digest);
  // A digest of another algorithm says the same of the same bytes; mbuild goes by its own.
  if (announced !== undefined && isDigest(announced) && announced !== digest)
    throw wrongDigest(ref, digest, announced);
  const mediaType = typeOf(bytes, mediaTypeOf(response), ref);
  return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
}

/**
 * Reads the members of a registry's answer.
 * @throws MbuildError REGISTRY_FAILED for an answer of another form.
 */
export function parseAnswer<M extends Readonly<Record<string, JsonReader<unknown>>>>(
  bytes: Buffer,
  members: M,
): ReturnType<ReturnType<typeof object<M>>> {
  try {
    const value = parseJson(bytes);
    if (isObject(value)) return object(members)(value, '');
    throw new JsonError('is not a JSON object');
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new MbuildError('REGISTRY_FAILED', `the registry's answer ${error.message}`);
  }
}

function isKnown(mediaType: string): boolean {
  return isIndexType(mediaType) || isManifestType(mediaType);
}

/**
 * The type of a manifest. Its own `mediaType`, where present, must agree with the header, and with
 * what it holds: bytes that read as an index to one tool and as a manifest to another are refused
 * (CVE-2021-41190).
 */
function typeOf(bytes: Buffer, header: string, ref: Reference): string {
  const fields: Readonly<Record<string, unknown>> = parseAnswer(bytes, {});
  const own = typeof fields['mediaType'] === 'string' ? fields['mediaType'] : undefined;
  const type = own ?? (isKnown(header) ? header : typeByContent(fields));
  const name = familiarName(ref);
  if (!isKnown(type) || (own !== undefined && isKnown(header) && header !== own)) {
    const said =
      fields['schemaVersion'] === 1
        ? 'Docker schema 1, which is no longer in use'
        : JSON.stringify(own ?? header);
    throw new MbuildError(
      'IMAGE_INVALID',
      `${name} has a type that mbuild does not support: its manifest is ${said}`,
    );
  }
  if (!hasMembersOf(type, fields))
    throw new MbuildError(
      'IMAGE_INVALID',
      `the manifest of ${name} does not have the form of its type ${type}`,
    );
  return type;
}

function typeByContent(fields: Readonly<Record<string, unknown>>): string {
  return 'manifests' in fields ? MediaType.ociIndex : MediaType.ociManifest;
}

/** Go writes null for a list that is empty; that has been left out already. */
function hasMembersOf(type: string, fields: Readonly<Record<string, unknown>>): boolean {
  return isIndexType(type)
    ? !('layers' in fields) && !('config' in fields)
    : !('manifests' in fields) && 'config' in fields;
}

function wrongDigest(ref: Reference, found: Digest, expected = ref.digest): MbuildError {
  return new MbuildError(
    'DIGEST_MISMATCH',
    `${ref.registry} answered for ${familiarName(ref)} with ${found} instead of ${expected}`,
    { hint: 'the registry is faulty or was tampered with; nothing was stored' },
  );
}
