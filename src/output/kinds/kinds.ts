import { docker, oci } from './archive';
import { cacheonly } from './cacheonly';
import { local, tar } from './files';
import { image, registry } from './image';
import type { AnyOutput, OutputKind, OutputTraits } from './kind';
import { MbuildError } from '../../diagnostics/error';
import type { KeyTable } from '../../diagnostics/structured-option';
import { didYouMean } from '../../diagnostics/suggest';

/** The kinds of `--output`, a line each. */
const OUTPUT_KINDS = {
  image,
  registry,
  oci,
  docker,
  tar,
  local,
  cacheonly,
} as const;

type Kinds = (typeof OUTPUT_KINDS)[keyof typeof OUTPUT_KINDS];

/** One `--output`, as data. */
export type OutputSpec = Kinds extends infer K
  ? K extends OutputKind<infer Spec, infer _Keys>
    ? Spec
    : never
  : never;

/** A kind whose outputs and keys are not looked at here. */
export type SomeKind = OutputKind<AnyOutput, KeyTable>;

/** Names of the kinds, as in `type=`. */
export const OUTPUT_TYPES: readonly string[] = Object.keys(OUTPUT_KINDS);

/** The kind of a name. @throws MbuildError USAGE. */
export function outputKind(type: string): SomeKind {
  const kinds: Readonly<Record<string, unknown>> = OUTPUT_KINDS;
  // Each kind is handed what it has read itself: nothing else has its type.
  if (Object.hasOwn(kinds, type)) return kinds[type] as SomeKind;
  throw new MbuildError('USAGE', `unknown type ${JSON.stringify(type)} in --output`, {
    hint: didYouMean(type, OUTPUT_TYPES) ?? `types are ${OUTPUT_TYPES.join(', ')}`,
  });
}

/** What a build must know of an output. */
export function traitsOf(output: OutputSpec): OutputTraits {
  return outputKind(output.type).traits(output);
}
