import { splitCsv } from '../diagnostics/csv';
import { MbuildError } from '../diagnostics/error';

type Environment = Readonly<Record<string, string | undefined>>;

/** How an input of the action is handed to `mbuild build`. */
type Handing =
  /** `--flag VALUE` when it is not empty. */
  | { readonly kind: 'value'; readonly flag: string }
  /** `--flag` for `true`. */
  | { readonly kind: 'switch'; readonly flag: string }
  /** `--flag VALUE` for each line; `commas` separate values as well. */
  | { readonly kind: 'list'; readonly flag: string; readonly commas: boolean }
  /** `--flag=VALUE`, whose value is optional. */
  | { readonly kind: 'attached'; readonly flag: string }
  /** Secrets, and the context: read by a function of their own. */
  | { readonly kind: 'own' };

const value = (flag: string): Handing => ({ kind: 'value', flag });
const flagged = (flag: string): Handing => ({ kind: 'switch', flag });
const lines = (flag: string): Handing => ({ kind: 'list', flag, commas: false });
const words = (flag: string): Handing => ({ kind: 'list', flag, commas: true });

/** Every input of action.yml: docker/build-push-action's, with the same meaning. */
export const INPUTS: Readonly<Record<string, Handing>> = {
  'add-hosts': words('add-host'),
  allow: words('allow'),
  annotations: lines('annotation'),
  attests: lines('attest'),
  'build-args': lines('build-arg'),
  'build-contexts': lines('build-context'),
  builder: value('builder'),
  'cache-from': lines('cache-from'),
  'cache-to': lines('cache-to'),
  call: value('call'),
  'cgroup-parent': value('cgroup-parent'),
  context: { kind: 'own' },
  file: value('file'),
  'github-token': { kind: 'own' },
  labels: lines('label'),
  load: flagged('load'),
  network: value('network'),
  'no-cache': flagged('no-cache'),
  'no-cache-filters': words('no-cache-filter'),
  outputs: lines('output'),
  platforms: words('platform'),
  provenance: { kind: 'attached', flag: 'provenance' },
  pull: flagged('pull'),
  push: flagged('push'),
  sbom: { kind: 'attached', flag: 'sbom' },
  'secret-envs': { kind: 'own' },
  'secret-files': { kind: 'own' },
  secrets: { kind: 'own' },
  'shm-size': value('shm-size'),
  ssh: words('ssh'),
  tags: words('tag'),
  target: value('target'),
  ulimit: lines('ulimit'),
};

/** What the action runs. */
export interface ActionCall {
  /** Words behind `mbuild build`. */
  readonly argv: readonly string[];
  /** What the build's environment has besides the action's own: values of secrets. */
  readonly env: Readonly<Record<string, string>>;
  /** Texts that the runner is told to hide. */
  readonly secrets: readonly string[];
}

/** Reads the inputs that the runner put into the environment. @throws MbuildError USAGE. */
export function readCall(env: Environment): ActionCall {
  const context = inputOf('context', env);
  const secrets = readSecrets(env);
  return {
    argv: [
      ...Object.entries(INPUTS).flatMap(([name, handing]) => wordsOf(name, handing, env)),
      ...secrets.flags.map((text) => `--secret=${text}`),
      '--',
      context === '' ? repositoryContext(env) : context,
    ],
    env: secrets.env,
    secrets: Object.values(secrets.env),
  };
}

function wordsOf(name: string, handing: Handing, env: Environment): string[] {
  const text = inputOf(name, env);
  switch (handing.kind) {
    case 'own':
      return [];
    case 'value':
    case 'attached':
      return text === '' ? [] : [`--${handing.flag}=${text}`];
    case 'switch':
      return readBoolean(name, text) ? [`--${handing.flag}`] : [];
    case 'list':
      return listOf(text, handing.commas).map((each) => `--${handing.flag}=${each}`);
  }
}

/** As actions/toolkit names it: packages/core/src/core.ts, `getInput`. */
function inputOf(name: string, env: Environment): string {
  return (env[`INPUT_${name.replace(/ /g, '_').toUpperCase()}`] ?? '').trim();
}

