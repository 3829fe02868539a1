import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fixture } from './mbuild';

/** A folder under `fixtures/<topic>/`. */
export interface FixtureCase {
  readonly name: string;
  readonly dir: string;
}

/** The cases of a topic, sorted by name. */
export function casesOf(topic: string): FixtureCase[] {
  return readdirSync(fixture(topic))
    .sort()
    .map((name) => ({ name, dir: fixture(topic, name) }));
}

/** A file of the case, or `undefined`. */
export function readCase({ dir }: FixtureCase, file: string): string | undefined {
  const path = join(dir, file);
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}

/** The lines of a case's `args` file: further arguments for `mbuild build`. */
export function caseArgs(fixtureCase: FixtureCase): string[] {
  return (readCase(fixtureCase, 'args') ?? '').split('\n').filter(Boolean);
}

/**
 * Copies a fixture's files so that they can be changed, with the modes that a checkout under umask
 * 022 has; an absent source gives an empty directory. Returns `to`.
 */
export function copyFixture(from: string, to: string): string {
  mkdirSync(to, { recursive: true });
  if (existsSync(from)) cpSync(from, to, { recursive: true, verbatimSymlinks: true });
  normalizeModes(to);
  return to;
}

function normalizeModes(path: string): void {
  const stats = lstatSync(path);
  if (stats.isSymbolicLink()) return;
  if (!stats.isDirectory()) return chmodSync(path, (stats.mode & 0o100) === 0 ? 0o644 : 0o755);
  chmodSync(path, 0o755);
  for (const name of readdirSync(path)) normalizeModes(join(path, name));
}
