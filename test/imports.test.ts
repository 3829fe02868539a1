import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { circlesIn, edges, readImports, type Import } from './support/import-graph';

const SRC = resolve(__dirname, '../src');

/**
 * Directories and loose files of src/ by row, from the ones that import to the ones that are
 * imported: docs/architecture.md says it.
 */
const ROWS: readonly (readonly string[])[] = documentedRows();

/**
 * The directories in which each package is imported: one, but for what reads files of a general
 * form; words of our own start behind them.
 */
const PACKAGE_HOMES: Readonly<Record<string, string>> = {
  'dockerfile-ast': 'dockerfile',
  'vscode-languageserver-types': 'dockerfile',
  'vscode-languageserver-textdocument': 'dockerfile',
  'tar-fs': 'context',
  execa: 'sandbox',
  'p-limit': 'solver',
  koffi: 'linux',
  undici: 'registry',
  '@aws-sdk/client-s3': 'cache',
  '@azure/storage-blob': 'cache',
  '@azure/identity': 'cache',
  yaml: 'sandbox bake',
  semver: 'bake',
  fflate: 'attest',
  'packageurl-js': 'attest',
  bcryptjs: 'bake',
  'jsonc-parser': 'bake',
};

const graph = readImports(SRC);
const { imports } = graph;

describe('imports', () => {
  it('docs/architecture.md names every directory and loose file of src/, and no others', () => {
    const there = readdirSync(SRC, { withFileTypes: true }).map(({ name }) => topOf(name));
    expect(ROWS.flat().sort()).toEqual(there.sort());
  });

  it('lead to files that exist', () => {
    const broken = imports.filter(
      ({ from, specifier, to }) =>
        specifier.startsWith('.') &&
        to === undefined &&
        !existsSync(join(SRC, dirname(from), specifier)),
    );
    expect(broken.map(show)).toEqual([]);
  });

  it('point down', () => {
    const rowOf = (file: string): number => ROWS.findIndex((row) => row.includes(topOf(file)));
    const up = imports.filter(({ from, to }) => to !== undefined && rowOf(to) < rowOf(from));
    expect(up.map(show)).toEqual([]);
  });

  it('make no circle between directories', () => {
    expect(circlesIn(edges(graph, topOf))).toEqual([]);
  });

  it('make no circle between files, with imports of types counted', () => {
    expect(circlesIn(edges(graph))).toEqual([]);
  });

  it('keep each package in one directory', () => {
    const strays = imports.filter(({ from, specifier, to }) => {
      if (to !== undefined || specifier.startsWith('.') || specifier.startsWith('node:'))
        return false;
      const name = specifier
        .split('/')
        .slice(0, specifier.startsWith('@') ? 2 : 1)
        .join('/');
      return PACKAGE_HOMES[name]?.split(' ').includes(topOf(from)) !== true;
    });
    expect(strays.map(show)).toEqual([]);
  });

  it('name modules of Node with their prefix', () => {
    expect(imports.filter(({ specifier }) => builtinModules.includes(specifier)).map(show)).toEqual(
      [],
    );
  });
});

/** Rows of the table "The directories of src/", by the number in its first column. */
function documentedRows(): string[][] {
  const page = readFileSync(resolve(__dirname, '../docs/architecture.md'), 'utf8');
  const rows: string[][] = [];
  for (const [, row, path = ''] of page.matchAll(/^\| (\d+) \| \[[^\]]+\]\(\.\.\/src\/([^)]+)\)/gm))
    (rows[Number(row) - 1] ??= []).push(topOf(path));
  return rows;
}

/** `graph` for `graph/plan.ts`, `build` for `build.ts`. */
function topOf(file: string): string {
  return (file.split('/')[0] ?? '').replace(/\.ts$/, '');
}

function show({ from, specifier }: Import): string {
  return `${from} → ${specifier}`;
}
