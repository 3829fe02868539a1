import { existsSync } from 'node:fs';
import { loadIgnoreFile } from '../../src/context/local';
import type { SourceFile } from '../../src/diagnostics/range';
import { parseDockerfile } from '../../src/dockerfile/parse';
import { checkViolation, lintDockerfile } from '../../src/lint/lint';

/**
 * What the checks say about a file: `line rule: message` for each warning, and the error of
 * `error=true`.
 */
export interface CheckResult {
  readonly lines: readonly string[];
  readonly error?: string | undefined;
}

/**
 * Checks every stage of a Dockerfile, as `--check` does, on a machine for linux/amd64.
 * @param args `--build-arg NAME=VALUE`, `--target NAME`.
 */
export function check(
  file: SourceFile,
  args: readonly string[] = [],
  context?: string,
): CheckResult {
  const valuesOf = (flag: string): string[] =>
    args.flatMap((word, i) =>
      args[i - 1] === flag
        ? [word]
        : word.startsWith(`${flag}=`)
          ? [word.slice(flag.length + 1)]
          : [],
    );
  const buildArgs = Object.fromEntries(
    valuesOf('--build-arg').map((text) => [
      text.split('=')[0] ?? '',
      text.slice(text.indexOf('=') + 1),
    ]),
  );
  const platform = { os: 'linux', architecture: 'amd64' };
  const dockerfile = parseDockerfile(file);
  const ignore =
    context === undefined || !existsSync(context) ? undefined : loadIgnoreFile(context)?.rules;
  const warnings = lintDockerfile(dockerfile, {
    buildArgs,
    platform,
    buildPlatform: platform,
    target: valuesOf('--target').at(-1),
    allStages: true,
    ignore,
    base: () => ({ env: [], platform }),
  });
  return {
    lines: warnings.map(
      ({ code, message, range }) => `${range?.start.line ?? 0} ${code}: ${message}`,
    ),
    error: checkViolation(dockerfile, warnings, buildArgs)?.message,
  };
}
