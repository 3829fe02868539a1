import { readFileSync } from 'node:fs';
import path from 'node:path';
import { MbuildError } from '../../diagnostics/error';
import { didYouMean } from '../../diagnostics/suggest';
import { readEntries } from '../entry-text';
import {
  mergeAttributes,
  type Attributes,
  type Definition,
  type Entry,
  type Target,
} from '../target';
import { isDataMap, type Data, type DataMap } from './document';
import { readEnvFile } from './env-file';
import type { Lookup } from './interpolate';
import { listOf, type Project } from './project';

/** Keys of `build` (Compose build specification). */
const KEYS = [
  'additional_contexts',
  'args',
  'cache_from',
  'cache_to',
  'context',
  'dockerfile',
  'dockerfile_inline',
  'entitlements',
  'extra_hosts',
  'isolation',
  'labels',
  'network',
  'no_cache',
  'no_cache_filter',
  'platforms',
  'privileged',
  'provenance',
  'pull',
  'sbom',
  'secrets',
  'shm_size',
  'ssh',
  'tags',
  'target',
  'ulimits',
];

/**
 * The services with a `build` section as targets, and the group "default" of them.
 * @throws MbuildError BAKE_INVALID.
 */
export function composeDefinition(project: Project, directory: string): Definition {
  const targets = [...project.services]
    .filter(([, { build }]) => build !== undefined && build !== null)
    .map(([name, service]) => readService(name, service, { project, directory }));
  const groups = [{ name: 'default', targets: targets.map(({ name }) => name) }];
  return {
    targets,
    groups: project.services.size === 0 ? [] : groups,
    variables: [],
    warnings: [],
  };
}

interface Surroundings {
  readonly project: Project;
  readonly directory: string;
}

/** A dot of a service's name is no part of a target's. */
function targetName(service: string): string {
  const name = service.replaceAll('.', '_');
  if (/^[a-zA-Z0-9_-]+$/.test(name)) return name;
  throw new MbuildError('BAKE_INVALID', `"${service}" is not a valid service name`);
}

function readService(name: string, service: DataMap, surroundings: Surroundings): Target {
  const given = service['build'] ?? null;
  const build = isDataMap(given) ? given : { context: given };
  for (const key of Object.keys(build))
    if (!KEYS.includes(key) && !key.startsWith('x-'))
      throw new MbuildError('BAKE_INVALID', `service "${name}": build has no key "${key}"`, {
        hint: didYouMean(key, KEYS),
      });
  const tags = texts(build['tags']);
  const image = typeof service['image'] === 'string' ? [service['image']] : [];
  const attributes: Attributes = defined({
    ...plainAttributes(build),
    args: argumentsOf(build['args'], environmentOf(service, surroundings)),
    secret: secretsOf(build['secrets'], surroundings.project),
    tags: tags.length > 0 ? tags : image,
  });
  return {
    name: targetName(name),
    inherits: [],
    attributes: extendedBy(attributes, extension(build['x-bake'])),
  };
}

function plainAttributes(build: DataMap): Attributes {
  const attestations = (['sbom', 'provenance'] as const).flatMap((type) =>
    build[type] === undefined || build[type] === null
      ? []
      : [attestation(type, String(build[type]))],
  );
  return {
    context: build['context'] == null ? undefined : cleanPath(String(build['context'])),
    contexts: contextsOf(build['additional_contexts']),
    dockerfile: text(build['dockerfile']),
    'dockerfile-inline': text(build['dockerfile_inline']),
    labels: pairs(build['labels']),
    'cache-from': entries('cache-from', build['cache_from']),
    'cache-to': entries('cache-to', build['cache_to']),
    target: text(build['target']),
    network: text(build['network']),
    platforms: texts(build['platforms']),
    ssh: sshOf(build['ssh']),
    'shm-size': build['shm_size'] == null ? undefined : memory(String(build['shm_size'])),
    ulimits: ulimitsOf(build['ulimits']),
    'extra-hosts': pairs(build['extra_hosts'], /[:=]/),
    attest: attestations,
    entitlements: texts(build['entitlements']),
    'no-cache': flag(build['no_cache']),
    'no-cache-filter': texts(build['no_cache_filter']),
    pull: flag(build['pull']),
  };
}

