import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { COMMANDS } from '../../src/cli/commands';
import { visible } from '../../src/diagnostics/visible';
import { MBUILD, Mbuild } from '../support/mbuild';
import { cleanEnv, command } from '../support/command';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

const temp = useTemp();

/**
 * A name with everything in it that a terminal, a reader or a CI service takes for more than a
 * name.
 */
const EVIL =
  'x\n::notice::y\n##[error]y\n##vso[a b]\n##teamcity[c]\r\x1b[31m\x9b1m\u202e\u2028\rsection_start:1:z\r\x1b[0K';
/** The same where no line feed can be. */
const FLAT = EVIL.replaceAll('\n', ' ').replaceAll('\r', ' ');

/** Nothing of this may reach a terminal; a command may colour what is its own. */
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;
const ORDERS = /^[^\S\n]*::|##[\w.-]*\[|section_(?:start|end):/m;

/**
 * Command lines by the name of their command. `{image}` and the like stand for what the test has
 * made.
 */
const LINES: Readonly<Record<string, readonly (readonly string[])[]>> = {
  build: [
    ['build', '--progress', 'plain', '-f', '{evilfile}', '{context}'],
    ['build', '--progress', 'plain', '--no-cache', '--label', `${EVIL}=x`, '{context}'],
    ['build', '--progress', 'rawjson', '--no-cache', '{context}'],
    ['build', '--check', '{context}'],
    ['build', '--call', 'outline', '{context}'],
    ['build', '--progress', 'plain', '--target', EVIL, '{context}'],
    ['build', '-q', `{context}/${EVIL}`],
  ],
  bake: [
    ['bake', '-f', '{evilfile}'],
    ['bake', '-f', '{bakefile}', '--print'],
  ],
  kaniko: [
    ['kaniko', '--no-push', '-c', EVIL],
    ['kaniko', '-d', EVIL, '-c', '{context}'],
  ],
  'kaniko warmer': [['kaniko', 'warmer', '--cache-dir', '{context}/cache', '-i', EVIL]],
  explain: [['explain'], ['explain', '--format', 'json']],
  debug: [
    ['debug', EVIL],
    ['debug', '--tools', EVIL],
    ['debug', ':1', EVIL],
  ],
  builds: [['builds'], ['builds', '--format', 'json'], ['builds', '--format', '{{.Name}}']],
  plan: [
    ['plan', '--no-cache', '{context}'],
    ['plan', '--format', 'json', '{context}'],
  ],
  verify: [
    ['verify', 'one', 'two'],
    ['verify', '--format', 'json', 'one', 'two'],
  ],
  'cache ls': [
    ['cache', 'ls'],
    ['cache', 'ls', '--format', '{{.Description}}'],
  ],
  'cache du': [['cache', 'du']],
  'cache rm': [['cache', 'rm', EVIL]],
  'cache diff': [
    ['cache', 'diff', '~0', '~1'],
    ['cache', 'diff', '--format', 'json', '~0', '~1'],
  ],
  'cache-mount ls': [['cache-mount', 'ls']],
  'cache-mount export': [['cache-mount', 'export', EVIL]],
  'cache-mount import': [['cache-mount', 'import', EVIL, '-']],
  'cache-mount prune': [['cache-mount', 'prune', '-f']],
  'cache-mount rm': [['cache-mount', 'rm', EVIL]],
  'bench replay': [['bench', 'replay', '--git', 'HEAD', '{git}']],
  'bench compare': [
    ['bench', 'compare', '--builder', 'mbuild', '-n', '1', '--target', EVIL, '{context}'],
    ['bench', 'compare', '--builder', EVIL, '{context}'],
  ],
  'bench durations': [
    ['bench', 'durations', '{log}'],
    ['bench', 'durations', EVIL],
  ],
  images: [
    ['images', '--filter', `label=${EVIL}`],
    ['images', '--format', 'json'],
  ],
  history: [
    ['history', '--no-trunc', 'one'],
    ['history', '--format', '{{.CreatedBy}}', 'one'],
    ['history', '--format', 'json', 'one'],
  ],
  inspect: [
    ['inspect', 'one'],
    ['inspect', '-f', '{{.Config.Labels}} {{.Config.Env}}', 'one'],
    ['inspect', '-f', '{{range .Config.Env}}{{println .}}{{end}}', 'one'],
    ['inspect', '-f', '{{json .Config}}', 'one'],
    ['inspect', EVIL],
  ],
  'image inspect': [['image', 'inspect', '-f', '{{.Config.Labels}}', 'one']],
  'container inspect': [['container', 'inspect', '-f', '{{.Config.Labels}}', 'box']],
  'image waste': [
    ['image', 'waste', 'one'],
    ['image', 'waste', '--format', 'json', 'one'],
  ],
  'image diff': [
    ['image', 'diff', 'one', 'two'],
    ['image', 'diff', '--format', 'json', 'one', 'two'],
  ],
  'image mount': [['image', 'mount', EVIL]],
  'image umount': [['image', 'umount', EVIL]],
  report: [['report', EVIL]],
  pull: [['pull', '{registry}/a']],
  push: [
    ['push', '{registry}/one'],
    ['push', EVIL],
  ],
  search: [['search', '{registry}/a']],
  'imagetools inspect': [['imagetools', 'inspect', '{registry}/a']],
  'imagetools create': [['imagetools', 'create', '-t', '{registry}/a', '{registry}/one']],
  login: [['login', '-u', 'u', '-p', 'p', '{registry}']],
  logout: [['logout', EVIL]],
  tag: [['tag', 'one', EVIL]],
  rmi: [['rmi', EVIL]],
  save: [['save', '-o', '/dev/null', EVIL]],
  load: [['load', '-i', `/${EVIL}`]],
  import: [['import', `/${EVIL}`]],
  'manifest inspect': [['manifest', 'inspect', '{registry}/a']],
  'manifest create': [['manifest', 'create', EVIL, 'one']],
  'manifest annotate': [['manifest', 'annotate', EVIL, 'one']],
  'manifest push': [['manifest', 'push', EVIL]],
  'manifest rm': [['manifest', 'rm', EVIL]],
  'context files': [
    ['context', 'files', '--why', '{context}'],
    ['context', 'files', '--format', 'json', '{context}'],
  ],
  'context ls': [
    ['context', 'ls', '--why', '{context}'],
    ['context', 'ls', '--format', 'json', '{context}'],
  ],
  'context inspect': [['context', 'inspect', EVIL]],
  'context use': [['context', 'use', EVIL]],
  parse: [['parse', '{evilfile}']],
  ps: [
    ['ps', '-a', '--no-trunc'],
    ['ps', '-a', '--format', '{{.Labels}} {{.Command}}'],
    ['ps', '-a', '--format', 'json'],
  ],
  create: [['create', EVIL]],
  run: [['run', '--rm', EVIL]],
  start: [['start', EVIL]],
  stop: [['stop', EVIL]],
  kill: [['kill', EVIL]],
  restart: [['restart', EVIL]],
  pause: [['pause', EVIL]],
  unpause: [['unpause', EVIL]],
  wait: [['wait', EVIL]],
  rm: [['rm', EVIL]],
  rename: [['rename', 'box', EVIL]],
  exec: [['exec', EVIL, 'x']],
  logs: [['logs', EVIL]],
  cp: [['cp', `box:/${EVIL}1`, '-']],
  diff: [['diff', 'box']],
  commit: [['commit', EVIL]],
  events: [
    ['events', '--since', '1h', '--until', '0s'],
    ['events', '--since', '1h', '--until', '0s', '--format', 'json'],
    ['events', '--since', '1h', '--until', '0s', '--format', '{{.Actor.Attributes}}'],
    ['events', '--filter', EVIL],
  ],
  'volume create': [['volume', 'create', EVIL]],
  'volume ls': [['volume', 'ls', '--filter', `${EVIL}=x`]],
  'volume inspect': [['volume', 'inspect', EVIL]],
  'volume rm': [
    ['volume', 'rm', EVIL],
    ['volume', 'rm', '-f', EVIL],
  ],
  'network inspect': [['network', 'inspect', EVIL]],
  'buildx inspect': [['buildx', 'inspect', EVIL]],
  'buildx create': [
    ['buildx', 'create', EVIL],
    ['buildx', 'create', '--name', EVIL],
  ],
  'buildx use': [['buildx', 'use', EVIL]],
  'buildx rm': [['buildx', 'rm', EVIL]],
  'buildx stop': [['buildx', 'stop', EVIL]],
  'buildx install': [['buildx', 'install', EVIL]],
  export: [['export', EVIL]],
  sbom: [
    ['sbom', EVIL],
    ['sbom', 'one'],
  ],
  'system df': [
    ['system', 'df', '-v'],
    ['system', 'df', '--format', 'json'],
  ],
  'system check': [['system', 'check']],
  prune: [['prune', '-f', '--dry-run']],
  'image prune': [['image', 'prune', '-f', '--filter', `label=${EVIL}`]],
  'builder prune': [['builder', 'prune', '-f', '--dry-run']],
  'container prune': [['container', 'prune', '-f', '--filter', `label=${EVIL}`]],
};

