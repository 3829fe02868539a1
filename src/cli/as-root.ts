import { isMbuildError } from '../diagnostics/error';
import { heldCapabilities } from '../sandbox/capabilities';
import { isolationOf, type IsolationName } from '../sandbox/isolations/isolations';
import type { JoinedNamespace, UserMaps } from '../sandbox/namespaces/user-namespace';
import { boundOwners } from '../snapshot/ground';
import type { Ground } from '../snapshot/ground-file';
import type { SignalWatch } from './signals';

/** What a command line says about where it is to be done. */
export interface Whereabouts {
  /** The store's folder. */
  readonly root: string;
  readonly isolation: IsolationName | undefined;
  /** Of a command that has to do with containers: words that may name some. */
  readonly containers: readonly string[] | undefined;
}

/** True for an ordinary user, who can neither own other users' files nor mount. */
export function needsUserNamespace(): boolean {
  return process.getuid?.() !== 0 && !heldCapabilities().includes('CHOWN');
}

/**
 * Does the whole command as root of a user namespace, as `buildah unshare` would: so the store's
 * trees, with files of many users in them, are written, read and removed by one who may. Without
 * ids for other users it is one of its user's id alone. Containers that run share theirs, for only
 * who is in it can enter them, and end what runs there as another user.
 * @returns the exit code; `undefined` when there can be no such namespace, and the command has to
 * be done here.
 */
export async function runAsRoot(
  argv: readonly string[],
  watch: SignalWatch,
  where: Whereabouts,
): Promise<number | undefined> {
  const { findMaps, mayUseUserNamespaces, runInUserNamespace } =
    await import('../sandbox/namespaces/user-namespace');
  if (!mayUseUserNamespaces()) return undefined;
  const ranges = findMaps(process.getuid?.() ?? -1);
  const running =
    where.containers === undefined
      ? undefined
      : await namespaceOfContainers(where, where.containers);
  for (const maps of [
    ...(running === undefined ? [] : [running]),
    ...choices('missing' in ranges ? undefined : ranges, where),
  ]) {
    let release: (() => void) | undefined;
    try {
      return await runInUserNamespace(
        { file: process.execPath, args: [...ownArguments(argv), ...argv], env: process.env },
        maps,
        (send) => {
          // What a terminal sends reaches the whole group of processes by itself.
          release = watch.take((signal) => {
            if (signal !== 'SIGINT' || process.stdin.isTTY !== true) send(signal);
          });
        },
      );
    } catch (error) {
      if (!isMbuildError(error, 'SANDBOX_UNAVAILABLE')) throw error;
    } finally {
      release?.();
    }
  }
  return undefined;
}

/** How this mbuild was started, up to its own arguments. */
function ownArguments(argv: readonly string[]): string[] {
  return [...process.execArgv, ...process.argv.slice(1, process.argv.length - argv.length)];
}

const ONE_ID: UserMaps = { uids: [], gids: [] };

/** How a store keeps owners for whom an isolation gives these ids. */
const OWNERS: Readonly<Record<'ranges' | 'one', Ground['owners']>> = {
  ranges: 'kernel',
  one: 'beside',
};

/**
 * The maps to try, best first: what was asked for; else what the store was made with; else all that
 * there is.
 */
function choices(ranges: UserMaps | undefined, { root, isolation }: Whereabouts): UserMaps[] {
  const ids = isolation === undefined ? undefined : isolationOf(isolation).ids;
  if (ids === 'own') return [];
  const owners = ids === undefined ? ownersOf(root) : OWNERS[ids];
  const many = ranges === undefined ? [] : [ranges];
  if (owners === 'beside') return [ONE_ID];
  return owners === 'kernel' ? many : [...many, ONE_ID];
}

/** Where the containers of a store run: the first that is named, or any. */
async function namespaceOfContainers(
  { root, isolation }: Whereabouts,
  words: readonly string[],
): Promise<JoinedNamespace | undefined> {
  const owners = ownersOf(root);
  const ids = isolation === undefined ? undefined : isolationOf(isolation).ids;
  if (owners === undefined || ids === 'own') return undefined;
  if (ids !== undefined && OWNERS[ids] !== owners) return undefined;
  const [{ ContainerStore }, { runsHere }] = await Promise.all([
    import('../containers/store'),
    import('../linux/process'),
  ]);
  const running = new ContainerStore(root)
    .list()
    .filter(
      ({ state }) =>
        state.status === 'running' && state.supervisor !== undefined && runsHere(state.supervisor),
    );
  // As cp has it, a path may be behind the name.
  const names = words.map((word) => word.split(':')[0] ?? '').filter((name) => name !== '');
  const container =
    running.find(({ record }) =>
      names.some((name) => name === record.name || record.id.startsWith(name)),
    ) ?? running[0];
  return container?.state.supervisor;
}

function ownersOf(root: string): Ground['owners'] | undefined {
  try {
    return boundOwners(root);
  } catch {
    // Whoever opens the store says what is wrong with it.
    return undefined;
  }
}
