import { chroot } from './chroot';
import { inPlace } from './in-place';
import type { Isolation } from './isolation';
import { namespaces } from './namespaces';
import { oci } from './oci';
import { proot } from './proot';
import { singleId } from './single-id';
import { userNamespace } from './user-namespace';

/** The ways to keep RUN apart from its surroundings, from the best to the least. */
const TABLE = [namespaces, userNamespace, singleId, oci, chroot, proot, inPlace] as const;

export type IsolationName = (typeof TABLE)[number]['name'];

export const ISOLATIONS: readonly Isolation<IsolationName>[] = TABLE;

/** Words of other builders: for one of ours, or for `auto`. */
const ALIASES: Readonly<Record<string, IsolationName | 'auto'>> = {
  rootless: 'namespaces',
  default: 'auto',
};

/** Reads `--isolation`; `auto` is `undefined`, and so is what is not valid with `known` false. */
export function readIsolation(text: string): {
  readonly known: boolean;
  readonly isolation: IsolationName | undefined;
} {
  const word = ALIASES[text] ?? text;
  const isolation = ISOLATIONS.find(({ name }) => name === word)?.name;
  return { known: isolation !== undefined || word === 'auto' || word === '', isolation };
}

/** The isolation of a name. */
export function isolationOf(name: IsolationName): Isolation<IsolationName> {
  const isolation = ISOLATIONS.find((candidate) => candidate.name === name);
  if (isolation === undefined) throw new Error(`unknown isolation ${name}`);
  return isolation;
}

/**
 * The best one that this process's rights allow; `undefined` when there is none.
 * @param canMount see {@link Isolation.isChosen}.
 */
export function bestIsolation(canMount: boolean): Isolation<IsolationName> | undefined {
  return ISOLATIONS.find(({ isChosen }) => isChosen?.(canMount) === true);
}
