import type { BuildResult } from '../../build';
import { diagnosticToJson } from '../../diagnostics/render';
import { shortName } from '../services';

/** Raised when a member of ours changes its meaning. */
const VERSION = 1;

/** The content of `--metadata-file`: buildx's members, and ours under `mbuild.`. */
export function metadataOf(result: BuildResult): Readonly<Record<string, unknown>> {
  const { buildId, imageId, descriptor, names, images, steps, cache, warnings } = result;
  return {
    'containerimage.config.digest': imageId,
    'containerimage.descriptor': descriptor,
    'containerimage.digest': descriptor?.digest,
    ...(names.length === 0 ? {} : { 'image.name': names.map(shortName).join(',') }),
    'buildx.build.ref': buildId,
    ...provenanceMembers(images),
    ...(warnings.length === 0 ? {} : { 'buildx.build.warnings': warnings.map(diagnosticToJson) }),
    'mbuild.version': VERSION,
    ...(images.length < 2
      ? {}
      : {
          'mbuild.images': images.map(({ provenance: _own, ...image }) => ({
            ...image,
            names: image.names.map(shortName),
          })),
        }),
    'mbuild.steps': steps,
    'mbuild.cache': cache,
  };
}

/** As buildx names them: with the platform behind the name where there are several. */
function provenanceMembers(images: BuildResult['images']): Record<string, unknown> {
  return Object.fromEntries(
    images.flatMap(({ provenance, platform }) =>
      provenance === undefined
        ? []
        : [[`buildx.build.provenance${images.length < 2 ? '' : `/${platform}`}`, provenance]],
    ),
  );
}
