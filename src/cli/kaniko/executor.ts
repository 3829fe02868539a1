import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { MbuildError } from '../../diagnostics/error';
import { formatReference, parseReference } from '../../oci/reference';
import type { FlagValues } from '../args';
import type { GLOBAL_FLAGS } from '../command';
import { usage } from '../usage';
import { contextOf } from './context';
import type { EXECUTOR_FLAGS } from './flags';

/** The flags of a call of kaniko's executor. */
export type ExecutorFlags = FlagValues<
  Omit<typeof GLOBAL_FLAGS, keyof typeof EXECUTOR_FLAGS> & typeof EXECUTOR_FLAGS
>;
type Environment = Readonly<Record<string, string | undefined>>;

/** `mbuild build` in the words of a call of kaniko's executor. */
export interface BuildCall {
  readonly argv: readonly string[];
  /** What the environment has besides. */
  readonly env: Readonly<Record<string, string>>;
  /** The Authorization header for git, if it has one: the secret GIT_AUTH_HEADER. */
  readonly gitHeader?: string | undefined;
  readonly notes: readonly string[];
}

/** Where mbuild's cache is in a repository that kaniko may use as well. */
const CACHE_TAG = 'mbuild';
/** Tries that a build makes anyhow. */
const LEAST_RETRIES = 4;
/** Levels at which kaniko tells nothing of a build that goes well. */
const SILENT_LEVELS = ['warn', 'error', 'fatal', 'panic'];

