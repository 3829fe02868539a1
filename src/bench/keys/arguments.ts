import type { GitCommit } from '../git/repository';

/** Build arguments of one commit: `%H` in a value stands for its id, `%ct` for its time. */
export function argsOf(
  { id, time }: GitCommit,
  buildArgs: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(buildArgs).map(([name, value]) => [
      name,
      value.replace(/%H/g, id).replace(/%ct/g, String(time)),
    ]),
  );
}