/** Commands that print nothing of others. */
const NOTHING_FOREIGN: readonly string[] = [
  'bench run',
  'buildx ls',
  'buildx version',
  'completion',
  'context export',
  'context show',
  'info',
  'doctor',
  'network ls',
  'version',
  // Of volumes only their names, and those have letters and digits alone.
  'volume prune',
];

test('every command is asked', async () => {
  const asked = new Set([...Object.keys(LINES), ...NOTHING_FOREIGN]);
  for (const { name, load } of COMMANDS)
    if ((await load()).hidden !== true) expect(asked).toContain(name);
});

test('what is shown of a name has no controls and no orders, and is shown the same way twice', () => {
  const shown = visible(EVIL);
  expect(shown).not.toMatch(CONTROLS);
  expect(shown).not.toMatch(ORDERS);
  expect(visible(shown)).toBe(shown);
});

describeWith('foreign names', { programs: ['script', 'git'] }, () => {
  let mbuild: Mbuild;
  let values: Readonly<Record<string, string>>;
  let registry: Server;

  beforeAll(async () => {
    const root = temp.dir('store');
    mbuild = new Mbuild(root);
    registry = await hostileRegistry();
    const context = evilContext(temp.dir('context'), '1');
    const again = evilContext(temp.dir('context'), '22');
    const evil = ['--build-arg', `V=${EVIL}`, '--label', `${EVIL}=${EVIL}`];
    await mbuild.ok(['build', '-q', '-t', 'one', ...evil, context]);
    await mbuild.ok(['build', '-q', '-t', 'two', ...evil, again]);
    await mbuild.ok(['create', '--name', 'box', '--label', `${EVIL}=x`, 'one', FLAT, EVIL]);
    const file = writeFiles(temp.dir('file'), { [`${EVIL}2`]: 'x' });
    await mbuild.ok(['cp', join(file, `${EVIL}2`), 'box:/']);
    const { port } = registry.address() as AddressInfo;
    await mbuild.ok(['tag', 'one', `127.0.0.1:${port}/one`]);
    values = {
      '{context}': context,
      '{evilfile}': join(
        writeFiles(temp.dir('file'), {
          [`D${FLAT}`]: `FROM scratch\nLABEL "${FLAT}"=x\nCOPY "${FLAT}" /\n`,
        }),
        `D${FLAT}`,
      ),
      '{bakefile}': join(
        writeFiles(temp.dir('bake'), {
          'docker-bake.json': JSON.stringify({ target: { default: { labels: { [EVIL]: EVIL } } } }),
        }),
        'docker-bake.json',
      ),
      '{log}': join(
        writeFiles(temp.dir('log'), {
          log: `#5 [1/1] RUN echo ${FLAT}\n#5 DONE 1.5s\n`,
        }),
        'log',
      ),
      '{git}': evilRepository(evilContext(temp.dir('git'), '1')),
      '{registry}': `127.0.0.1:${port}`,
    };
  });
  afterAll(() => registry.close());

  const lines = Object.entries(LINES).flatMap(([name, forms]) =>
    forms.map((form): [string, readonly string[]] => [
      `${name}: ${visible(form.join(' ')).slice(0, 60)}`,
      form,
    ]),
  );
  const fill = (word: string): string =>
    Object.entries(values).reduce((text, [key, value]) => text.replaceAll(key, value), word);
  const env = (): Record<string, string> =>
    cleanEnv({ MBUILD_ROOT: mbuild.root, NO_COLOR: '1', TERM: 'dumb' });

  test.each(lines)('%s, on a terminal', async (_, form) => {
    const quoted = [MBUILD, ...form.map(fill)].map((word) => `'${word.replaceAll("'", "'\\''")}'`);
    const { stdout } = await command('script', ['-qec', quoted.join(' '), '/dev/null'], {
      env: env(),
    });
    const text = stdout.replaceAll('\r\n', '\n');
    expect(text).not.toMatch(CONTROLS);
    expect(text).not.toMatch(ORDERS);
    expect(text).not.toContain('INTERNAL');
  });

  test.each(lines)('%s, in a pipe', async (_, form) => {
    const { stdout, stderr } = await command(MBUILD, form.map(fill), { env: env() });
    // A script is given the values of `inspect -f` as they are.
    if (!form.includes('-f') || !form.includes('inspect')) expect(stdout).not.toMatch(CONTROLS);
    expect(stderr).not.toMatch(CONTROLS);
    expect(stdout).not.toMatch(ORDERS);
    expect(stderr).not.toMatch(ORDERS);
  });

  test('a value goes to a script with its line feeds, and JSON keeps every character', async () => {
    await mbuild.ok(['build', '-q', '-t', 'lines', '--label', 'k=a\nb', values['{context}'] ?? '']);
    expect(await mbuild.ok(['inspect', '-f', '{{.Config.Labels.k}}', 'lines'])).toBe('a\nb');
    const { Config } = await mbuild.inspect('one');
    expect(Object.entries(Config.Labels ?? {})).toContainEqual([EVIL, EVIL]);
  });
});

function evilContext(dir: string, content: string): string {
  return writeFiles(dir, {
    Dockerfile:
      'FROM scratch\nARG V=x\nENV E=$V\nLABEL plain=$V\nCOPY . /d/\nCOPY . /d2/\nCOPY Dockerfile /d/\n',
    '.dockerignore': '*out*\n',
    [EVIL]: content,
    [`${EVIL}out`]: 'x',
  });
}

/** A repository whose branch and subject are no better than its files. */
function evilRepository(dir: string): string {
  const git = (...args: string[]): void => {
    const { status, stderr } = spawnSync('git', ['-C', dir, ...args], { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
  };
  const user = ['-c', 'user.name=n', '-c', 'user.email=e@e'];
  git('init', '-q', '-b', 'b\u202e##\u2028vso');
  git('add', '.');
  git(...user, 'commit', '-q', '-m', FLAT);
  return dir;
}

/** Answers everything with an error whose message gives orders. */
async function hostileRegistry(): Promise<Server> {
  const server = createServer((request, response) => {
    if (request.url === '/v2/') return void response.end('{}');
    response.statusCode = 403;
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ errors: [{ code: EVIL, message: EVIL, detail: EVIL }] }));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return server;
}