// YAML 1.2's core schema, as actions/toolkit's getBooleanInput has it.
function readBoolean(name: string, text: string): boolean {
  if (text === '') return false;
  if (['true', 'True', 'TRUE'].includes(text)) return true;
  if (['false', 'False', 'FALSE'].includes(text)) return false;
  throw new MbuildError('USAGE', `the input ${name} is ${JSON.stringify(text)}`, {
    hint: 'write true or false',
  });
}

/**
 * Values of a list, one a line. A value in double quotes may go over several lines, and `""` in it is one quote.
 * @throws MbuildError USAGE for quotes that do not match.
 */
export function listOf(text: string, commas: boolean): string[] {
  const records = recordsOf(text);
  const values = commas
    ? records.flatMap(splitCsv)
    : records.map((record) => (record.startsWith('"') ? (splitCsv(record)[0] ?? '') : record));
  return values.map((each) => each.trim()).filter((each) => each !== '');
}

/** Lines, but those within quotes belong together. */
function recordsOf(text: string): string[] {
  const records: string[] = [];
  let open: string | undefined;
  for (const line of text.split(/\r?\n/)) {
    const record: string = open === undefined ? line.trim() : `${open}\n${line}`;
    const isQuoted = record.startsWith('"') && (record.match(/"/g)?.length ?? 0) % 2 === 1;
    open = isQuoted ? record : undefined;
    if (!isQuoted && record !== '') records.push(record);
  }
  if (open !== undefined)
    throw new MbuildError(
      'USAGE',
      `a quote is open at the end of a list: ${open.split('\n')[0] ?? ''}`,
      {
        hint: 'a value of several lines stands in double quotes as a whole',
      },
    );
  return records;
}

/** Secrets go by variables of the build's environment: no file of the runner holds them. */
function readSecrets(env: Environment): {
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
} {
  const given = listOf(inputOf('secrets', env), false).map((text) => pairOf('secrets', text));
  const token = inputOf('github-token', env);
  const server = hostOf(env);
  const own =
    token === '' || given.some(([id]) => id.startsWith('GIT_AUTH_TOKEN'))
      ? []
      : [[`GIT_AUTH_TOKEN.${server}`, token] as const];
  const named = [...given, ...own].map(([id, text], i) => ({
    text,
    id,
    variable: `MBUILD_ACTION_SECRET_${i}`,
  }));
  const of = (input: string, key: string): string[] =>
    listOf(inputOf(input, env), input === 'secret-envs').map((text) => {
      const [id, place] = pairOf(input, text);
      return quoted(`id=${id}`, `${key}=${place}`);
    });
  return {
    flags: [
      ...named.map(({ id, variable }) => quoted(`id=${id}`, `env=${variable}`)),
      ...of('secret-envs', 'env'),
      ...of('secret-files', 'src'),
    ],
    env: Object.fromEntries(named.map(({ variable, text }) => [variable, text])),
  };
}

function pairOf(input: string, text: string): readonly [string, string] {
  const at = text.indexOf('=');
  // The value may be secret.
  if (at < 1)
    throw new MbuildError('USAGE', `a line of the input ${input} has no name and value`, {
      hint: 'write NAME=VALUE on each line',
    });
  return [text.slice(0, at), text.slice(at + 1)];
}

/** Fields of a flag, quoted where they have commas or quotes. */
function quoted(...fields: readonly string[]): string {
  return fields
    .map((field) => (/[",\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field))
    .join(',');
}

/** What is built without the input `context`: the repository at the commit that the job is about. */
function repositoryContext(env: Environment): string {
  const { GITHUB_REPOSITORY: repository, GITHUB_REF: ref = '', GITHUB_SHA: sha = '' } = env;
  if (repository === undefined || repository === '')
    throw new MbuildError('USAGE', 'there is no input context, and GITHUB_REPOSITORY is not set', {
      hint: 'write "context: ." to build what actions/checkout fetched',
    });
  const at = ref.startsWith('refs/pull/') || sha === '' ? ref : sha;
  return `${serverOf(env)}/${repository}.git#${at}`;
}

function serverOf(env: Environment): string {
  return (env['GITHUB_SERVER_URL'] ?? 'https://github.com').replace(/\/+$/, '');
}

function hostOf(env: Environment): string {
  const server = serverOf(env);
  return URL.canParse(server) ? new URL(server).host : server;
}
