import { heldCapabilities } from '../capabilities';
import { findInPath } from '../find-program';

/**
 * The ways to keep RUN apart from its surroundings, from the best to the least: namespaces as root, as an ordinary user with ids
 * for others, as one with his own id alone; an OCI runtime in any of these; a changed root; and a traced process whose every call is redirected; and none
 * at all, in the place of everything else.
 */
export const ISOLATIONS = [
  'namespaces',
  'user-namespace',
  'single-id',
  'oci',
  'chroot',
  'proot',
  'in-place',
] as const;
export type Isolation = (typeof ISOLATIONS)[number];

/** What keeps a command apart: user namespaces differ in what mbuild itself runs in, not in how it makes a sandbox. */
export type Means = 'namespaces' | 'oci' | 'chroot' | 'proot' | 'in-place';

/** Words of other builders for one of ours. */
const ALIASES: Readonly<Record<string, Isolation>> = { rootless: 'namespaces' };

/** Reads `--isolation`; `auto` is `undefined`, and so is what makes no sense with `known` false. */
export function readIsolation(text: string): {
  readonly known: boolean;
  readonly isolation: Isolation | undefined;
} {
  const isolation = ISOLATIONS.find((name) => name === text) ?? ALIASES[text];
  return { known: isolation !== undefined || text === 'auto' || text === '', isolation };
}

/** What an isolation uses. */
export function meansOf(isolation: Isolation): Means {
  return isolation === 'user-namespace' || isolation === 'single-id' ? 'namespaces' : isolation;
}

/**
 * The best means that this process's rights allow: namespaces for who may mount, a changed root for who may change it, and proot for
 * who may do nothing, where it is installed.
 * @param canMount false where it was found out that mounting is forbidden although the capability is there.
 */
export function bestMeans(canMount: boolean): Means | undefined {
  const held = heldCapabilities();
  if (canMount && held.includes('SYS_ADMIN')) return 'namespaces';
  if (held.includes('SYS_CHROOT') && held.includes('CHOWN')) return 'chroot';
  return findInPath('proot') === undefined ? undefined : 'proot';
}
