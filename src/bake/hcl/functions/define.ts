import { MbuildError } from '../../../diagnostics/error';
import type { HclFunction } from '../evaluate';
import { toBool, toNumber, toText } from '../type';
import { isMapping, isSequence, typeName, type Mapping, type Sequence, type Value } from '../value';

/** What a parameter takes; what is given is converted, and null is refused but for `any`. */
export interface Parameters {
  readonly string: string;
  readonly number: number;
  readonly bool: boolean;
  readonly sequence: Sequence;
  readonly mapping: Mapping;
  readonly any: Value;
}

type Kind = keyof Parameters;
type Given<K extends readonly Kind[]> = { readonly [I in keyof K]: Parameters[K[I]] };

/** A table of functions by name. */
export type Library = Readonly<Record<string, HclFunction>>;

/** A function of so many parameters. */
export function define<const K extends readonly Kind[]>(
  kinds: K,
  work: (...given: Given<K>) => Value,
): HclFunction {
  return (args) => {
    if (args.length !== kinds.length)
      throw refuse(`${kinds.length} arguments are needed, but ${args.length} are given`);
    return work(...(args.map((argument, i) => take(argument, kinds[i] ?? 'any')) as never));
  };
}

/** A function of at least the given parameters, and of any number of one more kind behind them. */
export function defineVariadic<const K extends readonly Kind[], R extends Kind>(
  kinds: K,
  rest: R,
  work: (first: Given<K>, rest: readonly Parameters[R][]) => Value,
): HclFunction {
  return (args) => {
    if (args.length < kinds.length)
      throw refuse(`at least ${kinds.length} arguments are needed, but ${args.length} are given`);
    const first = args.slice(0, kinds.length).map((given, i) => take(given, kinds[i] ?? 'any'));
    const others = args.slice(kinds.length).map((given) => take(given, rest));
    return work(first as never, others as never);
  };
}

/** The error of a function that refuses what it is given; its caller adds the place. */
export function refuse(message: string): MbuildError {
  return new MbuildError('BAKE_INVALID', message);
}

function take(value: Value, kind: Kind): Parameters[Kind] {
  if (kind === 'any') return value;
  if (value === null) throw refuse('an argument is null');
  switch (kind) {
    case 'string':
      return toText(value);
    case 'number':
      return toNumber(value);
    case 'bool':
      return toBool(value);
    case 'sequence':
      if (isSequence(value)) return value;
      break;
    case 'mapping':
      if (isMapping(value)) return value;
      break;
  }
  const wanted = kind === 'sequence' ? 'a list' : 'an object or a map';
  throw refuse(`${wanted} is needed, but this is a ${typeName(value)}`);
}
