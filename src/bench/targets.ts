import path from 'node:path';
import type { SourceFile } from '../diagnostics/range';
import { MbuildError } from '../diagnostics/error';
import type { GitRepository } from './git/repository';
import type { ReplayTarget, TargetPlace } from './keys/commit-keys';

/** A Dockerfile and its context, as they were asked for: paths count from the directory that is replayed. */
export interface WantedTarget {
  /** For reports. */
  readonly name: string;
  /** Paths, the first that a commit has is taken; or one text for all commits. */
  readonly dockerfile: readonly string[] | SourceFile;
  readonly context: string;
}

/**
 * Finds out where Dockerfiles were before they were renamed or moved. A context that holds its Dockerfile moves with it.
 * @param range of the commits. @throws MbuildError USAGE for a path that leaves the repository.
 */
export async function resolveTargets(
  wanted: readonly WantedTarget[],
  repository: GitRepository,
  range: string,
): Promise<ReplayTarget[]> {
  const prefix = await repository.prefix();
  const targets: ReplayTarget[] = [];
  for (const { name, dockerfile, context } of wanted) {
    const root = fromTop(prefix, context);
    targets.push({
      name,
      places: isSource(dockerfile)
        ? [{ dockerfile, context: root }]
        : await placesOf(
            dockerfile.map((file) => fromTop(prefix, file)),
            root,
            { repository, range },
          ),
    });
  }
  return targets;
}

async function placesOf(
  files: readonly string[],
  context: string,
  { repository, range }: { readonly repository: GitRepository; readonly range: string },
): Promise<TargetPlace[]> {
  const places: TargetPlace[] = files.map((dockerfile) => ({ dockerfile, context }));
  for (const file of files) {
    for (const { from } of await repository.renamesOf(file, range)) {
      if (places.some(({ dockerfile }) => dockerfile === from)) continue;
      places.push({ dockerfile: from, context: movedContext(file, from, context) });
    }
  }
  return places;
}

/** Where a context was when its Dockerfile was elsewhere: beside it as before, if it holds it and is not the whole repository. */
function movedContext(file: string, from: string, context: string): string {
  if (context === '' || !file.startsWith(`${context}/`)) return context;
  const below = file.slice(context.length);
  return from.endsWith(below) ? from.slice(0, -below.length) : context;
}

/** A path from the repository's top, without slashes around it; empty for the top. */
function fromTop(prefix: string, text: string): string {
  const clean = path.posix.normalize(path.posix.join(prefix, text)).replace(/\/$/, '');
  if (clean === '..' || clean.startsWith('../') || text.startsWith('/'))
    throw new MbuildError('USAGE', `${text} is not a path in the repository`, {
      hint: 'paths count from PATH, and stay within its repository',
    });
  return clean === '.' ? '' : clean;
}

function isSource(dockerfile: readonly string[] | SourceFile): dockerfile is SourceFile {
  return 'text' in dockerfile;
}
