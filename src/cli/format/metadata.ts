import type { BuildResult } from '../../build';
import { diagnosticToJson } from '../../diagnostics/render';
import { shortName } from '../services';

/** Raised when a member of ours changes its meaning. */
const VERSION = 1;

/** The content of `--metadata-file`: buildx's members, and ours under `mbuild.`. */
export function metadataOf(result: BuildResult): Readonly<Record<string, unknown>> {
  const { imageId, descriptor, names, steps, warnings } = result;
  const cached = steps.filter((step) => step.cached);
  const sum = (list: typeof steps, value: (step: (typeof steps)[number]) => number): number => list.reduce((total, step) => total + value(step), 0);
  return {
    'containerimage.config.digest': imageId,
    'containerimage.descriptor': descriptor,
    'containerimage.digest': descriptor?.digest,
    ...(names.length === 0 ? {} : { 'image.name': names.map(shortName).join(',') }),
    ...(warnings.length === 0 ? {} : { 'buildx.build.warnings': warnings.map(diagnosticToJson) }),
    'mbuild.version': VERSION,
    'mbuild.steps': steps,
    'mbuild.cache': {
      hits: cached.length,
      misses: steps.length - cached.length,
      hitRatio: steps.length === 0 ? 1 : cached.length / steps.length,
      bytesReused: sum(cached, (step) => step.layer?.size ?? 0),
    },
  };
}
