import type { Engine } from './engine';
import { exportCaches } from './pipeline/caches';
import { journaled } from './pipeline/journaled';
import { makeImages } from './pipeline/make';
import { withBuild } from './pipeline/open';
import type { BuildOptions, BuildResult } from './pipeline/options';
import { planBuild } from './pipeline/plan';
import { buildResult } from './pipeline/result';
import type { BuildScope } from './progress/events';

export type {
  BuildOptions,
  BuildResult,
  BuiltImage,
  OutputSpec,
  SecretSource,
  SshSource,
  StepResult,
} from './pipeline/options';
export type { CacheSource, CacheTarget } from './cache/remote/place';
export type { ContextSource } from './context/open';
export type { CompressionSpec } from './output/exporter';

/**
 * Builds an image: read, plan, make, share what was learned, tell.
 * @throws MbuildError for everything that can be foreseen; the store then holds what it held
 * before, and finished layers.
 */
export function build(
  options: BuildOptions,
  engine: Engine,
  scope: BuildScope,
): Promise<BuildResult> {
  return withBuild({ options, engine, scope }, (opened) =>
    journaled(opened, async (run, warnings) => {
      const plan = await planBuild(run);
      const made = await makeImages(plan);
      await exportCaches(made);
      return buildResult(made, warnings);
    }),
  );
}
