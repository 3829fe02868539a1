import { MbuildError } from '../diagnostics/error';
import type { SourceFile } from '../diagnostics/range';
import type { RawPath } from '../linux/paths';
import { compilePathPattern, pathPatternProblem } from './glob';
import type { PathMatcher } from './glob';

/** The line of an ignore file that decided. */
export interface IgnoreRule {
  /** 1-based; 0 for a pattern that stands in no file. */
  readonly line: number;
  /** As written, trimmed. */
  readonly pattern: string;
}

/** What the rules say about one path. */
export interface IgnoreResult {
  readonly ignored: boolean;
  /** The last rule that matched, whichever way it decided; `undefined` when none did. */
  readonly rule?: IgnoreRule | undefined;
  /** Hand this to the paths directly below. */
  readonly state: IgnoreState;
}

/** Which rules matched a folder: they match everything below it as well. Opaque. */
export type IgnoreState = readonly boolean[];

/** The rules of an ignore file, as moby's pattern matcher applies them. */
export interface IgnoreRules {
  readonly isEmpty: boolean;
  /** True when a `!` rule is among them. */
  readonly hasExceptions: boolean;
  /** The patterns without their `!`, cleaned. */
  readonly patterns: readonly string[];
  /**
   * Decides about a path relative to the context's root, without leading slash. Call it for a
   * folder before what is below it, with the `state` of the parent folder; without a `parent`, all
   * folders above are looked at. Rules are tried in order and the last that matches wins; `!` rules
   * bring back. The root itself is never ignored.
   */
  match(path: RawPath, isDirectory: boolean, parent?: IgnoreState): IgnoreResult;
  /**
   * True when something below this ignored folder may be brought back by a `!` rule, so it must be
   * walked after all.
   */
  mayDescend(directory: RawPath): boolean;
}

interface CompiledRule extends IgnoreRule {
  readonly brings: boolean;
  readonly clean: string;
  readonly matcher: PathMatcher;
}

/**
 * Reads a `.dockerignore`: a pattern a line, `#` comments, `!` exceptions
 * (https://docs.docker.com/build/concepts/context/#dockerignore-files).
 * @throws {MbuildError} IGNORE_FILE_INVALID at the first line that is no pattern.
 */
export function parseIgnoreFile(file: SourceFile): IgnoreRules {
  const rules: CompiledRule[] = [];
  file.text
    .replace(/^\ufeff/, '')
    .split('\n')
    .forEach((text, index) => {
      // Only a `#` in the first column begins a comment.
      if (text.startsWith('#') || text.trim() === '') return;
      const line = index + 1;
      const column = text.length - text.trimStart().length + 1;
      rules.push(
        compile(text.trim(), line, (message, hint) => {
          const range = {
            start: { line, column },
            end: { line, column: column + text.trim().length },
          };
          return new MbuildError('IGNORE_FILE_INVALID', message, { file, range, hint });
        }),
      );
    });
  return new OrderedRules(rules);
}

/**
 * The same rules from a list of patterns: `COPY --exclude`.
 * @throws {MbuildError} DOCKERFILE_SYNTAX for what is no pattern.
 */
