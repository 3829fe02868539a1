import { isMbuildError } from '../diagnostics/error';
import { heldCapabilities } from '../sandbox/capabilities';
import type { Isolation } from '../sandbox/ladder';
import type { UserMaps } from '../sandbox/user-namespace';
import { readGround, type Ground } from '../snapshot/ground';
import type { SignalWatch } from './signals';

/** What a command line says about where it is to be done. */
export interface Whereabouts {
  /** The store's folder. */
  readonly root: string;
  readonly isolation: Isolation | undefined;
}

/** True for an ordinary user, who can neither own other users' files nor mount. */
export function needsUserNamespace(): boolean {
  return process.getuid?.() !== 0 && !heldCapabilities().includes('CHOWN');
}

/**
 * Does the whole command as root of a user namespace, as `buildah unshare` would: so the store's trees, with files of many
 * users in them, are written, read and removed by one who may. Without ids for other users it is one of its user's id alone.
 * @returns the exit code; `undefined` when there can be no such namespace, and the command has to be done here.
 */
export async function runAsRoot(argv: readonly string[], watch: SignalWatch, where: Whereabouts): Promise<number | undefined> {
  const { findMaps, mayUseUserNamespaces, runInUserNamespace } = await import('../sandbox/user-namespace');
  if (!mayUseUserNamespaces()) return undefined;
  const ranges = findMaps(process.getuid?.() ?? -1);
  for (const maps of choices('missing' in ranges ? undefined : ranges, where)) {
    let release: (() => void) | undefined;
    try {
      return await runInUserNamespace(process.execPath, [...process.execArgv, ...process.argv.slice(1, process.argv.length - argv.length), ...argv], process.env, maps, (send) => {
        // What a terminal sends reaches the whole group of processes by itself.
        release = watch.take((signal) => {
          if (signal !== 'SIGINT' || process.stdin.isTTY !== true) send(signal);
        });
      });
    } catch (error) {
      if (!isMbuildError(error, 'SANDBOX_UNAVAILABLE')) throw error;
    } finally {
      release?.();
    }
  }
  return undefined;
}

const ONE_ID: UserMaps = { uids: [], gids: [] };

/** The maps to try, best first: what was asked for; else what the store was made with; else all that there is. */
function choices(ranges: UserMaps | undefined, { root, isolation }: Whereabouts): UserMaps[] {
  if (isolation === 'proot') return [];
  const owners = isolation === 'single-id' ? 'beside' : isolation === 'user-namespace' ? 'kernel' : ownersOf(root);
  const many = ranges === undefined ? [] : [ranges];
  return owners === 'beside' ? [ONE_ID] : owners === 'kernel' ? many : [...many, ONE_ID];
}

function ownersOf(root: string): Ground['owners'] | undefined {
  try {
    return readGround(root)?.owners;
  } catch {
    // Whoever opens the store says what is wrong with it.
    return undefined;
  }
}
