import type { KeyValue } from '../cache/key';
import type { DescribedSelection } from '../cache/manifest';
import { selectSources } from '../context/selection';
import { MbuildError } from '../diagnostics/error';
import type { CopyOperation } from '../graph/graph';
import type { CopyInput } from './copy-op';
import type { DoneAhead, StepContext } from './planned';

/** What one source brings: its part of the key, and what is copied when the step runs. */
export interface PlannedSource {
  readonly content: KeyValue;
  readonly open: () => CopyInput | Promise<OpenedSource | CopyInput>;
  readonly manifest?: DescribedSelection | undefined;
  /** A snapshot in which the copy is made already. */
  readonly copied?: DoneAhead | undefined;
  /** Name and digest of a selection that is remembered. */
  readonly remembered?: readonly [name: string, digest: string] | undefined;
}

/** Something to copy that was fetched for it. */
export interface OpenedSource {
  readonly input: CopyInput;
  /** Deletes what was fetched for this copy alone. */
  readonly close: () => void;
}

/**
 * `ADD https://…`: keyed by name and content. With a checksum nothing is fetched before the step
 * runs.
 */
export async function planDownload(
  url: string,
  operation: CopyOperation,
  { services, scope }: StepContext,
): Promise<PlannedSource> {
  if (operation.keepGitDir)
    throw new MbuildError('DOCKERFILE_SEMANTIC', '--keep-git-dir is only for git repositories', {
      hint: 'the address of a repository ends in .git',
    });
  const unpack = operation.unpack ?? false;
  const file = await services.options.remote.file(url, operation.checksum, scope.signal);
  return {
    content: ['http', file.name, file.digest, unpack],
    open: async () => {
      const { hostPath, mtime } = await file.fetch();
      return {
        input: { kind: 'download', name: file.name, hostPath, mtime, unpack },
        close: () => undefined,
      };
    },
  };
}

/** `ADD https://….git#ref:subdir`: keyed by the commit, which is fetched when the step runs. */
export async function planRepository(
  url: string,
  operation: CopyOperation,
  { services, scope }: StepContext,
): Promise<PlannedSource> {
  const { checksum, keepGitDir } = operation;
  const repository = await services.options.remote.repository(
    url,
    { checksum, keepGitDir },
    scope.signal,
  );
  const { commit, subdir, submodules, origin, variants = [] } = repository;
  return {
    content: [
      'git',
      commit,
      subdir,
      submodules,
      repository.keepGitDir ? origin : undefined,
      operation.exclude,
      ...variants,
    ],
    open: async () => {
      const { tree, warnings = [], close } = await repository.checkout();
      for (const diagnostic of warnings) scope.events({ kind: 'warning', diagnostic });
      const selection = selectSources(tree, ['/'], { exclude: operation.exclude });
      return {
        input: { kind: 'selection', selection, ownership: tree.ownership, unpack: false },
        close,
      };
    },
  };
}

/**
 * Refuses the flag that only a single remote source has. `--keep-git-dir` says nothing about other
 * sources, and does no harm.
 */
export function checkLocalSource({ checksum, sources }: CopyOperation): void {
  if (checksum === undefined) return;
  const what = sources.length > 1 ? 'a single one' : 'one that is fetched: http, https or git';
  throw new MbuildError('DOCKERFILE_SEMANTIC', `--checksum needs another source: ${what}`);
}