/** @throws MbuildError USAGE, UNSUPPORTED, for what kaniko refuses too and for what can't be done here. */
export function buildCallOf(flags: ExecutorFlags, env: Environment): BuildCall {
  refuse(flags);
  const context = contextOf({
    context: flags.context,
    subPath: flags['context-sub-path'],
    git: flags.git,
    env,
  });
  const isGit = /^[a-z]+:\/\/[^#]*\.git(?:#|$)/.test(context);
  const git = isGit ? gitAuthorization(env) : { words: [], gitHeader: undefined };
  const cache = cacheWords(flags);
  return {
    argv: [
      ...storeWords(flags),
      ...sourceWords(flags),
      ...destinationWords(flags),
      ...cache.words,
      ...registryWords(flags),
      ...progressWords(flags),
      ...git.words,
      '--',
      context,
    ],
    env: credentials(flags, env),
    gitHeader: git.gitHeader,
    notes: [
      ...cache.notes,
      ...(flags.target.length > 1
        ? [`only the first --target is built: ${flags.target[0] ?? ''}`]
        : []),
    ],
  };
}

function refuse(flags: ExecutorFlags): void {
  const { destination } = flags;
  if (destination.length === 0 && !flags['no-push'])
    throw usage('there is no --destination', 'name one, or say --no-push');
  for (const name of ['image-name-with-digest-file', 'image-name-tag-with-digest-file'] as const)
    if (destination.length === 0 && flags[name] !== undefined)
      throw usage(`--${name} needs a --destination`, 'its name is what the file holds');
  if (/^https?:\/\//.test(flags.dockerfile ?? ''))
    throw new MbuildError('UNSUPPORTED', '--dockerfile is an address, which is not supported', {
      hint: 'fetch it in a step before',
    });
  if (flags['push-ignore-immutable-tag-errors'] && destination.length > 1)
    throw new MbuildError(
      'UNSUPPORTED',
      '--push-ignore-immutable-tag-errors with several destinations is not supported',
      { hint: 'push each in a call of its own: what was built before comes from the cache' },
    );
}

function sourceWords(flags: ExecutorFlags): string[] {
  return [
    ...(flags.dockerfile === undefined ? [] : [`--file=${flags.dockerfile}`]),
    ...flags['build-arg'].map((each) => `--build-arg=${each}`),
    ...flags.label.map((each) => `--label=${each}`),
    ...flags.annotation.map((each) => `--annotation=${each}`),
    ...flags.secret.map((each) => `--secret=${each}`),
    ...(flags.target[0] === undefined ? [] : [`--target=${flags.target[0]}`]),
    ...optional('platform', flags['custom-platform']),
    ...optional('format', flags['image-format']),
    ...(flags.reproducible ? ['--source-date-epoch=0'] : []),
  ];
}

function destinationWords(flags: ExecutorFlags): string[] {
  const { 'compression-level': level } = flags;
  const form = [
    ...(flags.compression === undefined ? [] : [`,compression=${flags.compression}`]),
    ...(level === undefined || level === '-1' ? [] : [`,compression-level=${level}`]),
  ].join('');
  const places = [
    ...(flags['tar-path'] === undefined ? [] : [`type=docker,${csv('dest', flags['tar-path'])}`]),
    ...(flags['oci-layout-path'] === undefined
      ? []
      : [`type=oci,tar=false,${csv('dest', flags['oci-layout-path'])}`]),
    ...(flags['no-push'] ? [] : ['type=registry']),
  ];
  const checks = !flags['skip-push-permission-check'];
  return [
    ...flags.destination.map((name) => `--tag=${name}`),
    ...places.map((place) => `--output=${place}${form}`),
    ...(checks ? ['--check-push'] : []),
    ...optional('digest-file', flags['digest-file']),
    ...optional('image-name-with-digest-file', flags['image-name-with-digest-file']),
    ...optional('image-name-tag-with-digest-file', flags['image-name-tag-with-digest-file']),
  ];
}

/** kaniko has no cache unless it is asked for one. */
function cacheWords(flags: ExecutorFlags): { readonly words: string[]; readonly notes: string[] } {
  if (!flags.cache) return { words: ['--no-cache'], notes: [] };
  const place = cachePlace(flags);
  const from = place.replace('dest=', 'src=');
  return {
    words: [
      `--cache-from=${from}`,
      ...(flags['no-push-cache'] ? [] : [`--cache-to=${place},mode=max`]),
    ],
    notes: ["the cache has a form of its own: what kaniko left in it can't be read"],
  };
}

function cachePlace(flags: ExecutorFlags): string {
  const given = flags['cache-repo'];
  if (given?.startsWith('oci:') === true)
    return `type=local,${csv('dest', given.slice('oci:'.length))}`;
  const name = given ?? inferredRepository(flags.destination[0]);
  const reference = parseReference(name);
  if (reference === undefined) throw usage(`invalid --cache-repo ${JSON.stringify(name)}`);
  return `type=registry,ref=${formatReference({ ...reference, tag: CACHE_TAG, digest: undefined })}`;
}

/** The repository that kaniko takes without `--cache-repo`. */
function inferredRepository(destination: string | undefined): string {
  const reference = destination === undefined ? undefined : parseReference(destination);
  if (reference === undefined)
    throw usage('--cache needs --cache-repo where there is no --destination');
  return `${reference.registry}/${reference.repository}/cache`;
}

function registryWords(flags: ExecutorFlags): string[] {
  const own = [...flags.destination, ...(flags.cache ? [flags['cache-repo'] ?? ''] : [])].flatMap(
    (name) => parseReference(name)?.registry ?? [],
  );
  return insecureWords(flags, flags.insecure || flags['skip-tls-verify'] ? own : []).concat(
    `--retry=${Math.max(
      LEAST_RETRIES,
      flags['push-retry'] ?? 0,
      flags['image-download-retry'] ?? 0,
      flags['image-fs-extract-retry'] ?? 0,
    )}`,
  );
}

/** Flags of executor and warmer about hosts whose certificates are not checked. */
export function insecureWords(
  flags: Pick<
    ExecutorFlags,
    'insecure-registry' | 'skip-tls-verify-registry' | 'insecure-pull' | 'skip-tls-verify-pull'
  >,
  hosts: readonly string[] = [],
): string[] {
  const all = flags['insecure-pull'] || flags['skip-tls-verify-pull'] ? ['*'] : [];
  const named = [...flags['insecure-registry'], ...flags['skip-tls-verify-registry']];
  return [...new Set([...named, ...hosts, ...all])].map((host) => `--insecure-registry=${host}`);
}

function progressWords(flags: ExecutorFlags): string[] {
  const { verbosity, 'log-format': format } = flags;
  const words = [
    ...(flags['log-timestamp'] ? ['--log-timestamp'] : []),
    ...(verbosity === 'debug' || verbosity === 'trace' ? ['--debug'] : []),
  ];
  if (format === 'json') return [...words, '--progress=rawjson'];
  if (SILENT_LEVELS.includes(verbosity)) return [...words, '--progress=none'];
  return format === 'text' ? [...words, '--progress=plain'] : words;
}

/** The store that the warmer filled, where there is one; `--root` is the user's own word. */
export function storeWords(flags: {
  readonly root: string | undefined;
  readonly 'cache-dir': string;
}): string[] {
  if (flags.root !== undefined) return [`--root=${flags.root}`];
  const store = warmStore(flags['cache-dir']);
  return statSync(store, { throwIfNoEntry: false })?.isDirectory() === true
    ? [`--root=${store}`]
    : [];
}

/** Where the warmer keeps its store. */
export function warmStore(cacheDirectory: string): string {
  return path.join(cacheDirectory, 'mbuild');
}

/** kaniko's images have DOCKER_CONFIG=/kaniko/.docker. */
export function credentials(
  flags: { readonly 'kaniko-dir'?: string | undefined },
  env: Environment,
): Readonly<Record<string, string>> {
  const folder = path.join(flags['kaniko-dir'] ?? '/kaniko', '.docker');
  const isFree = (env['DOCKER_CONFIG'] ?? '') === '';
  return isFree && existsSync(path.join(folder, 'config.json')) ? { DOCKER_CONFIG: folder } : {};
}

/** GIT_TOKEN, or GIT_USERNAME and GIT_PASSWORD, where git is asked: kaniko, "Using Private Git Repository". */
function gitAuthorization(env: Environment): Pick<BuildCall, 'gitHeader'> & {
  readonly words: string[];
} {
  const { GIT_TOKEN: token, GIT_USERNAME: user = '', GIT_PASSWORD: password } = env;
  if (token) return { words: ['--secret=id=GIT_AUTH_TOKEN,env=GIT_TOKEN'] };
  if (!password) return { words: [] };
  return {
    words: [],
    gitHeader: `basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
  };
}

function optional(flag: string, value: string | undefined): string[] {
  return value === undefined ? [] : [`--${flag}=${value}`];
}

/** A field of `--output`, quoted where it has a comma. */
function csv(key: string, value: string): string {
  const field = `${key}=${value}`;
  return /[",]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field;
}
