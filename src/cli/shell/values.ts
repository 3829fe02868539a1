import { readFileSync } from 'node:fs';
import path from 'node:path';
import { ContainerStore } from '../../containers/store';
import { namesIn } from '../../content/files';
import { errnoOf, isMbuildError } from '../../diagnostics/error';
import { BuildHistory } from '../../history/file-history';
import { shortName } from '../services';

/** A word that can be completed, and what it is. */
export interface Candidate {
  readonly value: string;
  readonly about: string;
}

/** Builds that are offered. */
const LATEST = 20;

/** Names of the images of a store. The store is not opened: completing changes nothing. */
export function imagesIn(root: string): Candidate[] {
  const names = path.join(root, 'names');
  const found = reading(() =>
    namesIn(names).flatMap((folder) =>
      namesIn(path.join(names, folder)).map((file) => nameIn(path.join(names, folder, file))),
    ),
  );
  return [...new Set(found)]
    .filter((name) => name !== '' && !name.includes('@'))
    .sort()
    .map((name) => ({ value: shortName(name), about: 'image' }));
}

/** Names of the containers of a store. */
export function containersIn(root: string): Candidate[] {
  return reading(() =>
    new ContainerStore(root)
      .list(() => undefined)
      .map(({ record, state }) => ({ value: record.name, about: `container, ${state.status}` })),
  );
}

/** Ids of the latest builds of a store. */
export function buildsIn(root: string): Candidate[] {
  return reading(() => {
    const found: Candidate[] = [];
    for (const { id, dockerfile, outcome } of new BuildHistory(root).all()) {
      found.push({ value: id, about: `${dockerfile}, ${outcome}` });
      if (found.length === LATEST) break;
    }
    return found;
  });
}

/** Names of the stages of a Dockerfile. */
export function stagesIn(file: string): Candidate[] {
  return reading(() =>
    [...readFileSync(file, 'utf8').matchAll(/^[ \t]*FROM[ \t]+(.*?)[ \t]+AS[ \t]+(\S+)/gim)].map(
      ([, base = '', name = '']) => ({ value: name, about: `FROM ${base}` }),
    ),
  );
}

/** Names of the targets and groups of the bake file of a directory. */
export function targetsIn(directory: string): Candidate[] {
  return reading(() => {
    const [file] = namesIn(directory).filter((name) => /^docker-bake\.(?:hcl|json)$/.test(name));
    if (file === undefined) return [];
    const text = readFileSync(path.join(directory, file), 'utf8');
    if (file.endsWith('.hcl'))
      return [...text.matchAll(/^\s*(target|group)\s+"([^"]+)"/gm)].map(([, kind, name = '']) => ({
        value: name,
        about: kind ?? '',
      }));
    const parsed = JSON.parse(text) as Readonly<Record<string, Readonly<Record<string, unknown>>>>;
    return ['group', 'target'].flatMap((kind) =>
      Object.keys(parsed[kind] ?? {}).map((name) => ({ value: name, about: kind })),
    );
  });
}

function nameIn(file: string): string {
  const { name } = JSON.parse(readFileSync(file, 'utf8')) as { readonly name?: unknown };
  return typeof name === 'string' ? name : '';
}

/** Nothing to offer is no error: a store may not be there, or not for this user. */
function reading<T>(read: () => T[]): T[] {
  try {
    return read();
  } catch (error) {
    if (errnoOf(error) === undefined && !isMbuildError(error) && !(error instanceof SyntaxError))
      throw error;
    return [];
  }
}
