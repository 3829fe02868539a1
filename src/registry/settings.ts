import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { homeDirectory } from '../linux/home';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { JsonError, list, parseJsonObject, text, type ReadObject } from '../oci/json';
import { DEFAULT_REGISTRY } from '../oci/reference';
import { hostnameOf, inNetwork } from './proxy';
import type { Repository } from './registry';
import { TomlError, parseToml, type TomlValue } from './toml';

/** Another place that has the same images. */
export interface Mirror {
  /** `host[:port][/path]`, in the place of the rule's prefix. */
  readonly location: string;
  /** What is taken from here. */
  readonly pulls: 'all' | 'digest-only' | 'tag-only';
}

/** What applies to the repositories under a prefix. containers-registries.conf(5). */
export interface RegistryRule {
  /** `host[:port][/path]`, or `*.domain`. */
  readonly prefix: string;
  /** Where the images really are, in the place of the prefix. */
  readonly location?: string | undefined;
  readonly blocked: boolean;
  readonly mirrors: readonly Mirror[];
  /** What no mirror has is not looked for at the registry itself. */
  readonly mirrorsOnly?: boolean | undefined;
}

/** What the machine's files say about registries. */
export interface RegistrySettings {
  /**
   * `host[:port]`, `host[:port]/path` or an IPv4 network, that may be spoken to without a valid
   * certificate.
   */
  readonly insecure: readonly string[];
  readonly rules: readonly RegistryRule[];
}

type Environment = Readonly<Record<string, string | undefined>>;

/** A repository where it may be fetched from, in the order of preference. */
export interface Place extends Repository {
  readonly pulls: Mirror['pulls'];
}

/**
 * Reads docker's daemon.json (`registry-mirrors`, which are Docker Hub's, and
 * `insecure-registries`) and registries.conf with its drop-ins, each the user's own or else the
 * machine's. `CONTAINERS_REGISTRIES_CONF` names another registries.conf.
 * @throws MbuildError USAGE naming a file that cannot be understood.
 */
export function readRegistrySettings(env: Environment): RegistrySettings {
  const home = homeDirectory(env) ?? '/';
  const config = env['XDG_CONFIG_HOME'] || path.join(home, '.config');
  const daemon = firstFile([path.join(config, 'docker', 'daemon.json'), '/etc/docker/daemon.json']);
  const named = env['CONTAINERS_REGISTRIES_CONF'];
  const containers = named
    ? [named]
    : [path.join(config, 'containers', 'registries.conf'), '/etc/containers/registries.conf'];
  const found = firstFile(containers);
  const dropIns = named
    ? []
    : [
        '/etc/containers/registries.conf.d',
        path.join(config, 'containers', 'registries.conf.d'),
      ].flatMap(filesIn);
  return mergeSettings([
    ...(daemon === undefined ? [] : [fromDaemon(daemon.path, daemon.text)]),
    ...[...(found === undefined ? [] : [found]), ...dropIns].map(({ path: file, text }) =>
      fromRegistriesConf(file, text),
    ),
  ]);
}

/**
 * Where a repository is looked for: mirrors, then itself.
 * @throws MbuildError NOT_ALLOWED when its registry is blocked.
 */
export function placesOf(repository: Repository, { rules }: RegistrySettings): Place[] {
  const name = `${repository.registry}/${repository.repository}`;
  const rule = ruleOf(name, rules);
  if (rule === undefined) return [{ ...repository, pulls: 'all' }];
  if (rule.blocked)
    throw new MbuildError('NOT_ALLOWED', `${rule.prefix} is blocked in registries.conf`);
  return [...rule.mirrors, { location: rule.location ?? rule.prefix, pulls: 'all' as const }].map(
    ({ location, pulls }) => ({ ...placeAt(location, rule.prefix, name), pulls }),
  );
}

/** True where only mirrors are asked for a repository's images. */
export function hasMirrorsOnly(
  { registry, repository }: Repository,
  { rules }: RegistrySettings,
): boolean {
  return ruleOf(`${registry}/${repository}`, rules)?.mirrorsOnly === true;
}

/** True for a host that may be spoken to without a valid certificate; `*` stands for all. */
export function isInsecureHost(host: string, insecure: readonly string[]): boolean {
  const name = hostnameOf(host);
  return insecure.some((entry) => {
    const place = entry.split('/')[0] ?? '';
    return (
      place === '*' ||
      place === host ||
      (place === name && !/\/\d+$/.test(entry)) ||
      inNetwork(name, entry)
    );
  });
}

