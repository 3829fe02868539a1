import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';

const SRC = resolve(__dirname, '../src');

/** Directories and loose files of src/ by row, from the ones that import to the ones that are imported: docs/architecture.md says it. */
const ROWS: readonly (readonly string[])[] = documentedRows();

/** The one directory in which each package is imported; words of our own start behind it. */
const PACKAGE_HOMES: Readonly<Record<string, string>> = {
  'dockerfile-ast': 'dockerfile',
  'vscode-languageserver-types': 'dockerfile',
  'vscode-languageserver-textdocument': 'dockerfile',
  'tar-fs': 'context',
  execa: 'sandbox',
  'p-limit': 'solver',
  koffi: 'linux',
  undici: 'registry',
  yaml: 'sandbox',
};

interface Import {
  /** The importing file, relative to src/. */
  readonly from: string;
  /** As written. */
  readonly specifier: string;
  /** The imported file, relative to src/; `undefined` for a package. */
  readonly to: string | undefined;
  /** Only types: nothing of it is left when the program runs. */
  readonly typeOnly: boolean;
}

const files = sourceFiles(SRC).map((path) => relative(SRC, path));
const imports = files.flatMap(importsOf);

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
    expect(circleIn(edges(topOf))).toEqual([]);
  });

  it('make no circle between files', () => {
    expect(circleIn(edges((file) => file, { types: false }))).toEqual([]);
  });

  it('keep each package in one directory', () => {
    const strays = imports.filter(({ from, specifier, to }) => {
      if (to !== undefined || specifier.startsWith('.') || specifier.startsWith('node:'))
        return false;
      const name = specifier
        .split('/')
        .slice(0, specifier.startsWith('@') ? 2 : 1)
        .join('/');
      return PACKAGE_HOMES[name] !== topOf(from);
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

function edges(
  nameOf: (file: string) => string,
  { types }: { types: boolean } = { types: true },
): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  for (const { from, to, typeOnly } of imports) {
    if (to === undefined || (typeOnly && !types) || nameOf(from) === nameOf(to)) continue;
    found.set(nameOf(from), (found.get(nameOf(from)) ?? new Set()).add(nameOf(to)));
  }
  return found;
}

/** One circle as the names along it, or nothing. */
function circleIn(graph: ReadonlyMap<string, ReadonlySet<string>>): string[] {
  const finished = new Set<string>();
  const walk = (node: string, path: readonly string[]): string[] => {
    if (path.includes(node)) return [...path.slice(path.indexOf(node)), node];
    if (finished.has(node)) return [];
    for (const next of graph.get(node) ?? []) {
      const circle = walk(next, [...path, node]);
      if (circle.length > 0) return circle;
    }
    finished.add(node);
    return [];
  };
  for (const node of graph.keys()) {
    const circle = walk(node, []);
    if (circle.length > 0) return circle;
  }
  return [];
}

function importsOf(from: string): Import[] {
  const text = readFileSync(join(SRC, from), 'utf8')
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/^\s*\/\/.*$/gm, '');
  const statements = /\b(?:import|export)\s+(type\s+)?(?:[\w*{}\s,$]+?\s+from\s+)?'([^']+)'/g;
  const calls = /\b(?:import|require)\(\s*'([^']+)'\s*\)(\s*\.)?/g;
  const found: Import[] = [];
  for (const [, type, specifier = ''] of text.matchAll(statements))
    found.push({
      from,
      specifier,
      to: resolveImport(from, specifier),
      typeOnly: type !== undefined,
    });
  for (const [, specifier = ''] of text.matchAll(calls))
    found.push({ from, specifier, to: resolveImport(from, specifier), typeOnly: false });
  return found;
}

function resolveImport(from: string, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined;
  const target = join(dirname(from), specifier);
  return [`${target}.ts`, `${target}/index.ts`, target].find((path) => files.includes(path));
}

function sourceFiles(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) return sourceFiles(path);
    return path.endsWith('.ts') ? [path] : [];
  });
}
