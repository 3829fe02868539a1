import { readFileSync } from 'node:fs';
import path from 'node:path';
import { MbuildError, errnoOf, isMbuildError } from '../diagnostics/error';
import type { SourceFile } from '../diagnostics/range';
import { parseHclJson } from './hcl/json';
import { parseHcl } from './hcl/parse';
import type { Body } from './hcl/syntax';

/**
 * Where docker looks, in this order; all that are there count, later ones on top of earlier ones.
 */
export const DEFAULT_FILES: readonly string[] = [
  'compose.yaml',
  'compose.yml',
  'docker-compose.yml',
  'docker-compose.yaml',
  'docker-bake.json',
  'docker-bake.hcl',
  'docker-bake.override.json',
  'docker-bake.override.hcl',
];

/** Larger files describe no images. */
const MAX_BYTES = 16 * 1024 * 1024;

/** The files of a bake, by what they are written in. */
export interface BakeFiles {
  readonly hcl: readonly Body[];
  readonly compose: readonly SourceFile[];
}

/**
 * Reads the files that are named, or those that docker looks for.
 * @param stdin gives what `-` names
 * @throws MbuildError BAKE_INVALID where there is none, or for one that cannot be read.
 */
export async function readBakeFiles(
  names: readonly string[],
  directory: string,
  stdin: () => Promise<string>,
): Promise<BakeFiles> {
  const found =
    names.length > 0 ? await readNamed(names, directory, stdin) : readDefault(directory);
  if (found.length === 0)
    throw new MbuildError('BAKE_INVALID', `found no bake file in ${directory}`, {
      hint: `name a file with -f, or create one of ${DEFAULT_FILES.slice(4, 6).join(', ')}, ${DEFAULT_FILES[0]}`,
    });
  const read = found.map(parseFile);
  return {
    hcl: read.flatMap((file) => ('attributes' in file ? [file] : [])),
    compose: read.flatMap((file) => ('attributes' in file ? [] : [file])),
  };
}

async function readNamed(
  names: readonly string[],
  directory: string,
  stdin: () => Promise<string>,
): Promise<SourceFile[]> {
  const files: SourceFile[] = [];
  for (const name of names) {
    const text = name === '-' ? await stdin() : readFile(name, directory);
    if (text === undefined)
      throw new MbuildError('BAKE_INVALID', `the bake file ${name} does not exist`);
    files.push({ name, text });
  }
  return files;
}

function readDefault(directory: string): SourceFile[] {
  return DEFAULT_FILES.flatMap((name) => {
    const text = readFile(name, directory);
    return text === undefined ? [] : [{ name, text }];
  });
}

/** @returns `undefined` for a file that is not there. */
function readFile(name: string, directory: string): string | undefined {
  try {
    const bytes = readFileSync(path.resolve(directory, name));
    if (bytes.length > MAX_BYTES)
      throw new MbuildError('LIMIT_EXCEEDED', `the bake file ${name} is larger than 16 MiB`);
    return bytes.toString();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    if (errnoOf(error) === 'EISDIR')
      throw new MbuildError('BAKE_INVALID', `${name} is a directory`, {
        hint: `give -f a file, such as ${path.join(name, 'docker-bake.hcl')}`,
      });
    throw error;
  }
}

/** A file's name says what it is written in; else what it can be read as. */
function parseFile(file: SourceFile): Body | SourceFile {
  const extension = path.extname(file.name).toLowerCase();
  if (extension === '.yml' || extension === '.yaml') return file;
  if (extension === '.json') return parseHclJson(file);
  if (extension === '.hcl') return parseHcl(file);
  if (/^\s*\{/.test(file.text)) return parseHclJson(file);
  try {
    return parseHcl(file);
  } catch (error) {
    if (
      isMbuildError(error, 'BAKE_INVALID') &&
      /^(services|include|name|version)\s*:/m.test(file.text)
    )
      return file;
    throw error;
  }
}
