import { contextConcerns } from './context-concerns';
import type { BuildOptions } from './options';
import type { OpenedContext } from '../context/open';
import type { Diagnostic } from '../diagnostics/error';
import type { Dockerfile } from '../dockerfile/instruction';
import type { Graph } from '../graph/graph';
import { checkViolation, lintDockerfile } from '../lint/lint';
import { syntaxWarnings } from '../lint/syntax';
import { unusedInputs } from '../lint/unused';
import { hostPlatform } from '../oci/platform';

/**
 * What a build warns of: a language that is not known here, the checks, for the stages it needs and
 * with the images it found, what the context should not hold, and what the command line gives in
 * vain.
 * @throws MbuildError CHECK_FAILED under `check=error=true`, DOCKERFILE_SEMANTIC or USAGE when
 * `check=` is not valid.
 */
export function buildWarnings(
  dockerfile: Dockerfile,
  graph: Graph,
  options: BuildOptions,
  context: OpenedContext,
): Diagnostic[] {
  const buildArgs = options.buildArgs ?? {};
  const images = new Map(
    graph.stages.flatMap(({ base }) =>
      base.kind === 'image' ? [[base.image.name, base.image.config] as const] : [],
    ),
  );
  const warnings = lintDockerfile(dockerfile, {
    buildArgs,
    platform: options.platforms?.[0] ?? hostPlatform(),
    buildPlatform: hostPlatform(),
    target: options.target,
    ignore: context.tree.ignore?.rules,
    base: (name) => {
      const config = images.get(name);
      return (
        config && { env: config.config?.Env ?? [], shell: config.config?.Shell, platform: config }
      );
    },
  });
  const violation = checkViolation(dockerfile, warnings, buildArgs);
  if (violation !== undefined) throw violation;
  return [
    ...context.warnings,
    ...syntaxWarnings(dockerfile, buildArgs),
    ...warnings,
    ...contextConcerns(graph, context.tree),
    ...vainWarnings(dockerfile, options),
  ];
}

/** What the command line gives in vain. */
export function vainWarnings(dockerfile: Dockerfile, options: BuildOptions): Diagnostic[] {
  return unusedInputs(dockerfile, {
    buildArgs: Object.keys(options.buildArgs ?? {}),
    contexts: Object.keys(options.contexts ?? {}),
  });
}
