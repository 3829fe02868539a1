import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '../../content/temporary';
import { MbuildError } from '../../diagnostics/error';
import type { SourceFile } from '../../diagnostics/range';
import { removeTree } from '../../linux/remove-tree';
import { runCommand } from '../../sandbox/command';
import type { TargetPlace } from '../keys/commit-keys';
import type { Candidate } from './advice';
import { rewriteOf } from './prove';

/** The files of a commit that advice changes. */
export interface PatchedFiles {
  readonly place: TargetPlace;
  readonly dockerfile: SourceFile;
  /** The ignore file: its path from the repository's top, and its text where it is there. */
  readonly ignoreFile: { readonly path: string; readonly text: string | undefined };
}

/** All changes as a patch that `git apply` takes at the repository's top. */
export async function patchOf(
  { place, dockerfile, ignoreFile }: PatchedFiles,
  candidates: readonly Candidate[],
  store: string,
): Promise<string> {
  const rewrite = rewriteOf(candidates.map(({ edit }) => edit));
  const name =
    typeof place.dockerfile === 'string' ? place.dockerfile : path.basename(dockerfile.name);
  const changes: [name: string, before: string | undefined, after: string | undefined][] = [
    [name, dockerfile.text, rewrite.dockerfile(dockerfile)],
    [ignoreFile.path, ignoreFile.text, rewrite.ignore(ignoreFile.text)],
  ];
  const work = temporaryDirectory('advice', store);
  try {
    for (const [file, before, after] of changes) {
      if (before === after) continue;
      for (const [side, text] of [
        ['a', before],
        ['b', after],
      ] as const) {
        const full = path.join(work, side, file);
        mkdirSync(path.dirname(full), { recursive: true });
        if (text !== undefined) writeFileSync(full, text);
      }
    }
    return await differences(work);
  } finally {
    removeTree(work);
  }
}

/** `a` and `b` are the prefixes that patches have anyway. */
async function differences(work: string): Promise<string> {
  const { exitCode, stdout, stderr } = await runCommand(
    'git',
    [
      '-c',
      'core.quotePath=true',
      'diff',
      '--no-index',
      '--no-prefix',
      '--no-color',
      '--no-ext-diff',
      'a',
      'b',
    ],
    { cwd: work, env: { GIT_CONFIG_NOSYSTEM: '1', GIT_DIR: path.join(work, 'none') } },
  );
  // git diff --no-index: 1 where they differ.
  if (exitCode > 1) throw new MbuildError('GIT_FAILED', `git diff: ${stderr.trim()}`);
  return stdout;
}
