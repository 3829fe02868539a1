import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { INPUTS } from '../../src/action/inputs';
import type { FlagTable } from '../../src/cli/args';
import { buildOptions, readContext, type BuildFlags } from '../../src/cli/build-options';
import { findCommand } from '../../src/cli/commands';
import { EXECUTOR_FLAGS } from '../../src/cli/kaniko/flags';
import { buildCallOf, type ExecutorFlags } from '../../src/cli/kaniko/executor';
import { readCommandLine } from '../../src/cli/read-command-line';
import { REPOSITORY } from '../support/mbuild';

const FILES = [
  'templates/build/template.yml',
  ...readdirSync(join(REPOSITORY, 'docs/ci'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.includes('.before.'))
    .map((entry) => join(entry.parentPath, entry.name).slice(REPOSITORY.length + 1)),
].sort();

/** Files that run no command of their own. */
const WITHOUT_COMMANDS = ['docs/ci/github.yml', 'docs/ci/gitlab.yml'];

test('there are files for each service, and for each move', () => {
  const names = FILES.map((file) => file.replace(/^docs\/ci\//, ''));
  for (const service of ['argo', 'buildkite', 'circleci', 'drone', 'tekton', 'woodpecker'])
    expect(names).toContain(`${service}.yml`);
  for (const builder of ['kaniko', 'docker-in-docker', 'buildah'])
    expect(names).toContain(`moves/${builder}.after.yml`);
});

test.each(FILES)('the commands of %s are command lines of mbuild', async (file) => {
  const commands = commandsOf(file, readFileSync(join(REPOSITORY, file), 'utf8'));
  expect(commands.length > 0).toBe(!WITHOUT_COMMANDS.includes(file));
  for (const words of commands) await read(words);
});

test("GitHub's file gives inputs that the action has; GitLab's those of the component", () => {
  const github = parse('docs/ci/github.yml') as {
    jobs: { image: { steps: { uses: string; with?: object }[] } };
  };
  const step = github.jobs.image.steps.find(({ uses }) => uses.startsWith('mbuild/'));
  expect(Object.keys(INPUTS)).toEqual(expect.arrayContaining(Object.keys(step?.with ?? {})));
  const gitlab = parse('docs/ci/gitlab.yml') as { include: { inputs: object }[] };
  const component = parse('templates/build/template.yml') as { spec: { inputs: object } };
  expect(Object.keys(component.spec.inputs)).toEqual(
    expect.arrayContaining(Object.keys(gitlab.include[0]?.inputs ?? {})),
  );
});

/** The first document of a file. */
function parse(file: string): unknown {
  return parseAllDocuments(readFileSync(join(REPOSITORY, file), 'utf8'))[0]?.toJS();
}

/** Reads a command line as mbuild does, up to what it is asked to do. */
async function read(words: readonly string[]): Promise<void> {
  const found = findCommand(words);
  if (found === undefined) throw new Error(`there is no command ${words.join(' ')}`);
  const command = await found.entry.load();
  const args = readCommandLine(command, words.slice(found.length), {});
  const flags: unknown = args.flags;
  if (command.name === 'build')
    buildOptions(flags as BuildFlags, { context: readContext(args.positionals[0] ?? '.') }, {});
  if (sameTable(command.flags, EXECUTOR_FLAGS)) {
    const call = buildCallOf(flags as ExecutorFlags, {});
    await read(['build', ...call.argv]);
  }
}

function sameTable(a: FlagTable, b: FlagTable): boolean {
  return Object.keys(a).join() === Object.keys(b).join();
}

/** The words of each call of mbuild in a file: in scripts, and as arguments of its image. */
function commandsOf(file: string, text: string): string[][] {
  if (!file.endsWith('.yml')) return scriptCommands(text);
  return parseAllDocuments(text).flatMap((document) => {
    expect(document.errors).toEqual([]);
    return valueCommands(document.toJS());
  });
}

function valueCommands(value: unknown): string[][] {
  if (typeof value === 'string') return scriptCommands(value);
  if (Array.isArray(value)) return value.flatMap(valueCommands);
  if (typeof value !== 'object' || value === null) return [];
  const { image, args, ...rest } = value as Record<string, unknown>;
  if (typeof image === 'string' && image.includes('mbuild') && Array.isArray(args))
    return [
      args.map((word) => filled(String(word))).filter((word) => word !== 'x[*]'),
      ...valueCommands(rest),
    ];
  return Object.values(value).flatMap(valueCommands);
}

/** Calls in a script, each with its continued lines, without what redirects them. */
function scriptCommands(script: string): string[][] {
  return script
    .replace(/\\\n\s*/g, ' ')
    .split('\n')
    .flatMap((line) => {
      const match = /(?:^|\| )\s*(mbuild|\/kaniko\/executor) (.*)$/.exec(line);
      if (match === null) return [];
      const words = shellWords(filled(match[2] ?? '').replace(/ >.*$/, ''));
      return [match[1] === 'mbuild' ? words : ['kaniko', ...words]];
    });
}

/** Variables of the services as a value that fits everywhere. */
function filled(text: string): string {
  return text
    .replace(/ ?\$\[\[ inputs\.args \]\]/g, '')
    .replace(/\$\[\[ inputs\.timeout \]\]/g, '1h')
    .replace(/\$\(params\.EXTRA_ARGS\[\*\]\)/g, 'x[*]')
    .replace(/\$\[\[[^\]]*\]\]|\$\([^)]*\)|\{\{[^}]*\}\}|\$\{[^}]*\}|\$\w+/g, 'x');
}

function shellWords(text: string): string[] {
  return [...text.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)].map(([word]) =>
    word.replace(/["']/g, ''),
  );
}
