import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import type { BuildOptions, ContextSource, OutputSpec, SecretSource } from '../build';
import { isGitAddress } from '../context/git-url';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import { formatReference, parseReference } from '../oci/reference';
import type { FlagValues } from './args';
import type { BUILD_FLAGS } from './build-flags';
import { readCacheFrom, readCacheTo } from './cache-options';
import { isTrue, readCompression } from './compression';
import { csvFields, splitCsv } from './csv';
import {
  readBytes,
  readCapabilities,
  readHostname,
  readLimits,
  readResources,
  readTimeout,
} from './limit-options';
import { readPlatform } from './services';
import { RLIMITS } from '../sandbox/namespaces/init/syscalls';
import { usage } from './usage';
import { readHostVolume } from './volume-options';

export type BuildFlags = FlagValues<typeof BUILD_FLAGS>;
type Environment = Readonly<Record<string, string | undefined>>;

/** Where context and Dockerfile come from; what standard input turned out to be is known to the caller alone. */
export interface BuildInputs {
  readonly context: ContextSource;
  readonly dockerfile?: BuildOptions['dockerfile'];
}

/** Arguments that are there without being declared: Docker, "Predefined ARGs". */
const PROXY_ARGS = ['HTTP_PROXY', 'HTTPS_PROXY', 'FTP_PROXY', 'NO_PROXY', 'ALL_PROXY'].flatMap(
  (name) => [name, name.toLowerCase()],
);
const OUTPUT_TYPES = ['image', 'registry', 'oci', 'docker', 'tar', 'local'] as const;

/** The options of a build, read from its flags. @throws MbuildError USAGE, UNSUPPORTED, REFERENCE_INVALID, SECRET_MISSING. */
export function buildOptions(
  flags: BuildFlags,
  inputs: BuildInputs,
  env: Environment,
): BuildOptions {
  refuseAttestations(flags);
  const tags = flags.tag.map(readTag);
  const buildArgs = readBuildArgs(flags, env);
  return {
    ...inputs,
    contexts: pairsOf('build-context', flags['build-context']),
    ignoreFile: flags.ignorefile,
    contextModes: flags['context-modes'] as 'own' | 'git',
    tags,
    buildArgs,
    target: flags.target[0],
    targets: flags.target.length > 1 ? flags.target : undefined,
    platforms: flags.platform.flatMap(splitCsv).map(readPlatform),
    labels: pairsOf('label', flags.label, true),
    annotations: readAnnotations(flags.annotation),
    noCache: flags['no-cache'],
    noCacheFrom: flags['no-cache-from'],
    noCacheMounts: flags['no-cache-mounts'],
    noCacheFilter: flags['no-cache-filter'].flatMap(splitCsv),
    cacheFrom: flags['cache-from'].map((text) => readCacheFrom(text, env)),
    cacheTo: flags['cache-to'].map((text) => readCacheTo(text, env)),
    pull: readPull(flags.pull),
    network: flags.network as 'default' | 'host' | 'none',
    extraHosts: flags['add-host'].map(readHost),
    resolver: {
      nameservers: flags.dns.map(readAddress),
      search: flags['dns-search'],
      options: flags['dns-option'],
    },
    volumes: flags.volume.length === 0 ? undefined : flags.volume.map(readHostVolume),
    ulimits: flags.ulimit.map(readUlimit),
    shmSize: flags['shm-size'] === undefined ? undefined : readBytes('shm-size', flags['shm-size']),
    limits: readLimits(readResources(flags.resource, flags)),
    stepRetries: flags['retry-step'],
    stepTimeout: readTimeout('step-timeout', flags['step-timeout']),
    capabilities: readCapabilities(flags),
    noNewPrivileges: flags['no-new-privileges'] || undefined,
    hostname: readHostname(flags.hostname),
    secrets: flags.secret.map((text) => readSecret(text, env)),
    ssh: flags.ssh.map((text) => readSsh(text, env)),
    allow: flags.allow.flatMap(splitCsv).map(readEntitlement),
    cdiSpecDirs: flags['cdi-spec-dir'],
    outputs: readOutputs(flags, tags),
    jobs: readJobs(flags.jobs),
    sourceDateEpoch: readEpoch(buildArgs['SOURCE_DATE_EPOCH']),
    format: flags.format as 'oci' | 'docker' | undefined,
  };
}

