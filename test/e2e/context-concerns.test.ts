import { Mbuild } from '../support/mbuild';
import { useTemp, writeFiles } from '../support/temp';

describe('a build warns of what is seldom meant to be in an image', () => {
  const temp = useTemp();
  const mbuild = new Mbuild(temp.dir('store'));
  const FILES = {
    '.git/HEAD': 'ref: x\n',
    'node_modules/a/index.js': '',
    '.npmrc': '//host/:_authToken=abc\n',
    'src/.env': '',
    'main.js': '',
  };

  /** The codes of its warnings, with their lines. */
  async function warnings(
    dockerfile: string,
    more: Readonly<Record<string, string>> = {},
  ): Promise<string[]> {
    const { stderr } = await mbuild.build([
      writeFiles(temp.dir('context'), {
        ...FILES,
        ...more,
        Dockerfile: `FROM scratch\n${dockerfile}\n`,
      }),
    ]);
    return [...stderr.matchAll(/^ - (Context\w+): (\S+) .*\(line (\d+)\)$/gm)].map(
      ([, code, name, line]) => `${code} ${name} ${line}`,
    );
  }

  const ALL = [
    'ContextHoldsGit .git',
    'ContextHoldsModules node_modules',
    'ContextHoldsSecrets .npmrc',
  ];
  it.each([
    ['COPY . /app', ALL.map((text) => `${text} 2`)],
    ['COPY main.js /\nADD ./ /app\nCOPY . /again', ALL.map((text) => `${text} 3`)],
    ['COPY --exclude=.git --exclude=**/node_modules . /app', ['ContextHoldsSecrets .npmrc 2']],
    ['COPY src /app', []],
    ['COPY .git/HEAD /', []],
  ])('%s', async (dockerfile, expected) => expect(await warnings(dockerfile)).toEqual(expected));

  it('unless the ignore file leaves it out', async () => {
    expect(await warnings('COPY . /', { '.dockerignore': '.git\nnode_modules\n' })).toEqual([
      'ContextHoldsSecrets .npmrc 2',
    ]);
    expect(await warnings('COPY . /', { '.dockerignore': '.*\n**/node_modules\n' })).toEqual([]);
  });

  it('and has a way out in the message', async () => {
    const { stderr } = await mbuild.build([
      writeFiles(temp.dir('context'), { '.git/HEAD': '', Dockerfile: 'FROM scratch\nCOPY . /\n' }),
    ]);
    expect(stderr).toContain(
      ' - ContextHoldsGit: .git is copied with the rest of the context, and changes with every commit, so this instruction never comes from the cache; to exclude it, add a line .git to .dockerignore (line 2)\n',
    );
  });
});
