import type { BuildOptions } from './options';
import { wantsIndex } from './outputs';
import { runSettings } from './inputs';
import type { BuildRun, WantedImage } from './build-run';
import { MbuildError } from '../diagnostics/error';
import type { Dockerfile } from '../dockerfile/instruction';
import type { Graph } from '../graph/graph';
import { planTargets, type PlanOptions } from '../graph/plan';
import { formatPlatform, hostPlatform } from '../oci/platform';
import { formatReference, parseReference } from '../oci/reference';

/**
 * Every target for every platform.
 * @throws MbuildError USAGE for names that cannot be told apart, REFERENCE_INVALID.
 */
export function wantedImages(options: BuildOptions): WantedImage[] {
  const names = (options.tags ?? []).map(fullName);
  const targets =
    options.targets !== undefined && options.targets.length > 0
      ? options.targets
      : [options.target];
  const platforms = [
    ...new Map(
      (options.platforms ?? []).map((platform) => [formatPlatform(platform), platform]),
    ).values(),
  ];
  if (targets.length > 1 && names.length > 0 && names.length !== targets.length) {
    throw new MbuildError(
      'USAGE',
      `${targets.length} targets need ${targets.length} names, but ${names.length} are given`,
      {
        hint: 'give one --tag for each --target, in the same order, or none',
      },
    );
  }
  const isIndexed = wantsIndex(options);
  return targets.flatMap((target, i) =>
    (platforms.length > 0 ? platforms : [hostPlatform()]).map((platform): WantedImage => ({
      target,
      platform,
      names: targets.length > 1 ? names.slice(i, i + 1) : names,
      group: platforms.length > 1 || isIndexed ? i : undefined,
    })),
  );
}

/** The graph of all of them. @param warn is told of what is odd in the Dockerfile. */
export async function planWanted(
  { options, contexts, guard }: BuildRun,
  dockerfile: Dockerfile,
  wanted: readonly WantedImage[],
  { findImage, warn }: Pick<PlanOptions, 'findImage' | 'warn'>,
): Promise<Graph> {
  const find = guard?.images(findImage) ?? findImage;
  return planTargets(
    dockerfile,
    {
      buildPlatform: hostPlatform(),
      isPlatformGiven: (options.platforms?.length ?? 0) > 0,
      buildArgs: options.buildArgs ?? {},
      labels: options.labels ?? {},
      network: options.network === 'none' ? 'none' : 'host',
      allowInsecure: options.allow?.includes('security.insecure') === true,
      run: runSettings(options),
      contexts: Object.keys(options.contexts ?? {}),
      namedContext: (name, wanted) => contexts.plan(name, wanted, find),
      findImage: find,
      warn,
    },
    wanted,
  );
}

function fullName(tag: string): string {
  const ref = parseReference(tag);
  if (ref !== undefined && ref.digest === undefined) return formatReference(ref);
  throw new MbuildError('REFERENCE_INVALID', `"${tag}" is not a valid image name`, {
    hint: 'write [REGISTRY/]REPOSITORY[:TAG], with the repository in lower case',
  });
}