/** A context as written: a folder, a git or http address. (`-` is the caller's.) */
export function readContext(text: string): ContextSource {
  if (isGitAddress(text)) return { kind: 'git', url: text };
  if (/^https?:\/\//.test(text)) return { kind: 'http', url: text };
  return { kind: 'directory', path: text };
}

/**
 * One `--output`: `type=…,dest=…`, a bare path (a folder), `-` (a tar on standard output).
 * An image goes by the names of `--tag` unless it has `name=` of its own.
 */
export function readOutput(text: string, tags: readonly string[]): OutputSpec {
  const fields = csvFields(text);
  const [only] = fields;
  if (fields.length === 1 && only !== undefined && only.value === undefined)
    return only.key === '-' ? { type: 'tar', dest: '-' } : { type: 'local', dest: text };
  const values = new Map<string, string>();
  for (const { key, value } of fields) {
    if (value === undefined)
      throw usage(
        `invalid value ${JSON.stringify(key)} in --output ${JSON.stringify(text)}`,
        'fields are key=value',
      );
    values.set(key, value);
  }
  const type = values.get('type');
  if (type === undefined)
    throw usage(
      `--output ${JSON.stringify(text)} has no type`,
      `types are ${OUTPUT_TYPES.join(', ')}`,
    );
  const known = OUTPUT_TYPES.find((candidate) => candidate === type);
  if (known === undefined)
    throw usage(
      `unknown type ${JSON.stringify(type)} in --output`,
      didYouMean(type, OUTPUT_TYPES) ?? `types are ${OUTPUT_TYPES.join(', ')}`,
    );
  return outputOf(known, values, tags, text);
}

function outputOf(
  type: (typeof OUTPUT_TYPES)[number],
  values: ReadonlyMap<string, string>,
  tags: readonly string[],
  text: string,
): OutputSpec {
  const dest = values.get('dest');
  switch (type) {
    case 'image':
    case 'registry': {
      const names = values.has('name') ? splitCsv(values.get('name') ?? '').map(readTag) : tags;
      const push = type === 'registry' || isTrue('push', values.get('push'));
      if (push && names.length === 0)
        throw usage(
          `--output ${JSON.stringify(text)} has no name to push to`,
          'add name=… or --tag',
        );
      return {
        type: 'image',
        push,
        names,
        compression: readCompression(values),
        ...(type === 'registry' ? { onlyPush: true } : {}),
      };
    }
    case 'tar':
      return { type, dest: dest ?? '-' };
    case 'local':
      if (dest === undefined || dest === '') throw usage('--output type=local needs dest=FOLDER');
      return { type, dest };
    default: {
      if (type === 'docker' && dest === undefined && !values.has('tar'))
        return {
          type: 'daemon',
          names: values.has('name') ? splitCsv(values.get('name') ?? '').map(readTag) : tags,
        };
      const tar = !values.has('tar') || isTrue('tar', values.get('tar'));
      if (!tar && (dest === undefined || dest === '-'))
        throw usage(`--output type=${type},tar=false needs dest=FOLDER`);
      return { type, dest: dest ?? '-', tar, compression: readCompression(values) };
    }
  }
}

function readOutputs(flags: BuildFlags, tags: readonly string[]): readonly OutputSpec[] {
  const given = flags.output.map((text) => readOutput(text, tags));
  // What goes into docker is kept here too, as it is where docker builds.
  const loads = flags.load || given.some(({ type }) => type === 'daemon');
  const outputs: OutputSpec[] = [
    ...(loads ? [{ type: 'image', push: false, names: tags } as const] : []),
    ...(flags.load ? [{ type: 'daemon', names: tags } as const] : []),
    ...given,
  ];
  if (!flags.push) return outputs;
  if (tags.length === 0)
    throw usage('--push has no name to push to', 'add --tag registry/repository:tag');
  return [...outputs, { type: 'image', push: true, names: tags, onlyPush: true }];
}

/** Files first, then the flags; SOURCE_DATE_EPOCH and the proxies of the environment unless they are set. */
function readBuildArgs(flags: BuildFlags, env: Environment): Readonly<Record<string, string>> {
  const args = new Map<string, string>();
  const lines = flags['build-arg-file'].flatMap(readArgFile);
  for (const text of [...lines, ...flags['build-arg']]) {
    const at = text.indexOf('=');
    const name = at < 0 ? text : text.slice(0, at);
    if (name === '') throw usage(`--build-arg ${JSON.stringify(text)} has no name`);
    const value = at < 0 ? env[name] : text.slice(at + 1);
    if (value !== undefined) args.set(name, value);
  }
  const epoch = flags['source-date-epoch'];
  if (epoch !== undefined && !args.has('SOURCE_DATE_EPOCH'))
    args.set('SOURCE_DATE_EPOCH', String(epoch));
  for (const name of PROXY_ARGS) {
    const value = env[name];
    if (value !== undefined && value !== '' && !args.has(name)) args.set(name, value);
  }
  return Object.fromEntries(args);
}

/** The time of the image: the build argument has the flag's where it is not given itself. */
function readEpoch(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  if (!/^\d{1,12}$/.test(text))
    throw usage(
      `--build-arg SOURCE_DATE_EPOCH=${text} is no time`,
      'give whole seconds since 1970, as `date +%s` prints them',
    );
  return Number(text);
}

function readArgFile(path: string): string[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw usage(`cannot read --build-arg-file ${path} (${errnoOf(error) ?? 'error'})`);
  }
  return text.split(/\r?\n/).filter((line) => line.trim() !== '' && !line.startsWith('#'));
}

