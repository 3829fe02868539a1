import { readFileSync } from 'node:fs';
import path from 'node:path';
import { MbuildError, errnoOf } from '../../diagnostics/error';
import { didYouMean } from '../../diagnostics/suggest';
import type { SourceFile } from '../../diagnostics/range';
import { isDataMap, mergeData, readDocument, type Data, type DataMap } from './document';
import { readEnvFile } from './env-file';
import type { Lookup } from './interpolate';

/** What compose files describe, put over each other. Paths are as they are written. */
export interface Project {
  readonly services: ReadonlyMap<string, DataMap>;
  readonly secrets: ReadonlyMap<string, DataMap>;
  /** The environment with the `.env` file. */
  readonly lookup: Lookup;
}

/** Services extend others so far, and files include others. */
const MAX_DEPTH = 32;

/**
 * Puts compose files together: variables, `extends`, `include`, merge.
 * @param directory where relative names of files start
 * @throws MbuildError BAKE_INVALID.
 */
export function readProject(files: readonly SourceFile[], directory: string, env: Lookup): Project {
  const lookup = withEnvFile(directory, env);
  const merged = files.reduce<Data>(
    (below, file) => mergeData(below, loadFile(file, { directory, lookup, depth: 0 })),
    {},
  );
  const root = isDataMap(merged) ? merged : {};
  return { services: mapsOf(root['services']), secrets: mapsOf(root['secrets']), lookup };
}

interface Loading {
  readonly directory: string;
  readonly lookup: Lookup;
  readonly depth: number;
}

function withEnvFile(directory: string, env: Lookup): Lookup {
  const text = readOptional(path.join(directory, '.env'));
  if (text === undefined) return env;
  const values = readEnvFile('.env', text, env);
  return (name) => env(name) ?? values.get(name);
}

function readOptional(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'EISDIR') return undefined;
    throw error;
  }
}

function readNeeded(name: string, directory: string, why: string): SourceFile {
  const text = readOptional(path.resolve(directory, name));
  if (text !== undefined) return { name, text };
  throw new MbuildError('BAKE_INVALID', `${name}, which ${why}, does not exist`);
}

/** A file with what it includes, and with its services extended. */
function loadFile(file: SourceFile, loading: Loading): Data {
  if (loading.depth > MAX_DEPTH)
    throw new MbuildError('BAKE_INVALID', `${file.name} includes or extends itself`);
  const own = readDocument(file, loading.lookup);
  const included = listOf(own['include']).reduce<Data>(
    (below, entry) => mergeData(below, include(entry, file, loading)),
    {},
  );
  const services = Object.fromEntries(
    [...mapsOf(own['services'])].map(([name]) => [
      name,
      extended(name, own, { file, loading, path: [] }),
    ]),
  );
  return mergeData(included, own['services'] === undefined ? own : { ...own, services });
}

function include(entry: Data, { name }: SourceFile, loading: Loading): Data {
  const paths = isDataMap(entry) ? listOf(entry['path']) : [entry];
  return paths.reduce<Data>((below, each) => {
    const file = readNeeded(String(each), loading.directory, `${name} includes`);
    const directory = path.resolve(loading.directory, path.dirname(String(each)));
    const inner = loadFile(file, { ...loading, directory, depth: loading.depth + 1 });
    return mergeData(below, rebased(inner, path.relative(loading.directory, directory)));
  }, {});
}

interface Extending {
  readonly file: SourceFile;
  readonly loading: Loading;
  /** The services that are being extended already. */
  readonly path: readonly string[];
}

function extended(name: string, root: DataMap, { file, loading, path: trail }: Extending): Data {
  const services = mapsOf(root['services']);
  const service = services.get(name);
  const key = `${file.name}:${name}`;
  if (service === undefined)
    throw new MbuildError('BAKE_INVALID', `${file.name} has no service "${name}" to extend`, {
      hint: didYouMean(name, services.keys()),
    });
  if (trail.includes(key))
    throw new MbuildError('BAKE_INVALID', `service "${name}" extends itself`);
  const { extends: parent, ...own } = service;
  if (parent === undefined || parent === null) return own;
  const from = isDataMap(parent) ? parent : { service: parent };
  const inner = { file, loading, path: [...trail, key] };
  if (from['file'] === undefined)
    return mergeData(extended(String(from['service']), root, inner), own);
  const fileName = String(from['file']);
  const other = readNeeded(fileName, loading.directory, `service "${name}" extends`);
  const otherRoot = readDocument(other, loading.lookup);
  const base = extended(String(from['service']), otherRoot, { ...inner, file: other });
  return mergeData(rebasedService(base, path.dirname(fileName)), own);
}

/** Relative paths of a file that lies elsewhere. */
function rebased(data: Data, directory: string): Data {
  if (!isDataMap(data) || directory === '') return data;
  const services = [...mapsOf(data['services'])].map(([name, service]) => [
    name,
    rebasedService(service, directory),
  ]);
  return { ...data, services: Object.fromEntries(services) as DataMap };
}

function rebasedService(service: Data, directory: string): Data {
  if (!isDataMap(service)) return service;
  const { build } = service;
  if (typeof build === 'string') return { ...service, build: inside(directory, build) };
  if (!isDataMap(build)) return service;
  const context = typeof build['context'] === 'string' ? build['context'] : '.';
  return { ...service, build: { ...build, context: inside(directory, context) } };
}

function inside(directory: string, name: string): string {
  return path.isAbsolute(name) || /^[a-z+]+:|^git@/.test(name) ? name : path.join(directory, name);
}

/** A list, or the one value that stands for it. */
export function listOf(data: Data | undefined): readonly Data[] {
  if (data === undefined || data === null) return [];
  return Array.isArray(data) ? (data as readonly Data[]) : [data];
}

function mapsOf(data: Data | undefined): ReadonlyMap<string, DataMap> {
  if (!isDataMap(data)) return new Map();
  return new Map(
    Object.entries(data).map(([name, value]) => [name, isDataMap(value) ? value : {}]),
  );
}
