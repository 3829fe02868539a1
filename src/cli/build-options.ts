import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import type { BuildOptions, ContextSource } from '../build';
import { isGitAddress } from '../context/git-url';
import { errnoOf } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import type { FlagValues } from './args';
import type { BUILD_FLAGS } from './build-flags';
import { readAttestations } from './attest-options';
import { readCacheFrom, readCacheTo } from './cache-options';
import { splitCsv } from '../diagnostics/csv';
import { readEpoch } from '../pipeline/epoch';
import { readTag } from '../output/kinds/image-keys';
import { readAnnotations, readOutputs } from './output-options';
import { pairsOf } from './pairs';
import { readSecret, readSsh } from './secret-options';
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

/**
 * Where context and Dockerfile come from; what standard input turned out to be is known to the
 * caller alone.
 */
export interface BuildInputs {
  readonly context: ContextSource;
  readonly dockerfile?: BuildOptions['dockerfile'];
}

/** Arguments that are there without being declared: Docker, "Predefined ARGs". */
const PROXY_ARGS = ['HTTP_PROXY', 'HTTPS_PROXY', 'FTP_PROXY', 'NO_PROXY', 'ALL_PROXY'].flatMap(
  (name) => [name, name.toLowerCase()],
);

/**
 * The options of a build, read from its flags.
 * @throws MbuildError USAGE, UNSUPPORTED, REFERENCE_INVALID, SECRET_MISSING.
 */
export function buildOptions(
  flags: BuildFlags,
  inputs: BuildInputs,
  env: Environment,
): BuildOptions {
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
    shmSize: bytesOf('shm-size', flags['shm-size']),
    limits: readLimits(readResources(flags.resource, flags)),
    stepRetries: flags['retry-step'],
    keepFailed: bytesOf('keep-failed', flags['keep-failed']),
    stepLogLimit: bytesOf('step-log-limit', flags['step-log-limit']),
    stepTimeout: readTimeout('step-timeout', flags['step-timeout']),
    capabilities: readCapabilities(flags),
    noNewPrivileges: flags['no-new-privileges'] || undefined,
    hostname: readHostname(flags.hostname),
    secrets: flags.secret.map((text) => readSecret(text, env)),
    ssh: flags.ssh.map((text) => readSsh(text, env)),
    allow: flags.allow.flatMap(splitCsv).map(readEntitlement),
    cdiSpecDirs: flags['cdi-spec-dir'],
    outputs: readOutputs(flags, tags),
    attestations: readAttestations(flags),
    sourcePolicyFile: flags['source-policy-file'],
    jobs: readJobs(flags.jobs),
    sourceDateEpoch: readEpoch(buildArgs['SOURCE_DATE_EPOCH'], '--build-arg'),
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
 * Files first, then the flags; SOURCE_DATE_EPOCH and the proxies of the environment unless they are
 * set.
 */
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

function readArgFile(path: string): string[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw usage(`cannot read --build-arg-file ${path} (${errnoOf(error) ?? 'error'})`);
  }
  return text.split(/\r?\n/).filter((line) => line.trim() !== '' && !line.startsWith('#'));
}

function readPull(text: string | undefined): BuildOptions['pull'] {
  if (text === 'true') return 'always';
  if (text === 'false') return 'missing';
  return text as BuildOptions['pull'];
}

/**
 * What BuildKit knows of `--allow`; ours read the context in place and have the host's agents, so
 * that `fs` and `ssh` say nothing.
 */
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
        'entitlements are network.host, security.insecure, device and device=NAME',
    );
  return text;
}

/** The host itself, as processes reach it that share its network. */
const HOST_GATEWAY = '127.0.0.1';

/**
 * `host:ip` or `host=ip`; an IPv6 address may stand in brackets. `host-gateway` is the host itself.
 */
export function readHost(text: string): { readonly name: string; readonly ip: string } {
  const gateway = /^([^\s:=]+)[:=]host-gateway$/.exec(text)?.[1];
  if (gateway !== undefined) return { name: gateway, ip: HOST_GATEWAY };
  const match = /^([^\s:=]+)[:=]\[?([0-9a-fA-F.:]+)\]?$/.exec(text);
  const [, name = '', ip = ''] = match ?? [];
  if (isIP(ip) === 0)
    throw usage(
      `invalid --add-host ${JSON.stringify(text)}`,
      'write name:address, e.g. db:10.0.0.5 or db:host-gateway',
    );
  return { name, ip };
}

function bytesOf(flag: string, text: string | undefined): number | undefined {
  return text === undefined ? undefined : readBytes(flag, text);
}

function readJobs(jobs: number | undefined): number | undefined {
  if (jobs === 0) throw usage('--jobs 0 would not run any step', 'write a number from 1 up');
  return jobs;
}

function readAddress(text: string): string {
  if (isIP(text) === 0)
    throw usage(`invalid --dns ${JSON.stringify(text)}`, 'write an address, e.g. 10.0.0.53');
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
      'write name=soft[:hard], e.g. nofile=1024:2048',
    );
  if (RLIMITS[match[1] ?? ''] === undefined)
    throw usage(
      `invalid --ulimit ${JSON.stringify(text)}: unknown limit`,
      didYouMean(match[1] ?? '', Object.keys(RLIMITS)) ??
        `limits are ${Object.keys(RLIMITS).join(', ')}`,
    );
  const limit = (value: string): number => (value === 'unlimited' ? -1 : Number(value));
  const soft = limit(match[2] ?? '');
  const hard = match[3] === undefined ? soft : limit(match[3]);
  if (hard !== -1 && (soft === -1 || soft > hard))
    throw usage(
      `invalid --ulimit ${JSON.stringify(text)}: the soft limit is higher than the hard limit`,
    );
  return { name: match[1] ?? '', soft, hard };
}