function readTag(text: string): string {
  const reference = parseReference(text);
  if (reference === undefined || reference.digest !== undefined) {
    const hint =
      text !== text.toLowerCase() && parseReference(text.toLowerCase()) !== undefined
        ? `repositories are written in lower case: ${text.toLowerCase()}`
        : 'a name is [registry/]repository[:tag]';
    throw new MbuildError('REFERENCE_INVALID', `invalid tag ${JSON.stringify(text)}`, { hint });
  }
  return formatReference(reference);
}

function readPull(text: string | undefined): BuildOptions['pull'] {
  if (text === 'true') return 'always';
  if (text === 'false') return 'missing';
  return text as BuildOptions['pull'];
}

/** What BuildKit knows of `--allow`; ours read the context in place and have the host's agents, so that `fs` and `ssh` say nothing. */
const ENTITLEMENTS: readonly string[] = [
  'network.host',
  'security.insecure',
  'device',
  'fs',
  'fs.read',
  'fs.write',
  'ssh',
];

function readEntitlement(text: string): string {
  const [name = ''] = text.split('=');
  if (!ENTITLEMENTS.includes(name))
    throw usage(
      `unknown entitlement ${JSON.stringify(text)} in --allow`,
      didYouMean(name, ENTITLEMENTS) ??
        'known are network.host, security.insecure, device and device=NAME',
    );
  return text;
}

/** `host:ip` or `host=ip`; an IPv6 address may stand in brackets. */
export function readHost(text: string): { readonly name: string; readonly ip: string } {
  const match = /^([^\s:=]+)[:=]\[?([0-9a-fA-F.:]+)\]?$/.exec(text);
  const [, name = '', ip = ''] = match ?? [];
  if (isIP(ip) === 0)
    throw usage(
      `invalid --add-host ${JSON.stringify(text)}`,
      'it is name:address, e.g. db:10.0.0.5',
    );
  return { name, ip };
}

function readJobs(jobs: number | undefined): number | undefined {
  if (jobs === 0) throw usage('--jobs 0 would run no step', 'it is a number from 1 on');
  return jobs;
}

function readAddress(text: string): string {
  if (isIP(text) === 0)
    throw usage(`invalid --dns ${JSON.stringify(text)}`, 'it is an address, e.g. 10.0.0.53');
  return text;
}

