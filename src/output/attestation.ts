import { digestOf, hexOf, type Digest } from '../oci/digest';
import type { Descriptor, Manifest } from '../oci/image';
import { MediaType } from '../oci/media-types';
import { formatPlatform } from '../oci/platform';
import { familiarRepository, parseReference } from '../oci/reference';
import { inMemory, type OutgoingBlob } from './outgoing-blob';

/**
 * Something that is said of an image: in-toto.io/Statement without its subject, which is known when
 * the image leaves.
 */
export interface Attestation {
  readonly predicateType: string;
  readonly predicate: Readonly<Record<string, unknown>>;
  /** Its name in outputs that are files. */
  readonly fileName: string;
  /** It goes with images alone, and is not written beside files. */
  readonly inlineOnly: boolean;
}

/** What a statement is about. in-toto attestation, spec/v0.1/README.md. */
export interface Subject {
  readonly name: string;
  readonly digest: { readonly sha256: string };
}

/** The attestations of one image, as they lie beside it in an index. */
export interface OutgoingAttestation {
  /** Its descriptor has the annotations by which readers find the image that it is about. */
  readonly manifest: OutgoingBlob;
  readonly config: OutgoingBlob;
  readonly layers: readonly OutgoingBlob[];
}

/** The image that attestations are about. */
export interface AttestedImage {
  readonly manifest: Descriptor;
  readonly names: readonly string[];
  readonly platform: { readonly os: string; readonly architecture: string };
}

const IN_TOTO = 'application/vnd.in-toto+json';
const ARTIFACT = 'application/vnd.docker.attestation.manifest.v1+json';
const EMPTY = 'application/vnd.oci.empty.v1+json';
const UNKNOWN = { architecture: 'unknown', os: 'unknown' } as const;

/** The statement as JSON, in the form that BuildKit writes. */
export function statementText(
  { predicateType, predicate }: Attestation,
  subject: readonly Subject[],
): string {
  const _type = 'https://in-toto.io/Statement/v0.1';
  return JSON.stringify({ _type, predicateType, subject, predicate });
}

/**
 * The attestation manifest of an image: BuildKit, docs/attestations/attestation-storage.md. As an
 * artifact it names the image as
 * its subject (OCI image-spec 1.1), so that registries list it among the image's referrers.
 */
export function attestationManifest(
  attestations: readonly Attestation[],
  image: AttestedImage,
  isArtifact = false,
): OutgoingAttestation {
  const subjects = subjectsOf(image);
  const layers = attestations.map((attestation) => {
    const blob = inMemory(Buffer.from(statementText(attestation, subjects)), IN_TOTO);
    const annotations = { 'in-toto.io/predicate-type': attestation.predicateType };
    return { ...blob, descriptor: { ...blob.descriptor, annotations } };
  });
  const config = isArtifact
    ? inMemory(Buffer.from('{}'), EMPTY)
    : configOf(layers.map(({ descriptor }) => descriptor.digest));
  const { mediaType, digest, size } = image.manifest;
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: MediaType.ociManifest,
    ...(isArtifact ? { artifactType: ARTIFACT } : {}),
    config: config.descriptor,
    layers: layers.map(({ descriptor }) => descriptor),
    ...(isArtifact ? { subject: { mediaType, digest, size } } : {}),
  };
  const blob = inMemory(Buffer.from(JSON.stringify(manifest)), MediaType.ociManifest);
  const descriptor: Descriptor = {
    ...blob.descriptor,
    ...(isArtifact ? { artifactType: ARTIFACT } : {}),
    annotations: {
      'vnd.docker.reference.digest': digest,
      'vnd.docker.reference.type': 'attestation-manifest',
    },
    platform: UNKNOWN,
  };
  return { manifest: { ...blob, descriptor }, config, layers };
}

function configOf(layers: readonly Digest[]): OutgoingBlob {
  const rootfs = { type: 'layers', diff_ids: layers };
  const text = JSON.stringify({ ...UNKNOWN, config: {}, rootfs });
  return inMemory(Buffer.from(text), MediaType.ociConfig);
}

function subjectsOf({ manifest, names, platform }: AttestedImage): Subject[] {
  const digest = { sha256: hexOf(manifest.digest) };
  if (names.length === 0) return [{ name: '_', digest }];
  return names.map((name) => ({ name: imagePurl(name, formatPlatform(platform)), digest }));
}

/**
 * A package URL of type docker: package-url/purl-spec, types/docker-definition. Names that are not
 * references stay what they are.
 */
export function imagePurl(name: string, platform: string): string {
  const ref = parseReference(name);
  if (ref === undefined) return name;
  const version = ref.tag === undefined ? '' : `@${ref.tag}`;
  const digest = ref.digest === undefined ? '' : `digest=${ref.digest}&`;
  return `pkg:docker/${familiarRepository(ref)}${version}?${digest}platform=${encodeURIComponent(platform)}`;
}

/** The digest of a text, as statements have it. */
export function sha256Of(text: string | Uint8Array): string {
  return hexOf(digestOf(text));
}
