import type { BakeFiles } from './files';
import { readDefinition, type Surroundings } from './read-definition';
import type { Definition, Group } from './target';

/**
 * All that the files describe: those of compose first, bake files over them.
 * @param directory where relative names of files start
 * @throws MbuildError BAKE_INVALID.
 */
export async function loadDefinition(
  { hcl, compose }: BakeFiles,
  directory: string,
  surroundings: Surroundings,
): Promise<Definition> {
  const bake = readDefinition(hcl, surroundings);
  if (compose.length === 0) return bake;
  const [{ readProject }, { composeDefinition }] = await Promise.all([
    import('./compose/project'),
    import('./compose/targets'),
  ]);
  const project = readProject(compose, directory, surroundings.lookup);
  const below = composeDefinition(project, directory);
  return {
    targets: [...below.targets, ...bake.targets],
    groups: mergeGroups([...below.groups, ...bake.groups]),
    variables: bake.variables,
    warnings: [...below.warnings, ...bake.warnings],
  };
}

/** Of groups with one name a bake file's takes the place of what was before. */
function mergeGroups(groups: readonly Group[]): Group[] {
  return [...new Map(groups.map((group) => [group.name, group])).values()];
}