/** `NAME=SOFT[:HARD]`; -1 and `unlimited` are no limit. */
export function readUlimit(text: string): {
  readonly name: string;
  readonly soft: number;
  readonly hard: number;
} {
  const match = /^([a-z]+)=(-1|\d{1,15}|unlimited)(?::(-1|\d{1,15}|unlimited))?$/.exec(text);
  if (match === null)
    throw usage(
      `invalid --ulimit ${JSON.stringify(text)}`,
      'it is name=soft[:hard], e.g. nofile=1024:2048',
    );
  if (RLIMITS[match[1] ?? ''] === undefined)
    throw usage(
      `invalid --ulimit ${JSON.stringify(text)}: there is no such limit`,
      didYouMean(match[1] ?? '', Object.keys(RLIMITS)) ??
        `limits are ${Object.keys(RLIMITS).join(', ')}`,
    );
  const limit = (value: string): number => (value === 'unlimited' ? -1 : Number(value));
  const soft = limit(match[2] ?? '');
  const hard = match[3] === undefined ? soft : limit(match[3]);
  if (hard !== -1 && (soft === -1 || soft > hard))
    throw usage(`invalid --ulimit ${JSON.stringify(text)}: the soft limit is above the hard one`);
  return { name: match[1] ?? '', soft, hard };
}

/** `id=NAME[,src=FILE|,env=VARIABLE]`; with an id alone the variable of that name, else the file. */
function readSecret(text: string, env: Environment): SecretSource {
  const values = new Map<string, string>();
  for (const { key, value } of csvFields(text)) {
    if (value === undefined)
      throw usage('a field of --secret is not key=value', 'it is id=NAME[,src=FILE|,env=VARIABLE]');
    if (!['id', 'src', 'source', 'env', 'type'].includes(key))
      throw usage(
        `unknown key ${JSON.stringify(key)} in --secret`,
        didYouMean(key, ['id', 'src', 'source', 'env', 'type']),
      );
    values.set(key === 'source' ? 'src' : key, value);
  }
  const id = values.get('id') ?? values.get('src') ?? values.get('env');
  if (id === undefined || id === '')
    throw usage('--secret has no id', 'it is id=NAME[,src=FILE|,env=VARIABLE]');
  const type = values.get('type');
  const source = values.get('src');
  // buildx, "--secret": `type=env,src=NAME` names a variable.
  const variable =
    values.get('env') ??
    (type === 'env'
      ? (source ?? id)
      : source === undefined && type !== 'file' && env[id] !== undefined
        ? id
        : undefined);
  if (variable === undefined) return { id, path: source ?? id };
  if (env[variable] === undefined)
    throw new MbuildError(
      'SECRET_MISSING',
      `the variable ${variable} of --secret id=${id} is not set`,
    );
  return { id, env: variable };
}

/** `default` or `ID[=SOCKET]`. */
function readSsh(text: string, env: Environment): { readonly id: string; readonly socket: string } {
  const at = text.indexOf('=');
  const id = at < 0 ? text : text.slice(0, at);
  const socket = at < 0 ? env['SSH_AUTH_SOCK'] : text.slice(at + 1);
  if (socket === undefined || socket === '')
    throw new MbuildError('SECRET_MISSING', `--ssh ${text}: SSH_AUTH_SOCK is not set`, {
      hint: 'start ssh-agent, or name its socket: --ssh default=SOCKET',
    });
  return { id: id === '' ? 'default' : id, socket };
}

/** Annotations of the manifest; other levels need an index. */
function readAnnotations(texts: readonly string[]): Readonly<Record<string, string>> {
  const plain = texts.map((text) => {
    const match =
      /^((?:manifest|index|manifest-descriptor|index-descriptor)(?:\[[^\]]*\])?(?:,[a-z[\]/-]+)*):(.*)$/s.exec(
        text,
      );
    if (match === null) return text;
    if (match[1] !== 'manifest')
      throw new MbuildError(
        'UNSUPPORTED',
        `--annotation ${JSON.stringify(text)}: only the manifest can be annotated yet`,
      );
    return match[2] ?? '';
  });
  return pairsOf('annotation', plain);
}

/** `KEY=VALUE` texts as an object; with `bare` a key alone has an empty value. */
export function pairsOf(
  flag: string,
  texts: readonly string[],
  bare = false,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf('=');
      if (at < 0 && bare && text !== '') return [text, ''];
      if (at < 1) throw usage(`invalid --${flag} ${JSON.stringify(text)}`, 'it is KEY=VALUE');
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}

function refuseAttestations(flags: BuildFlags): void {
  for (const name of ['provenance', 'sbom'] as const) {
    const value = flags[name];
    if (value !== undefined && value !== 'false' && value !== '0')
      throw new MbuildError('UNSUPPORTED', `--${name}=${value} is not supported`, {
        hint: `--${name}=false is`,
      });
  }
}