/** Without what is absent or empty. */
function defined(attributes: Attributes): Attributes {
  return Object.fromEntries(
    Object.entries(attributes).filter(([, value]) => {
      if (value === undefined) return false;
      if (Array.isArray(value)) return value.length > 0;
      return !(value instanceof Map) || value.size > 0;
    }),
  );
}

function text(data: Data | undefined): string | undefined {
  return data === undefined || data === null || data === '' ? undefined : String(data);
}

/** Only `true` says something: docker leaves `false` away. */
function flag(data: Data | undefined): boolean | undefined {
  return data === true || data === 'true' ? true : undefined;
}

function texts(data: Data | undefined): string[] {
  return listOf(data).map(String);
}

/** A map, or a list of `NAME=VALUE`. */
function pairs(data: Data | undefined, separator = /=/): ReadonlyMap<string, string> {
  return new Map([...optionalPairs(data, separator)].map(([name, value]) => [name, value ?? '']));
}

function optionalPairs(
  data: Data | undefined,
  separator = /=/,
): ReadonlyMap<string, string | undefined> {
  if (isDataMap(data))
    return new Map(
      Object.entries(data).map(([name, value]) => [
        name,
        value === null ? undefined : listOf(value).map(String).join(','),
      ]),
    );
  return new Map(
    listOf(data).map((item) => {
      const all = String(item);
      const at = all.search(separator);
      return at < 0 ? [all, undefined] : [all.slice(0, at), all.slice(at + 1)];
    }),
  );
}

/**
 * Arguments without a value have that of the service's environment, or of mbuild's own; else they
 * are left out.
 */
function argumentsOf(data: Data | undefined, environment: Lookup): ReadonlyMap<string, string> {
  return new Map(
    [...optionalPairs(data)].flatMap(([name, value]) => {
      const found = value ?? environment(name);
      return found === undefined ? [] : [[name, found] as const];
    }),
  );
}

function environmentOf(service: DataMap, { project, directory }: Surroundings): Lookup {
  const files = listOf(service['env_file']).map((entry) => readEnvironment(entry));
  const own = optionalPairs(service['environment']);
  return (name) =>
    own.get(name) ??
    files
      .toReversed()
      .find((file) => file.has(name))
      ?.get(name) ??
    project.lookup(name);

  function readEnvironment(entry: Data): ReadonlyMap<string, string> {
    const name = String(isDataMap(entry) ? (entry['path'] ?? '') : entry);
    const required = !isDataMap(entry) || entry['required'] !== false;
    try {
      return readEnvFile(name, readFileSync(path.resolve(directory, name), 'utf8'), project.lookup);
    } catch (cause) {
      if (!required) return new Map();
      throw new MbuildError('BAKE_INVALID', `env_file ${name} cannot be read`, { cause });
    }
  }
}

function contextsOf(data: Data | undefined): ReadonlyMap<string, string> {
  return new Map([...pairs(data)].map(([name, value]) => [name, contextValue(value)]));
}

function contextValue(value: string): string {
  const [, service] = /^(?:service|target):(.*)$/s.exec(value) ?? [];
  return service === undefined ? cleanPath(value) : `target:${service.replaceAll('.', '_')}`;
}

function cleanPath(value: string): string {
  if (/^[a-z][a-z0-9+.-]*:|^git@/i.test(value)) return value;
  return path.normalize(value).replace(/(?<=.)\/$/, '');
}

function entries(field: 'cache-from' | 'cache-to', data: Data | undefined): readonly Entry[] {
  return texts(data).flatMap((each) => readEntries(field, each));
}

function attestation(type: string, value: string): Entry {
  if (/^(true|false)$/i.test(value))
    return value.toLowerCase() === 'true' ? { type } : { type, disabled: 'true' };
  return readEntries('attest', `type=${type},${value}`)[0] ?? { type };
}

