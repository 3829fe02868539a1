import { expandWord } from '../dockerfile/expand';
import { stringFlag } from '../dockerfile/flags';
import type { Dockerfile, Stage } from '../dockerfile/instruction';
import { stageBaseName } from '../graph/stages';
import { parsePlatform, type Platform } from '../oci/platform';
import type { GlobalValues, LintBase, LintOptions } from './options';

/**
 * What a stage begins with. `unknown`: its name cannot be expanded, which is an error of the build.
 */
export type StageBase =
  | { readonly kind: 'scratch' | 'unknown' }
  | { readonly kind: 'stage'; readonly stage: Stage }
  | {
      readonly kind: 'image';
      readonly name: string;
      readonly platform: Platform;
      readonly known: LintBase | undefined;
    };

/** The bases of all stages, in order. */
export function stageBases(
  dockerfile: Dockerfile,
  globals: GlobalValues,
  options: LintOptions,
): StageBase[] {
  const named = new Map<string, Stage>();
  const expand = globalExpander(dockerfile, globals);
  return dockerfile.stages.map((stage): StageBase => {
    const base = baseOf(stage, named, expand, options);
    if (stage.name !== undefined) named.set(stage.name, stage);
    return base;
  });
}

/** Expands a word of FROM; what cannot be expanded is empty. */
function globalExpander(
  { directives }: Dockerfile,
  globals: GlobalValues,
): (word: string) => string {
  return (word) => {
    try {
      return expandWord(word, (name) => globals.value(name), directives.escape).value;
    } catch {
      return '';
    }
  };
}

function baseOf(
  { from }: Stage,
  named: ReadonlyMap<string, Stage>,
  expand: (word: string) => string,
  options: LintOptions,
): StageBase {
  const name = expand(from.image);
  if (name === '') return { kind: 'unknown' };
  const stage = named.get(name.toLowerCase());
  if (stage !== undefined) return { kind: 'stage', stage };
  if (name === 'scratch') return { kind: 'scratch' };
  const platform =
    parsePlatform(expand(stringFlag(from.flags, 'platform') ?? '')) ?? options.platform;
  return {
    kind: 'image',
    name: stageBaseName(name),
    platform,
    known: options.base?.(stageBaseName(name), platform),
  };
}
