import { expandWord } from '../dockerfile/expand';
import type { Dockerfile, InstructionOf } from '../dockerfile/instruction';
import { formatPlatform, type Platform } from '../oci/platform';
import { placed } from './state';

/** What the variables in front of the first FROM come from. */
export interface GlobalSources {
  readonly platform: Platform;
  readonly buildPlatform: Platform;
  readonly buildArgs: Readonly<Record<string, string>>;
  /** Of the stage that is built. */
  readonly targetName: string;
}

/** The variables that FROM may use. */
export interface GlobalScope {
  /** ARGs before the first FROM, expanded. */
  readonly args: ReadonlyMap<string, string | undefined>;
  /** `TARGETPLATFORM` and the like. */
  readonly platformArgs: ReadonlyMap<string, string>;
  /** Expands a word of FROM. @throws MbuildError DOCKERFILE_SYNTAX. */
  expand(word: string): string;
}

/** @throws MbuildError DOCKERFILE_SYNTAX for a default that cannot be expanded. */
export function globalScope(dockerfile: Dockerfile, sources: GlobalSources): GlobalScope {
  const platformArgs = platformArgsOf(sources);
  const args = new Map<string, string | undefined>();
  const { escape } = dockerfile.directives;
  const lookup = (name: string): string | undefined =>
    args.has(name) ? args.get(name) : platformArgs.get(name);
  const expand = (word: string): string => expandWord(word, lookup, escape).value;
  const buildArgs = new Map(Object.entries(sources.buildArgs));
  for (const instruction of dockerfile.globalArgs) {
    for (const { name, value } of instruction.args) {
      const given = buildArgs.get(name);
      // The default of one that is given is not expanded.
      if (given !== undefined) args.set(name, given);
      else if (value === undefined) args.set(name, platformArgs.get(name));
      else args.set(name, expandDefault(value, expand, instruction, dockerfile));
    }
  }
  return { args, platformArgs, expand };
}

function expandDefault(
  value: string,
  expand: (word: string) => string,
  { range }: InstructionOf<'ARG'>,
  { file }: Dockerfile,
): string {
  try {
    return expand(value);
  } catch (error) {
    throw placed(error, file, range);
  }
}

/**
 * BuildKit's automatic platform ARGs. Dockerfile reference, "Automatic platform ARGs in the global
 * scope".
 */
function platformArgsOf(sources: GlobalSources): Map<string, string> {
  const of = (prefix: string, platform: Platform): [string, string][] => [
    [`${prefix}PLATFORM`, formatPlatform(platform)],
    [`${prefix}OS`, platform.os],
    [`${prefix}OSVERSION`, platform['os.version'] ?? ''],
    [`${prefix}ARCH`, platform.architecture],
    [`${prefix}VARIANT`, platform.variant ?? ''],
  ];
  const args = new Map([
    ...of('BUILD', sources.buildPlatform),
    ...of('TARGET', sources.platform),
    ['TARGETSTAGE', sources.targetName],
  ]);
  for (const name of args.keys()) {
    const given = sources.buildArgs[name];
    if (given !== undefined) args.set(name, given);
  }
  return args;
}
