import type { BuildRequest } from './build-run';
import { LAYOUT } from './named-contexts';
import type { BuildOptions } from './options';
import { MbuildError } from '../diagnostics/error';
import type { Image } from '../images/store/image-store';
import { isDigest, type Digest } from '../oci/digest';
import type { Platform } from '../oci/platform';
import type { VertexId } from '../progress/events';

/**
 * True for an image of a layout directory that the user gave as a context; a Dockerfile alone
 * reaches no directory of the host.
 */
export function isLayout(name: string, contexts: BuildOptions['contexts']): boolean {
  return name.startsWith(LAYOUT) && Object.values(contexts ?? {}).includes(name);
}

/**
 * The image behind `oci-layout://DIRECTORY[:TAG][@DIGEST]`.
 * @throws MbuildError USAGE, IMAGE_NOT_FOUND, PLATFORM_NOT_FOUND, and as `loadImages`.
 */
export async function layoutImage(
  name: string,
  platform: Platform,
  { engine, scope }: Pick<BuildRequest, 'engine' | 'scope'>,
  vertex: VertexId,
): Promise<Image> {
  const { loadFromLayout } = await import('../images/transfer/load');
  return loadFromLayout(
    { ...readLayout(name.slice(LAYOUT.length)), platform },
    { services: engine, vertex, scope },
  );
}

function readLayout(text: string): {
  readonly directory: string;
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
} {
  const at = text.lastIndexOf('@');
  const digest = at < 0 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !isDigest(digest))
    throw new MbuildError(
      'USAGE',
      `the digest of ${LAYOUT}${text} is not sha256: and 64 characters`,
    );
  const rest = at < 0 ? text : text.slice(0, at);
  const colon = rest.lastIndexOf(':');
  const hasTag = colon > rest.lastIndexOf('/');
  return {
    directory: hasTag ? rest.slice(0, colon) : rest,
    tag: hasTag ? rest.slice(colon + 1) : undefined,
    digest,
  };
}
