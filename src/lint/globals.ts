import { expandWord } from '../dockerfile/expand';
import type { Dockerfile } from '../dockerfile/instruction';
import { formatPlatform, type Platform } from '../oci/platform';
import type { GlobalValues, LintOptions } from './options';

type Values = Map<string, string | undefined>;

/**
 * What FROM may use: the ARGs before it, each seeing those above it, and the automatic platform
 * ARGs.
 */
export function globalValues(dockerfile: Dockerfile, options: LintOptions): GlobalValues {
  const given = platformValues(options, options.buildArgs);
  const values = readArgs(dockerfile, given, options.buildArgs);
  // Without build arguments these are the same.
  const plain = Object.keys(options.buildArgs).length === 0 ? given : platformValues(options, {});
  const defaults = plain === given ? values : readArgs(dockerfile, plain, {});
  return {
    names: new Set([...values.keys(), ...given.keys()]),
    value: (name) => (values.has(name) ? values.get(name) : given.get(name)),
    defaultValue: (name) => (defaults.has(name) ? defaults.get(name) : plain.get(name)),
  };
}

function readArgs(
  dockerfile: Dockerfile,
  platform: ReadonlyMap<string, string>,
  buildArgs: LintOptions['buildArgs'],
): Values {
  const values: Values = new Map();
  const lookup = (name: string): string | undefined =>
    values.has(name) ? values.get(name) : platform.get(name);
  for (const { args } of dockerfile.globalArgs) {
    for (const { name, value } of args) {
      const given = Object.hasOwn(buildArgs, name) ? buildArgs[name] : undefined;
      values.set(
        name,
        given ?? (value === undefined ? platform.get(name) : expanded(value, lookup, dockerfile)),
      );
    }
  }
  return values;
}

function expanded(
  word: string,
  lookup: (name: string) => string | undefined,
  { directives }: Dockerfile,
): string | undefined {
  try {
    return expandWord(word, lookup, directives.escape).value;
  } catch {
    return undefined;
  }
}

/** Dockerfile reference, "Automatic platform ARGs in the global scope". */
function platformValues(
  options: LintOptions,
  buildArgs: LintOptions['buildArgs'],
): Map<string, string> {
  const of = (prefix: string, platform: Platform): [string, string][] => [
    [`${prefix}PLATFORM`, formatPlatform(platform)],
    [`${prefix}OS`, platform.os],
    [`${prefix}OSVERSION`, platform['os.version'] ?? ''],
    [`${prefix}ARCH`, platform.architecture],
    [`${prefix}VARIANT`, platform.variant ?? ''],
  ];
  const values = new Map([
    ...of('BUILD', options.buildPlatform),
    ...of('TARGET', options.platform),
    ['TARGETSTAGE', options.target ?? 'default'],
  ]);
  for (const name of values.keys()) {
    const given = Object.hasOwn(buildArgs, name) ? buildArgs[name] : undefined;
    if (given !== undefined) values.set(name, given);
  }
  return values;
}
