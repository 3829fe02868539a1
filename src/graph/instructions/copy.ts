import { booleanFlag, listFlag, stringFlag } from '../../dockerfile/flags';
import { expandHeredoc } from '../../dockerfile/expand';
import { heredocOfSource } from '../../dockerfile/heredoc';
import type { Flag, InstructionOf } from '../../dockerfile/instruction';
import type { CopyOperation, CopySource, TreeSource } from '../graph';
import {
  displayOf,
  expandIn,
  mistake,
  withStep,
  type StageScopeReader,
  type StageState,
} from '../state';
import { checkedOwner, checkedPath } from './paths';
import { absolute } from './workdir';

type Copy = InstructionOf<'COPY' | 'ADD'>;

/** `COPY` and `ADD`. */
export async function planCopy(
  instruction: Copy,
  state: StageState,
  scope: StageScopeReader,
): Promise<StageState> {
  const { flags, keyword } = instruction;
  const expand = (word: string): string => expandIn(word, state, scope);
  const flag = (name: string): string | undefined => {
    const value = stringFlag(flags, name);
    return value === undefined ? undefined : expand(value) || undefined;
  };
  const isInline = (word: string): boolean =>
    heredocOfSource(word, instruction.heredocs) !== undefined;
  const written = instruction.paths.slice(0, -1);
  // BuildKit copies the heredocs last, and an empty source is the whole tree.
  const sources = [
    ...written.filter((word) => !isInline(word)).map(expand),
    ...written.filter(isInline),
  ];
  const dest = expand(instruction.paths.at(-1) ?? '');
  const operation: CopyOperation = {
    kind: 'copy',
    instruction: keyword,
    from: await treeOf(instruction, scope),
    sources: sources.map((source) => sourceOf(source, instruction, state)),
    dest: destination(dest, state),
    chown: checkedOwner(flag('chown')),
    chmod: flag('chmod'),
    link: booleanFlag(flags, 'link'),
    parents: booleanFlag(flags, 'parents'),
    exclude: listFlag(flags, 'exclude'),
    unpack: writtenBoolean(flags, 'unpack'),
    checksum: flag('checksum'),
    keepGitDir: booleanFlag(flags, 'keep-git-dir'),
  };
  const step = scope.makeStep(operation, displayOf(instruction, state, scope), instruction.range);
  return withStep(
    state,
    step,
    historyOf(operation, [...sources.map((word) => historyWord(word, instruction) ?? word), dest]),
  );
}

async function treeOf(instruction: Copy, scope: StageScopeReader): Promise<TreeSource> {
  const from = stringFlag(instruction.flags, 'from');
  if (from === undefined) return { kind: 'context' };
  if (from.includes('$')) {
    throw mistake(
      'DOCKERFILE_SEMANTIC',
      `--from=${from} cannot hold a variable`,
      'use the variable in a stage: FROM $IMAGE AS name, then --from=name',
    );
  }
  return scope.findTree(from, instruction.range);
}

function sourceOf(source: string, instruction: Copy, state: StageState): CopySource {
  const heredoc = heredocOfSource(source, instruction.heredocs);
  if (heredoc !== undefined) {
    const content = heredoc.expand
      ? expandHeredoc(heredoc.content, (name) => state.env.get(name)).value
      : heredoc.content;
    return { kind: 'inline', name: checkedPath(heredoc.name), content };
  }
  if (instruction.keyword === 'ADD') {
    if (isGitUrl(source)) return { kind: 'git', url: source };
    if (/^https?:\/\//.test(source)) return { kind: 'http', url: source };
  }
  return { kind: 'path', path: checkedPath(source) };
}

/**
 * Whether ADD clones the source: `git@host:…`, `git://`, `ssh://`, and http(s) addresses whose path
 * ends in `.git`.
 */
function isGitUrl(source: string): boolean {
  return (
    /^(?:git@|git:\/\/|ssh:\/\/)/.test(source) || /^https?:\/\/[^#?]*\.git(?:[#?]|$)/.test(source)
  );
}

/** The destination from the root, with a slash at the end where it can only be a directory. */
function destination(dest: string, state: StageState): string {
  const target = absolute(dest, state);
  const isDirectory =
    dest === '' ||
    dest.endsWith('/') ||
    dest === '.' ||
    dest.endsWith('/.') ||
    dest === '..' ||
    dest.endsWith('/..');
  return isDirectory && target !== '/' ? `${target}/` : target;
}

function writtenBoolean(flags: readonly Flag[], name: string): boolean | undefined {
  return flags.some((flag) => flag.name === name) ? booleanFlag(flags, name) : undefined;
}

/** A heredoc is shown by its name, without its dash and quotes. */
function historyWord(word: string, instruction: Copy): string | undefined {
  const heredoc = heredocOfSource(word, instruction.heredocs);
  return heredoc === undefined ? undefined : `<<${heredoc.name}`;
}

function historyOf(operation: CopyOperation, words: readonly string[]): string {
  const options = [
    ...(operation.parents ? ['--parents'] : []),
    ...(operation.chown === undefined ? [] : [`--chown=${operation.chown}`]),
    ...(operation.chmod === undefined ? [] : [`--chmod=${operation.chmod}`]),
  ];
  return `${[operation.instruction, ...options, ...words].join(' ')} # buildkit`;
}
