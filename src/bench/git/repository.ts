import { MbuildError } from '../../diagnostics/error';
import { runCommand } from '../../sandbox/command';
import { OFFLINE_GIT } from './object-reader';

/** A commit to look at. */
export interface GitCommit {
  readonly id: string;
  readonly tree: string;
  readonly parents: readonly string[];
  /** Seconds since the epoch: when it was committed. */
  readonly time: number;
  readonly subject: string;
}

/** Which commits are replayed. */
export interface CommitChoice {
  /** As git takes it: `HEAD~50..`, `v1.0..main`. */
  readonly range: string;
  /** Also what merges brought in, not the line of first parents alone. */
  readonly allParents: boolean;
  /** As git's `--since` takes it. */
  readonly since?: string | undefined;
  /** Of every so many commits one, the last among them. */
  readonly every: number;
}

/** What of a file's past has another name. */
export interface Rename {
  readonly from: string;
  readonly to: string;
}

const FORMAT = '--format=%H%x00%T%x00%P%x00%ct%x00%s';
/** A rename of a rename of a rename …: more are not looked for. */
const MAX_RENAMES = 20;

/** Questions about a repository that one run of git answers. */
export class GitRepository {
  /** @param dir any directory of the repository, or a bare one. */
  constructor(readonly dir: string) {}

  /** The path from the repository's top to `dir`, without slashes around it. @throws MbuildError GIT_FAILED where there is no repository. */
  async prefix(): Promise<string> {
    const text = await this.#git('rev-parse', '--show-prefix');
    return text.trim().replace(/\/$/, '');
  }

  async isShallow(): Promise<boolean> {
    return (await this.#git('rev-parse', '--is-shallow-repository')).trim() === 'true';
  }

  /** The commits of a choice, the oldest first. @throws MbuildError USAGE for a range with none, GIT_FAILED for what git does not know. */
  async commits({ range, allParents, since, every }: CommitChoice): Promise<GitCommit[]> {
    if (range.startsWith('-'))
      throw new MbuildError('USAGE', `${range} is not a range of commits`, {
        hint: 'write for example HEAD~50.. or v1.0..main',
      });
    const found = await this.#log(range, [
      ...(allParents ? [] : ['--first-parent']),
      ...(since === undefined ? [] : [`--since=${since}`]),
    ]);
    if (found.length === 0) throw await this.#nothingIn(range, since);
    return found.filter((_, at) => (found.length - 1 - at) % every === 0);
  }

  /** How a file was called before within a range, the latest rename first. */
  async renamesOf(path: string, range: string): Promise<Rename[]> {
    const renames: Rename[] = [];
    const text = await this.#git(
      'log',
      '--follow',
      '--first-parent',
      '-M50%',
      '--diff-filter=R',
      '--name-status',
      '--format=',
      '-z',
      range,
      '--',
      path,
    );
    const words = text.split('\0').filter((word) => word.trim() !== '');
    for (let at = 0; at + 2 < words.length && renames.length < MAX_RENAMES; at += 3) {
      const [status = '', from = '', to = ''] = words.slice(at, at + 3);
      if (!/^\s*R\d+$/.test(status)) break;
      renames.push({ from, to });
    }
    return renames;
  }

  /** Names of files of a commit that hold a text, of those below a directory. */
  async filesWith(text: string, commit: string, below: string): Promise<string[]> {
    const { exitCode, stdout, stderr } = await runCommand('git', [
      ...this.#options(),
      'grep',
      '-l',
      '-z',
      '-I',
      '-F',
      '-e',
      text,
      commit,
      '--',
      `:(top,literal)${below}`,
    ]);
    // git grep: 1 where nothing is found.
    if (exitCode > 1) throw failed('grep', this.dir, stderr);
    return stdout
      .split('\0')
      .filter((name) => name !== '')
      .map((name) => name.slice(commit.length + 1));
  }

  async #log(range: string, flags: readonly string[]): Promise<GitCommit[]> {
    const text = await this.#git(
      'log',
      '--reverse',
      '--topo-order',
      ...flags,
      FORMAT,
      '--end-of-options',
      range,
      '--',
    );
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map(parseCommit);
  }

  /** Says what is wrong with a range that has no commits. */
  async #nothingIn(range: string, since: string | undefined): Promise<MbuildError> {
    const [, from = '', to = ''] = /^(.*?)\.\.(?!\.)(.*)$/.exec(range) ?? [];
    const turned = `${to === '' ? 'HEAD' : to}..${from === '' ? 'HEAD' : from}`;
    const isBackwards =
      range.includes('..') &&
      since === undefined &&
      (await this.#log(turned, ['--first-parent', '--max-count=1'])).length > 0;
    return new MbuildError(
      'USAGE',
      `there are no commits in ${range}${since === undefined ? '' : ` since ${since}`}`,
      {
        hint: isBackwards
          ? `it is backwards: the older end comes first, ${turned}`
          : 'write for example HEAD~50.. for the last fifty',
      },
    );
  }

  async #git(...args: string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await runCommand('git', [...this.#options(), ...args]);
    if (exitCode !== 0) throw await this.#explained(failed(args[0] ?? '', this.dir, stderr));
    return stdout;
  }

  /** A commit that a shallow clone lacks has a reason that git does not give. */
  async #explained(error: MbuildError): Promise<MbuildError> {
    const { stdout } = await runCommand('git', [
      ...this.#options(),
      'rev-parse',
      '--is-shallow-repository',
    ]);
    return stdout.trim() === 'true'
      ? new MbuildError('GIT_FAILED', error.message, {
          cause: error,
          hint: 'the clone is shallow, older commits are not in it: git fetch --unshallow',
        })
      : error;
  }

  #options(): string[] {
    return ['-C', this.dir, ...OFFLINE_GIT];
  }
}

function parseCommit(line: string): GitCommit {
  const [id = '', tree = '', parents = '', time = '0', subject = ''] = line.split('\0');
  return {
    id,
    tree,
    parents: parents === '' ? [] : parents.split(' '),
    time: Number(time),
    subject,
  };
}

function failed(command: string, dir: string, stderr: string): MbuildError {
  return new MbuildError('GIT_FAILED', `git ${command} in ${dir}: ${stderr.trim()}`);
}