/** The rule with the longest prefix. */
function ruleOf(name: string, rules: readonly RegistryRule[]): RegistryRule | undefined {
  const host = name.split('/')[0]?.replace(/:\d+$/, '') ?? '';
  const suits = ({ prefix }: RegistryRule): boolean =>
    prefix.startsWith('*.')
      ? host.endsWith(prefix.slice(1))
      : name === prefix || name.startsWith(`${prefix}/`);
  return rules.filter(suits).sort((a, b) => b.prefix.length - a.prefix.length)[0];
}

function placeAt(location: string, prefix: string, name: string): Repository {
  // A wildcard stands for the whole host.
  const rest = prefix.startsWith('*.') ? name.slice(name.indexOf('/')) : name.slice(prefix.length);
  const full = prefix.startsWith('*.') && location === prefix ? name : location + rest;
  const slash = full.indexOf('/');
  return { registry: full.slice(0, slash), repository: full.slice(slash + 1) };
}

function fromDaemon(file: string, content: string): RegistrySettings {
  const daemon = readDaemon(file, content);
  const urls = (daemon['registry-mirrors'] ?? []).flatMap((entry) =>
    URL.canParse(entry) ? [new URL(entry)] : [],
  );
  const mirrors = urls.map((url): Mirror => ({
    location: `${url.host}${url.pathname.replace(/\/+$/, '')}`,
    pulls: 'all',
  }));
  return {
    insecure: [
      ...(daemon['insecure-registries'] ?? []),
      ...urls.filter(({ protocol }) => protocol === 'http:').map(({ host }) => host),
    ],
    rules: mirrors.length === 0 ? [] : [{ prefix: DEFAULT_REGISTRY, blocked: false, mirrors }],
  };
}

/** Docker's daemon.json, as far as it is about registries. */
const DAEMON = { 'registry-mirrors': list(text), 'insecure-registries': list(text) };

function readDaemon(file: string, content: string): ReadObject<typeof DAEMON> {
  try {
    return parseJsonObject(content, DAEMON);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new MbuildError('USAGE', `${file} cannot be used: it ${error.message}`);
  }
}

function fromRegistriesConf(file: string, text: string): RegistrySettings {
  let document: { readonly [key: string]: TomlValue };
  try {
    document = parseToml(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    throw new MbuildError('USAGE', `${file} is not valid: ${error.message}`, { cause: error });
  }
  const insecure: string[] = [];
  const rules: RegistryRule[] = [];
  for (const registry of tables(document['registry'])) {
    const location = textOf(registry['location']);
    const prefix = textOf(registry['prefix']) ?? location;
    if (prefix === undefined) continue;
    if (registry['insecure'] === true) insecure.push(hostOf(location ?? prefix));
    const mirrors = tables(registry['mirror']).flatMap((mirror): Mirror[] => {
      const at = textOf(mirror['location']);
      if (at === undefined) return [];
      if (mirror['insecure'] === true) insecure.push(hostOf(at));
      const pulls =
        registry['mirror-by-digest-only'] === true ? 'digest-only' : mirror['pull-from-mirror'];
      return [
        { location: at, pulls: pulls === 'digest-only' || pulls === 'tag-only' ? pulls : 'all' },
      ];
    });
    rules.push({
      prefix,
      blocked: registry['blocked'] === true,
      mirrors,
      ...(location === undefined ? {} : { location }),
    });
  }
  return { insecure, rules };
}

/** Later rules replace earlier ones of the same prefix. */
export function mergeSettings(all: readonly RegistrySettings[]): RegistrySettings {
  const rules = new Map(
    all.flatMap((settings) => settings.rules).map((rule) => [rule.prefix, rule]),
  );
  return { insecure: all.flatMap((settings) => settings.insecure), rules: [...rules.values()] };
}

function hostOf(location: string): string {
  return location.split('/')[0] ?? location;
}

function textOf(value: TomlValue | undefined): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function tables(value: unknown): { readonly [key: string]: TomlValue }[] {
  return Array.isArray(value)
    ? value.filter((item) => typeof item === 'object' && item !== null && !Array.isArray(item))
    : [];
}

function firstFile(
  files: readonly string[],
): { readonly path: string; readonly text: string } | undefined {
  for (const file of files) {
    const text = readText(file);
    if (text !== undefined) return { path: file, text };
  }
  return undefined;
}

function filesIn(folder: string): { readonly path: string; readonly text: string }[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return [];
  }
  return names
    .filter((name) => name.endsWith('.conf'))
    .sort()
    .flatMap((name) => {
      const file = path.join(folder, name);
      const text = readText(file);
      return text === undefined ? [] : [{ path: file, text }];
    });
}

/** A file that may not be read is as one that is not there. */
function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}
