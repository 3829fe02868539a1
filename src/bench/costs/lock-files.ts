/** Counts the packages that a lock file or a manifest names; 0 where there are none. */
type Count = (text: string) => number;

/** Files by which package managers install, and how their packages are counted. Sources: each manager's own documentation of its format. */
const COUNTS: Readonly<Record<string, Count>> = {
  'package-lock.json': matches(/^\s*"node_modules\/[^"]+": \{/gm),
  'npm-shrinkwrap.json': matches(/^\s*"node_modules\/[^"]+": \{/gm),
  'yarn.lock': matches(/^\S[^#\n]*:$/gm),
  'pnpm-lock.yaml': matches(/^ {2}'?\/?(?:@[^/\s]+\/)?[^\s'@/]+[@/][^\s']+'?:/gm),
  'bun.lock': matches(/^\s+"[^"]+": \["/gm),
  'requirements.txt': matches(/^[A-Za-z0-9]/gm),
  'Pipfile.lock': matches(/"version": "==/g),
  'poetry.lock': matches(/^\[\[package\]\]/gm),
  'uv.lock': matches(/^\[\[package\]\]/gm),
  'pdm.lock': matches(/^\[\[package\]\]/gm),
  // Two lines a module: its files and its go.mod.
  'go.sum': (text) => Math.ceil(matches(/^\S/gm)(text) / 2),
  'Cargo.lock': matches(/^\[\[package\]\]/gm),
  'Gemfile.lock': matches(/^ {4}\S/gm),
  'composer.lock': matches(/^ {12}"name": "/gm),
  'pom.xml': matches(/<dependency>/g),
  'packages.lock.json': matches(/"type": "(?:Direct|Transitive)"/g),
  'mix.lock': matches(/^ {2}"/gm),
};

/** Names of files that packages can be counted in. */
export const LOCK_FILES: ReadonlySet<string> = new Set(Object.keys(COUNTS));

/** The packages that a lock file names; `undefined` for any other file. */
export function packagesIn(name: string, text: string): number | undefined {
  return COUNTS[name]?.(text);
}

function matches(pattern: RegExp): Count {
  return (text) => text.match(pattern)?.length ?? 0;
}
