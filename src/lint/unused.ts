import type { Diagnostic } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import { listFlag, stringFlag } from '../dockerfile/flags';
import type { Dockerfile } from '../dockerfile/instruction';

/** Arguments that count without an ARG: BuildKit's own, the proxies, and the platform's. */
const PREDEFINED =
  /^(?:BUILDKIT_.*|BUILD(?:PLATFORM|OS|ARCH|VARIANT|OSVERSION)|TARGET(?:PLATFORM|OS|ARCH|VARIANT|OSVERSION|STAGE)|SOURCE_DATE_EPOCH|(?:HTTP|HTTPS|FTP|NO|ALL)_PROXY)$/;
const MOUNT_FROM = /(?:^|,)from=([^,]+)/;

/**
 * Warnings about what the command line gives and the file does not take: code `UnusedBuildArg` for
 * build arguments that no ARG names, `UnusedBuildContext` for named contexts. Not a check:
 * `# check=` has no say in it.
 * @param given names, as the user gave them (not what the environment adds).
 */
export function unusedInputs(
  dockerfile: Dockerfile,
  given: { readonly buildArgs: readonly string[]; readonly contexts: readonly string[] },
): Diagnostic[] {
  return [
    ...unusedArgs(dockerfile, given.buildArgs),
    ...unusedContexts(dockerfile, given.contexts),
  ];
}

function unusedArgs(dockerfile: Dockerfile, names: readonly string[]): Diagnostic[] {
  if (names.length === 0) return [];
  const declared = declaredArgs(dockerfile);
  const unused = names
    .filter((name) => !declared.has(name) && !PREDEFINED.test(name.toUpperCase()))
    .sort();
  if (unused.length === 0) return [];
  const hints = unused.flatMap((name) => didYouMean(name, declared) ?? []);
  return [
    {
      severity: 'warning',
      code: 'UnusedBuildArg',
      message: `One or more build-args [${unused.join(' ')}] were not consumed`,
      hint: hints.length > 0 ? hints.join(' ') : `write ARG ${unused[0] ?? ''} where it is needed`,
    },
  ];
}

function declaredArgs(dockerfile: Dockerfile): Set<string> {
  const declared = new Set<string>();
  for (const instruction of [
    ...dockerfile.globalArgs,
    ...dockerfile.stages.flatMap((stage) => stage.instructions),
  ]) {
    if (instruction.keyword === 'ARG') for (const { name } of instruction.args) declared.add(name);
  }
  return declared;
}

function unusedContexts(dockerfile: Dockerfile, names: readonly string[]): Diagnostic[] {
  if (names.length === 0) return [];
  const wanted = wantedTrees(dockerfile);
  // A name with a variable in it may stand for any context.
  if ([...wanted].some((name) => name.includes('$'))) return [];
  const short = (name: string): string =>
    name
      .toLowerCase()
      .replace(/^docker\.io\/(?:library\/)?/, '')
      .replace(/:latest$/, '');
  const known = new Set([...wanted].map(short));
  return names
    .filter((name) => !known.has(short(name)))
    .map((name) => ({
      severity: 'warning',
      code: 'UnusedBuildContext',
      message: `the build context ${name} is not used`,
      hint: didYouMean(name, wanted) ?? `use it in FROM, or with --from=${name}`,
    }));
}

/** What FROM, `--from` and `from=` name and what is no stage above. */
function wantedTrees(dockerfile: Dockerfile): Set<string> {
  const wanted = new Set<string>();
  for (const { from, instructions } of dockerfile.stages) {
    wanted.add(from.image);
    for (const { flags } of instructions) {
      const tree = stringFlag(flags, 'from');
      if (tree !== undefined) wanted.add(tree);
      for (const mount of listFlag(flags, 'mount'))
        wanted.add(MOUNT_FROM.exec(mount)?.[1] ?? 'scratch');
    }
  }
  return wanted;
}
