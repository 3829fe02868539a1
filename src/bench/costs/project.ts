import { toText } from '../../linux/paths';
import type { SelectedFiles } from '../context/select';
import type { CommitKeys } from '../keys/commit-keys';
import type { GitObjects } from '../git/objects';
import { LOCK_FILES, packagesIn } from './lock-files';
import type { ProjectFacts } from './model';

/** What the model needs of a project: what the last commit's copies bring. */
export async function projectFacts(
  { steps }: Pick<CommitKeys, 'steps'>,
  objects: GitObjects,
): Promise<ProjectFacts> {
  const files = steps.flatMap((step) => step.files);
  const packages = await objects.complete(() => {
    const found = new Map<string, number>();
    for (const [name, id] of files.flatMap((selected) => locksIn(selected, objects))) {
      const text = objects.peekText(id) ?? '';
      found.set(name, Math.max(found.get(name) ?? 0, packagesIn(name, text) ?? 0));
    }
    return found;
  });
  return { packages, sourceBytes: Math.max(0, ...files.map(({ bytes }) => bytes)) };
}

/** Lock files that a copy brings: by name, or at the top of a directory. */
function locksIn({ parts }: SelectedFiles, objects: GitObjects): [name: string, id: string][] {
  return parts.flatMap((part) => {
    const inDirectory =
      part.kind === 'directory' && part.tree !== '' ? objects.tree(part.tree) : [];
    const entries = part.kind === 'file' ? [part.entry] : inDirectory;
    return entries.flatMap(({ name, kind, id }): [string, string][] =>
      (kind === 'file' || kind === 'executable') && LOCK_FILES.has(toText(name))
        ? [[toText(name), id]]
        : [],
    );
  });
}
