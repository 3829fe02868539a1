import type { ListedImage, RemoteName } from '../../images/transfer/attestations';
import { visible, visibleLines } from '../../diagnostics/visible';
import type { Descriptor } from '../../oci/image';
import { formatPlatform } from '../../oci/platform';
import { formatReference } from '../../oci/reference';
import { parseTemplate } from './go-template';
import { goJson } from './go-value';

/** The predicates that buildx shows, by the member and the name in it. */
const SHOWN = {
  Provenance: { type: 'https://slsa.dev/provenance/', name: 'SLSA' },
  SBOM: { type: 'https://spdx.dev/Document', name: 'SPDX' },
} as const;

/** As `docker buildx imagetools inspect` prints it without a template. */
export function imagetoolsText({ ref, top, manifests }: RemoteName): string {
  const { mediaType, digest } = top.descriptor;
  const repository = `${ref.registry}/${ref.repository}`;
  const head = [
    `Name:      ${formatReference(ref)}`,
    `MediaType: ${mediaType}`,
    `Digest:    ${digest}`,
  ];
  if (manifests.length === 0) return `${head.join('\n')}\n`;
  const entries = manifests.map((entry) => entryText(entry, repository));
  return `${[...head, '', 'Manifests:'].join('\n')}\n${entries.join('\n')}`;
}

/** By a template of Go's: what it does not ask for is not fetched. */
export async function imagetoolsFormat(
  name: string,
  remote: RemoteName,
  format: string,
): Promise<string> {
  // buildx does so: a template that begins with the manifest gets the text.
  if (format.startsWith('{{.Manifest')) return imagetoolsText(remote).trimEnd();
  const data: Record<string, unknown> = {
    Name: name,
    Manifest: {
      ...remote.top.descriptor,
      ...(remote.manifests.length === 0 ? {} : { manifests: remote.manifests }),
    },
  };
  const isAll = /\{\{-?\s*json\s+\.\s*-?\}\}/.test(format);
  const wants = (member: string): boolean => isAll || format.includes(`.${member}`);
  const images = remote.images();
  const each = async (read: (image: ListedImage) => Promise<unknown>): Promise<unknown> => {
    const [only] = images;
    if (only !== undefined && images.length === 1) return read(only);
    const pairs = images.map(async (image) => [image.platform, await read(image)] as const);
    return new Map(await Promise.all(pairs));
  };
  if (wants('Image')) data['Image'] = await each((image) => remote.config(image));
  for (const [member, { type, name: inner }] of Object.entries(SHOWN))
    if (wants(member))
      data[member] = await each(async (image) => {
        const [first, ...more] = await remote.predicates(image, type);
        if (first === undefined) return {};
        return { [inner]: first, ...(more.length === 0 ? {} : { [`Additional${inner}s`]: more }) };
      });
  const json = {
    min: 1,
    max: 1,
    apply: ([value]: readonly unknown[]) => goJson(value, { indent: 2 }),
  };
  return parseTemplate(format, { json }).execute(data, (text) => visibleLines(text));
}

function entryText(entry: Descriptor, repository: string): string {
  const { digest, mediaType, platform, annotations = {} } = entry;
  const width = Math.max(...Object.keys(annotations).map((key) => key.length)) + 1;
  const lines = [
    `  Name:        ${repository}@${digest}`,
    `  MediaType:   ${mediaType}`,
    ...(platform === undefined ? [] : [`  Platform:    ${formatPlatform(platform)}`]),
    ...(Object.keys(annotations).length === 0 ? [] : ['  Annotations: ']),
    ...Object.entries(annotations).map(
      ([key, value]) => `    ${visible(`${key}:`.padEnd(width))} ${visible(value)}`,
    ),
  ];
  return `${lines.join('\n')}\n`;
}
