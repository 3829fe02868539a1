import { isDigest, type Digest } from './digest';

/** `registry/repository[:tag][@digest]`, fully qualified. Grammar: distribution/reference. */
export interface Reference {
  /** Host and port, e.g. `docker.io`, `localhost:5000`. */
  readonly registry: string;
  /** Path under the registry, e.g. `library/debian`. */
  readonly repository: string;
  readonly tag?: string | undefined;
  readonly digest?: Digest | undefined;
}

export const DEFAULT_REGISTRY = 'docker.io';
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const HOST =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?$/;
/** The algorithms of digests: OCI image-spec, descriptor.md. */
const ALGORITHMS = ['sha256', 'sha384', 'sha512', 'blake3'];
const TAG = /^[\w][\w.-]{0,127}$/;

/**
 * Reads a name as docker does: no registry means `docker.io`, one path component there means
 * `library/…`, and a name without tag and digest gets `:latest`. `undefined` when the text is not a
 * reference.
 */
export function parseReference(text: string): Reference | undefined {
  let rest = text;
  let digest: Digest | undefined;
  const at = rest.indexOf('@');
  if (at >= 0) {
    const given = rest.slice(at + 1);
    if (!isDigest(given)) return undefined;
    digest = given;
    rest = rest.slice(0, at);
  }
  let tag: string | undefined;
  const colon = rest.lastIndexOf(':');
  if (colon > rest.lastIndexOf('/')) {
    tag = rest.slice(colon + 1);
    if (!TAG.test(tag)) return undefined;
    rest = rest.slice(0, colon);
  }
  const slash = rest.indexOf('/');
  const first = slash < 0 ? '' : rest.slice(0, slash);
  const hasRegistry =
    first !== '' && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase());
  const isHub = !hasRegistry || first === 'index.docker.io';
  const registry = isHub ? DEFAULT_REGISTRY : first;
  let repository = hasRegistry ? rest.slice(slash + 1) : rest;
  if (hasRegistry && !HOST.test(first)) return undefined;
  if (registry === DEFAULT_REGISTRY && !repository.includes('/'))
    repository = `library/${repository}`;
  if (repository.length > 255 || !repository.split('/').every((part) => COMPONENT.test(part)))
    return undefined;
  // Reserved for ids and digests: what is named like one could not be told from one.
  if (/^[0-9a-f]{64}$/.test(rest) || (!hasRegistry && ALGORITHMS.includes(rest))) return undefined;
  return {
    registry,
    repository,
    tag: tag ?? (digest === undefined ? 'latest' : undefined),
    digest,
  };
}

/** What whoever wrote a text that is not a reference should know. */
export function referenceHint(text: string): string {
  if (/@(?:sha384|sha512|blake3):/.test(text))
    return 'mbuild reads only sha256 digests: give the tag of the image, or its sha256 digest';
  if (/^sha256:[0-9a-f]+$/.test(text))
    return `this is an image id, not a name; for an image in the store, write the id alone: ${text.slice(0, 19)}`;
  return 'write [registry/]repository[:tag][@sha256:digest], with the repository in lower case';
}

/** The full form, e.g. `docker.io/library/debian:12@sha256:…`: what the store is keyed by. */
export function formatReference(ref: Reference): string {
  return `${ref.registry}/${ref.repository}${ref.tag === undefined ? '' : `:${ref.tag}`}${ref.digest === undefined ? '' : `@${ref.digest}`}`;
}

/** The repository as users write it: without `docker.io/` and `library/`. */
export function familiarRepository(ref: Reference): string {
  if (ref.registry !== DEFAULT_REGISTRY) return `${ref.registry}/${ref.repository}`;
  return ref.repository.startsWith('library/')
    ? ref.repository.slice('library/'.length)
    : ref.repository;
}

/** The form that docker prints, e.g. `debian:12`. */
export function familiarName(ref: Reference): string {
  return `${familiarRepository(ref)}${ref.tag === undefined ? '' : `:${ref.tag}`}${ref.digest === undefined ? '' : `@${ref.digest}`}`;
}
