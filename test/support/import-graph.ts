import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

/** One import of a file of src/. */
export interface Import {
  /** The importing file, relative to src/. */
  readonly from: string;
  /** As written. */
  readonly specifier: string;
  /** The imported file, relative to src/; `undefined` for a package. */
  readonly to: string | undefined;
}

/** All imports of a source tree. */
export interface ImportGraph {
  /** Paths relative to the tree, of every TypeScript file. */
  readonly files: readonly string[];
  readonly imports: readonly Import[];
}

/** Reads every file of a source tree. */
export function readImports(src: string): ImportGraph {
  const files = sourceFiles(src).map((path) => relative(src, path));
  const known = new Set(files);
  return { files, imports: files.flatMap((from) => importsOf(src, from, known)) };
}

/**
 * What imports what, by the names that `nameOf` gives to files; imports within one name are left
 * out.
 */
export function edges(
  { imports }: ImportGraph,
  nameOf: (file: string) => string = (file) => file,
): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  for (const { from, to } of imports) {
    if (to === undefined || nameOf(from) === nameOf(to)) continue;
    found.set(nameOf(from), (found.get(nameOf(from)) ?? new Set()).add(nameOf(to)));
  }
  return found;
}

/**
 * Every circle: the sets of two or more names each of which leads to all others of its set, sorted.
 * Tarjan, "Depth-first search and linear graph algorithms" (1972).
 */
export function circlesIn(graph: ReadonlyMap<string, ReadonlySet<string>>): string[][] {
  const numbers = new Map<string, number>();
  const lowest = new Map<string, number>();
  const open: string[] = [];
  const circles: string[][] = [];
  const visit = (node: string): number => {
    const number = numbers.size;
    numbers.set(node, number);
    lowest.set(node, number);
    open.push(node);
    for (const next of graph.get(node) ?? []) {
      if (numbers.has(next) && !open.includes(next)) continue;
      const reached = numbers.get(next) ?? visit(next);
      lowest.set(node, Math.min(lowest.get(node) ?? number, reached, lowest.get(next) ?? reached));
    }
    if (lowest.get(node) === number) {
      const circle = open.splice(open.indexOf(node));
      if (circle.length > 1) circles.push(circle.sort());
    }
    return number;
  };
  for (const node of graph.keys()) if (!numbers.has(node)) visit(node);
  return circles;
}

function importsOf(src: string, from: string, known: ReadonlySet<string>): Import[] {
  const text = readFileSync(join(src, from), 'utf8')
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/^\s*\/\/.*$/gm, '');
  const statements = /\b(?:import|export)\s+(?:type\s+)?(?:[\w*{}\s,$]+?\s+from\s+)?'([^']+)'/g;
  const calls = /\b(?:import|require)\(\s*'([^']+)'\s*\)/g;
  return [statements, calls].flatMap((pattern) =>
    [...text.matchAll(pattern)].map(([, specifier = '']) => ({
      from,
      specifier,
      to: resolveImport(from, specifier, known),
    })),
  );
}

function resolveImport(
  from: string,
  specifier: string,
  known: ReadonlySet<string>,
): string | undefined {
  if (!specifier.startsWith('.')) return undefined;
  const target = join(dirname(from), specifier);
  return [`${target}.ts`, `${target}/index.ts`, target].find((path) => known.has(path));
}

function sourceFiles(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return sourceFiles(path);
    return path.endsWith('.ts') ? [path] : [];
  });
}
