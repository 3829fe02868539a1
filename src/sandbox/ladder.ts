import { heldCapabilities } from './capabilities';

/** How RUN is kept apart from its surroundings. */
export const ISOLATIONS = ['namespaces', 'oci', 'chroot'] as const;
export type Isolation = (typeof ISOLATIONS)[number];

/** Words of other builders for one of ours. */
const ALIASES: Readonly<Record<string, Isolation>> = { rootless: 'namespaces' };

/** Reads `--isolation`; `auto` is `undefined`, and so is what makes no sense with `known` false. */
export function readIsolation(text: string): { readonly known: boolean; readonly isolation: Isolation | undefined } {
  const isolation = ISOLATIONS.find((name) => name === text) ?? ALIASES[text];
  return { known: isolation !== undefined || text === 'auto' || text === '', isolation };
}

/**
 * The best isolation that this process's rights allow: namespaces for who may mount, a changed root for who may change it.
 * @param canMount false where it was found out that mounting is forbidden although the capability is there.
 */
export function bestIsolation(canMount: boolean): Isolation | undefined {
  const held = heldCapabilities();
  if (canMount && held.includes('SYS_ADMIN')) return 'namespaces';
  return held.includes('SYS_CHROOT') ? 'chroot' : undefined;
}
