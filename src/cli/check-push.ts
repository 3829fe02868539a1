import type { BuildOptions } from '../build';
import type { Engine } from '../engine';
import { parseReference } from '../oci/reference';
import type { Repository } from '../registry/registry';

/**
 * Asks each registry that the build will push to, the image or its cache, whether it may: `--check-push`. A build of an hour that ends
 * in a refused push is told in its first second.
 * @throws MbuildError REGISTRY_DENIED and what else a registry refuses with.
 */
export async function checkPush(
  options: Pick<BuildOptions, 'outputs' | 'tags' | 'cacheTo'>,
  { registry }: Pick<Engine, 'registry'>,
  signal: AbortSignal,
): Promise<void> {
  const { outputs = [], tags = [], cacheTo = [] } = options;
  const names = outputs
    .filter(
      (output) => output.type === 'registry' || (output.type === 'image' && output.push === true),
    )
    .flatMap((output) =>
      output.names === undefined || output.names.length === 0 ? tags : output.names,
    );
  const caches = cacheTo.flatMap((target) => (target.type === 'registry' ? [target.ref] : []));
  const repositories = new Map<string, Repository>();
  for (const ref of [...names, ...caches].flatMap((name) => parseReference(name) ?? []))
    repositories.set(`${ref.registry}/${ref.repository}`, ref);
  for (const repository of repositories.values()) await registry.checkPush(repository, signal);
}
