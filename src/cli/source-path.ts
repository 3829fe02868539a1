import { existsSync, realpathSync } from 'node:fs';
import { isAbsolute, join, relative, resolve } from 'node:path';
import type { BuildOptions } from '../build';

type Environment = Readonly<Record<string, string | undefined>>;

/** Where CI services have the repository: GitHub's and GitLab's variables. */
const ROOTS = ['GITHUB_WORKSPACE', 'CI_PROJECT_DIR'];

/**
 * Path from the repository's root of a file that a diagnostic names, for what CI services show at a line of it. A Dockerfile is named
 * as the command line has it, or by its name alone where it was found in the context. `undefined` for what is not in the repository.
 */
export function sourcePath(
  name: string,
  builds: readonly Pick<BuildOptions, 'context'>[],
  env: Environment,
): string | undefined {
  const places = [
    resolve(name),
    ...builds.flatMap(({ context }) =>
      context.kind === 'directory' ? [resolve(join(context.path, name))] : [],
    ),
  ];
  const found = places.find((place) => existsSync(place));
  if (found === undefined) return undefined;
  const given = ROOTS.map((variable) => env[variable]).find(
    (text) => text !== undefined && text !== '',
  );
  const root = given !== undefined && existsSync(given) ? given : '.';
  const path = relative(realpathSync(root), realpathSync(found));
  return path.startsWith('..') || isAbsolute(path) ? undefined : path;
}