function sshOf(data: Data | undefined): readonly Entry[] {
  return [...optionalPairs(data)]
    .map(([id, value]): Entry => (value === undefined ? { id } : { id, paths: [value] }))
    .sort((a, b) => (String(a['id']) < String(b['id']) ? -1 : 1));
}

function secretsOf(data: Data | undefined, { secrets }: Project): readonly Entry[] {
  return listOf(data).map((item) => {
    const id = String(isDataMap(item) ? (item['source'] ?? '') : item);
    const secret = secrets.get(id);
    if (secret === undefined)
      throw new MbuildError('BAKE_INVALID', `the secret "${id}" is not declared under secrets`, {
        hint: didYouMean(id, secrets.keys()),
      });
    if (secret['external'] === true)
      throw new MbuildError(
        'BAKE_INVALID',
        `the secret "${id}" is external, and mbuild cannot read external secrets`,
      );
    const src = text(secret['file']);
    const env = text(secret['environment']);
    return {
      id,
      ...(src === undefined ? {} : { src: cleanPath(src) }),
      ...(env === undefined ? {} : { env }),
    };
  });
}

const UNITS: Readonly<Record<string, number>> = {
  '': 0,
  b: 0,
  k: 10,
  kb: 10,
  m: 20,
  mb: 20,
  g: 30,
  gb: 30,
};

/** `128m` as docker writes it back: the largest unit that has no fraction. */
function memory(size: string): string {
  const [, number = '', unit = ''] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(size) ?? [];
  const shift = UNITS[unit.toLowerCase()];
  if (number === '' || shift === undefined)
    throw new MbuildError('BAKE_INVALID', `shm_size "${size}" is not a size such as 128m`);
  let bytes = Number(number) * 2 ** shift;
  let power = 0;
  while (bytes >= 1024 && power < 4) {
    bytes /= 1024;
    power += 1;
  }
  return `${Number(bytes.toPrecision(4))}${['B', 'KiB', 'MiB', 'GiB', 'TiB'][power] ?? ''}`;
}

function ulimitsOf(data: Data | undefined): readonly string[] {
  if (!isDataMap(data)) return [];
  const limits = Object.entries(data).sort(([a], [b]) => (a < b ? -1 : 1));
  return limits.map(([name, limit]) => {
    const [soft, hard] = isDataMap(limit) ? [limit['soft'], limit['hard']] : [limit, limit];
    return `${name}=${String(soft)}:${String(hard)}`;
  });
}

/** Unlike a later definition, `x-bake` adds to each list. */
function extendedBy(own: Attributes, added: Attributes): Attributes {
  return {
    ...mergeAttributes(own, added),
    ...defined({
      tags: [...(own.tags ?? []), ...(added.tags ?? [])],
      platforms: [...(own.platforms ?? []), ...(added.platforms ?? [])],
      'cache-to': [...(own['cache-to'] ?? []), ...(added['cache-to'] ?? [])],
    }),
  };
}

/** What `x-bake` adds: attributes of a target, as a bake file has them. */
function extension(data: Data | undefined): Attributes {
  if (!isDataMap(data)) return {};
  const list = (name: string): readonly string[] => {
    const value = data[name];
    return typeof value === 'string' ? value.split(/\s+/).filter(Boolean) : texts(value);
  };
  const read = (field: 'cache-from' | 'cache-to' | 'secret' | 'ssh' | 'output'): readonly Entry[] =>
    list(field).flatMap((each) => readEntries(field, each));
  return defined({
    tags: list('tags'),
    platforms: list('platforms'),
    'cache-from': read('cache-from'),
    'cache-to': read('cache-to'),
    secret: read('secret'),
    ssh: read('ssh'),
    output: read('output'),
    'no-cache-filter': list('no-cache-filter'),
    pull: typeof data['pull'] === 'boolean' ? data['pull'] : undefined,
    'no-cache': typeof data['no-cache'] === 'boolean' ? data['no-cache'] : undefined,
    contexts: contextsOf(data['contexts']),
  });
}
