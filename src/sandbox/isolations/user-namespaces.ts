import { readFileSync } from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../../diagnostics/error';
import { findMaps } from '../namespaces/user-namespace';
import { canSupervise } from '../supervisor';
import type { Finding } from './isolation';
import { obstacleText, probeOwnProc, probeUserNamespace } from './probe';

/** Where what RUN gives away is not kept beside the files. */
export const CHOWN_IS_LOST = 'chown in RUN succeeds, but has no effect';

/** Why a user can use no user namespace; `undefined` where one can. */
export function examineUserNamespace(uid: number): Finding | undefined {
  if (uid === 0) return { works: false, why: 'only for ordinary users, but this is root' };
  const obstacle = probeUserNamespace();
  return obstacle === undefined
    ? undefined
    : { works: false, why: obstacleText(obstacle), fix: userNamespaceFix() };
}

/** Whether a user has ids for others. */
export function findIds(uid: number): Finding {
  const maps = findMaps(uid);
  if (!('missing' in maps))
    return {
      works: true,
      why: 'the same as for root, with the ids of /etc/subuid and /etc/subgid',
    };
  const fix = maps.missing.startsWith('the program')
    ? 'as root: apt-get install uidmap (dnf install shadow-utils)'
    : 'as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER';
  return { works: false, why: `${maps.missing} is missing`, fix };
}

/** What one id alone gives, where a user namespace can be used. */
export function examineOneId(scratch: string): Finding {
  const owners = `owners are stored beside the files${canSupervise() ? '' : `; ${CHOWN_IS_LOST}, because system calls of RUN cannot be intercepted here`}`;
  if (probeOwnProc(scratch) === undefined)
    return { works: true, why: `the same with only one id: ${owners}` };
  return {
    works: true,
    why: `only one id, and chroot: /proc cannot be mounted, because parts of it are hidden here; ${owners}`,
    fix: 'with namespaces too: docker run --security-opt systempaths=unconfined …; in Kubernetes procMount: Unmasked',
  };
}

/**
 * Settings of the kernel that forbid user namespaces, with the value that does, and the way out.
 */
const SETTINGS = [
  ['user/max_user_namespaces', '0', 'user.max_user_namespaces=15000'],
  ['kernel/unprivileged_userns_clone', '0', 'kernel.unprivileged_userns_clone=1'],
  [
    'kernel/apparmor_restrict_unprivileged_userns',
    '1',
    'kernel.apparmor_restrict_unprivileged_userns=0',
  ],
] as const;

/**
 * What to do where no user namespace can be used: undo the setting that forbids it.
 * @param root where the machine's /proc is looked for.
 */
export function userNamespaceFix(root = '/'): string {
  const forbidding = SETTINGS.find(
    ([name, value]) => readSetting(path.join(root, 'proc/sys', name)) === value,
  );
  return forbidding === undefined
    ? 'in a container: docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined …'
    : `as root: sysctl -w ${forbidding[2]}`;
}

function readSetting(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