export function ignoreRulesOf(patterns: readonly string[]): IgnoreRules {
  const written = patterns.map((pattern) => pattern.trim()).filter((pattern) => pattern !== '');
  const rules = written.map((pattern) =>
    compile(pattern, 0, (message, hint) => new MbuildError('DOCKERFILE_SYNTAX', message, { hint })),
  );
  // Only an ignore file takes the slash off the front of a pattern; with it, no path matches.
  return new OrderedRules(rules.filter(({ pattern }) => !/^(?:!\s*)?\//.test(pattern)));
}

function compile(
  pattern: string,
  line: number,
  failure: (message: string, hint?: string) => MbuildError,
): CompiledRule {
  const brings = pattern.startsWith('!');
  const body = brings ? pattern.slice(1).trim() : pattern;
  if (body === '')
    throw failure('"!" has no pattern', 'write the pattern to keep after it, e.g. !README.md');
  const clean = cleanPattern(body);
  const problem = pathPatternProblem(clean);
  if (problem !== undefined)
    throw failure(
      `"${pattern}" is not a valid pattern: ${problem}`,
      'put \\ before a character that should stand for itself',
    );
  return { line, pattern, brings, clean, matcher: compilePathPattern(clean) };
}

/** Go's filepath.Clean, and no leading slash: patterns are always relative to the root. */
function cleanPattern(pattern: string): string {
  const rooted = pattern.startsWith('/');
  const parts: string[] = [];
  for (const part of pattern.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.length > 0 && parts.at(-1) !== '..') parts.pop();
    else if (!rooted) parts.push(part);
  }
  if (parts.length > 0) return parts.join('/');
  return rooted ? '/' : '.';
}

class OrderedRules implements IgnoreRules {
  /** Deeper paths match a rule only through a folder above them; `Infinity` with `**`. */
  readonly #deepest: number;
  /** What holds below the deepest level, by the state of the folder. */
  readonly #inherited = new WeakMap<IgnoreState, IgnoreResult>();

  constructor(private readonly rules: readonly CompiledRule[]) {
    this.#deepest = Math.max(
      0,
      ...rules.map(({ clean }) => (clean.includes('**') ? Infinity : clean.split('/').length)),
    );
  }

  get isEmpty(): boolean {
    return this.rules.length === 0;
  }

  get hasExceptions(): boolean {
    return this.rules.some(({ brings }) => brings);
  }

  get patterns(): readonly string[] {
    return this.rules.map(({ clean }) => clean);
  }

  match(path: RawPath, _isDirectory: boolean, parent?: IgnoreState): IgnoreResult {
    if (parent !== undefined && depthOf(path) > this.#deepest) {
      const known = this.#inherited.get(parent);
      if (known !== undefined) return known;
      const result = this.#match(path, parent);
      // Below, nothing but the folder's state decides, so one result serves all that is in it.
      const inherited: IgnoreResult = { ...result, state: parent };
      this.#inherited.set(parent, inherited);
      return inherited;
    }
    return this.#match(path, parent);
  }

  #match(path: RawPath, parent: IgnoreState | undefined): IgnoreResult {
    const above = parent === undefined ? parentsOf(path) : [];
    const state: boolean[] = [];
    let ignored = false;
    let decisive: IgnoreRule | undefined;
    for (const [index, { matcher, brings, line, pattern }] of this.rules.entries()) {
      let matched = parent?.[index] ?? false;
      // A rule that could change nothing is not tried, and then does not hold for what is below
      // either.
      if (!matched && brings === ignored)
        matched = matcher.matches(path) || above.some((folder) => matcher.matches(folder));
      state.push(matched);
      if (!matched) continue;
      ignored = !brings;
      decisive = { line, pattern };
    }
    return { ignored, rule: decisive, state };
  }

  mayDescend(directory: RawPath): boolean {
    return this.rules.some(({ brings, clean }) => brings && mayMatchBelow(clean, directory));
  }
}

/**
 * True where a pattern may match something below a directory: it begins with what matches the
 * directory and goes on, it matches one above, or it has a `**`.
 */
function mayMatchBelow(pattern: string, directory: RawPath): boolean {
  const parts = pattern.split('/');
  for (const [index, name] of directory.split('/').entries()) {
    const part = parts[index];
    if (part === undefined) return true;
    if (part.includes('**')) return true;
    if (!compilePathPattern(part).matches(name)) return false;
  }
  return parts.length > directory.split('/').length;
}

function depthOf(path: RawPath): number {
  let depth = 1;
  for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1)) depth++;
  return depth;
}

/** `a`, `a/b` for `a/b/c`. */
function parentsOf(path: RawPath): RawPath[] {
  const parents: RawPath[] = [];
  for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1))
    parents.push(path.slice(0, slash));
  return parents;
}
