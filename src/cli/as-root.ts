import { MbuildError } from '../diagnostics/error';
import { heldCapabilities } from '../sandbox/capabilities';
import type { SignalWatch } from './signals';

/** True for an ordinary user, who can neither own other users' files nor mount. */
export function needsUserNamespace(): boolean {
  return process.getuid?.() !== 0 && !heldCapabilities().includes('CHOWN');
}

/**
 * Does the whole command as root of a user namespace, as `buildah unshare` would: so the store's trees, with files of many
 * users in them, are written, read and removed by one who may.
 * @throws MbuildError SANDBOX_UNAVAILABLE with the way out.
 */
export async function runAsRoot(argv: readonly string[], watch: SignalWatch): Promise<number> {
  const { findMaps, runInUserNamespace } = await import('../sandbox/user-namespace');
  const uid = process.getuid?.() ?? -1;
  const maps = findMaps(uid);
  if ('missing' in maps) {
    throw new MbuildError('SANDBOX_UNAVAILABLE', `a user who is not root needs ids to give to the files of images: ${maps.missing} is missing`, {
      hint: 'as root: apt-get install uidmap; usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER. `mbuild doctor` tells more',
    });
  }
  let release: (() => void) | undefined;
  try {
    return await runInUserNamespace(process.execPath, [...process.execArgv, ...process.argv.slice(1, process.argv.length - argv.length), ...argv], process.env, maps, (send) => {
      // What a terminal sends reaches the whole group of processes by itself.
      release = watch.take((signal) => {
        if (signal !== 'SIGINT' || process.stdin.isTTY !== true) send(signal);
      });
    });
  } finally {
    release?.();
  }
}
