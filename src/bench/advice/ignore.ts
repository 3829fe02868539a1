import type { GitEntry } from '../git/objects';
import type { GitRepository } from '../git/repository';
import { toText } from '../../linux/paths';
import type { Candidate } from './advice';

/** Names at the top of projects that builds have no use for, as a rule: whether one has is looked up in its files. */
const SUSPECTS: readonly (readonly [name: RegExp, pattern?: string])[] = [
  [/^\.github$/],
  [/^\.gitlab$/],
  [/^\.gitlab-ci\.yml$/],
  [/^\.circleci$/],
  [/^\.vscode$/],
  [/^\.idea$/],
  [/^\.devcontainer$/],
  [/^\.gitignore$/],
  [/^\.gitattributes$/],
  [/^\.editorconfig$/],
  [/^\.dockerignore$/],
  [/^\.pre-commit-config\.yaml$/],
  [/^(?:\.?renovate\.json5?|\.?dependabot\.yml)$/],
  [/^docs?$/],
  [
    /^(?:CHANGELOG|CHANGES|HISTORY|CONTRIBUTING|CODE_OF_CONDUCT|SECURITY|README|AUTHORS)(?:\..+)?$/i,
  ],
  [/^(?:docker-)?compose(?:\..+)?\.ya?ml$/],
  [/^(?:.*\.)?(?:Dockerfile|Containerfile)(?:\..+)?$/i],
  [/^Jenkinsfile$/],
  [/^(?:k8s|kubernetes|helm|charts)$/],
];

/** Files that say nothing about what a build uses. */
const NO_WITNESS =
  /(?:^|\/)(?:docs?\/|\.github\/|\.git[^/]*$|\.dockerignore$|README|CHANGELOG|CONTRIBUTING|.*\.md$|.*-lock\.|.*\.lock$)/i;

/** What of a repository is asked. */
export interface IgnoreQuestion {
  readonly repository: GitRepository;
  readonly commit: string;
  /** The context, from the repository's top. */
  readonly context: string;
  /** What is at its top, and is copied. */
  readonly entries: readonly GitEntry[];
  /** The Dockerfile, from the repository's top, and its text. */
  readonly dockerfile: string;
  readonly text: string;
}

/** Lines for the ignore file: what nothing that stays in the context names. */
export async function ignoreCandidate(question: IgnoreQuestion): Promise<Candidate | undefined> {
  const names = question.entries
    .map(({ name }) => toText(name))
    .filter((name) => SUSPECTS.some(([pattern]) => pattern.test(name)));
  const lines: string[] = [];
  for (const name of names) if (!(await isUsed(name, names, question))) lines.push(`/${name}`);
  if (lines.length === 0) return undefined;
  return {
    kind: 'ignore',
    instruction: '.dockerignore',
    line: 1,
    what: `add ${lines.join(', ')}`,
    because: 'they are copied, and no file that stays names them',
    edit: {
      ignore: (text) =>
        `${text === undefined || text.endsWith('\n') || text === '' ? (text ?? '') : `${text}\n`}${lines.join('\n')}\n`,
    },
  };
}

/** Whether a file that stays in the context, or the Dockerfile, names it. */
async function isUsed(
  name: string,
  suspects: readonly string[],
  { repository, commit, context, entries, dockerfile, text }: IgnoreQuestion,
): Promise<boolean> {
  const isDirectory = entries.some(
    (entry) => toText(entry.name) === name && entry.kind === 'directory',
  );
  const word = isDirectory ? `${name}/` : name;
  if (text.includes(word)) return true;
  const below = context === '' ? '' : `${context}/`;
  const witnesses = await repository.filesWith(word, commit, context);
  return witnesses.some((file) => {
    const inContext = file.slice(below.length);
    const top = inContext.split('/')[0] ?? '';
    return file !== dockerfile && !suspects.includes(top) && !NO_WITNESS.test(inContext);
  });
}
