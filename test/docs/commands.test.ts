import { cpSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { cleanEnv, command, succeed } from '../support/command';
import { Mbuild, REPOSITORY, fixture } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { noRegistry, startRegistry, type TestRegistry } from '../support/registry';
import { useTemp } from '../support/temp';

/** A block of commands in a page. */
interface Block {
  /** Line of its fence, from 1. */
  readonly line: number;
  /** What stands behind `sh`: `run`, or `not run: ` and the reason. */
  readonly mark: string;
  readonly commands: string;
}

const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(REPOSITORY, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

/** Names in the pages that mean registries; all of them are the one on loopback. */
const HOSTS = ['docker.io', 'reg.example'];

describe('blocks of commands', () => {
  it.each(PAGES)('in %s are marked `run`, or `not run:` with a reason', (page) => {
    const unmarked = blocksOf(page).filter(({ mark }) => !/^(run|not run: .{10,})$/.test(mark));
    expect(unmarked).toEqual([]);
  });
});

describeWith(
  'commands of the pages',
  { root: true, programs: ['git', 'bash'], also: noRegistry },
  () => {
    const temp = useTemp();
    let registry: TestRegistry;
    let env: Record<string, string>;

    beforeAll(async () => {
      registry = await startRegistry();
      const root = temp.dir('store');
      const registries = join(temp.dir('etc'), 'registries.conf');
      writeFileSync(registries, HOSTS.map(onLoopback).join('\n'));
      env = cleanEnv({
        PATH: `${join(REPOSITORY, 'bin')}:${cleanEnv()['PATH'] ?? ''}`,
        MBUILD_ROOT: root,
        CONTAINERS_REGISTRIES_CONF: registries,
        GIT_CONFIG_COUNT: '2',
        GIT_CONFIG_KEY_0: 'user.name',
        GIT_CONFIG_VALUE_0: 'someone',
        GIT_CONFIG_KEY_1: 'user.email',
        GIT_CONFIG_VALUE_1: 'someone@example.org',
      });
      const mbuild = new Mbuild(root, env);
      await smallBase(mbuild, 'debian:12');
      await mbuild.ok(['push', 'debian:12']);
    });
    afterAll(async () => registry?.stop());

    const onLoopback = (host: string): string =>
      `[[registry]]\nprefix = "${host}"\nlocation = "${registry.host}/${host}"\ninsecure = true\n`;

    const run = PAGES.filter((page) => blocksOf(page).some(({ mark }) => mark === 'run'));
    it.each(run)('%s', async (page) => {
      const project = await makeProject(temp.dir('docs'), env);
      for (const { line, mark, commands } of blocksOf(page)) {
        if (mark !== 'run') continue;
        const script = `set -e -o pipefail\n${commands}`;
        const { code, stdout, stderr } = await command('bash', ['-c', script], {
          cwd: project,
          env,
        });
        if (code !== 0)
          throw new Error(`${page}:${line} ended with ${code}\n${commands}\n${stdout}${stderr}`);
      }
    });
  },
);

/**
 * A directory to work in, as the pages assume it: a repository with some commits, and a library
 * beside it.
 */
async function makeProject(home: string, env: Record<string, string>): Promise<string> {
  cpSync(fixture('docs'), home, { recursive: true });
  const project = join(home, 'project');
  const git = (...args: string[]) => succeed('git', ['-C', project, ...args], { env });
  await git('init', '--quiet');
  for (const text of ['first', 'second', 'third']) {
    writeFileSync(join(project, 'src/words.txt'), `${text}\n`);
    await git('add', '.');
    await git('commit', '--quiet', '-m', text);
  }
  return project;
}

function blocksOf(page: string): Block[] {
  const blocks: Block[] = [];
  let open: { line: number; mark: string; commands: string[] } | undefined;
  for (const [i, text] of readFileSync(join(REPOSITORY, page), 'utf8').split('\n').entries()) {
    const [, language, mark = ''] = /^```(\S*)\s*(.*)$/.exec(text) ?? [];
    if (open !== undefined && language === '') {
      blocks.push({ ...open, commands: open.commands.join('\n') });
      open = undefined;
    } else if (open !== undefined) open.commands.push(text);
    else if (/^(sh|bash|shell|console)$/.test(language ?? ''))
      open = { line: i + 1, mark, commands: [] };
  }
  return blocks;
}
