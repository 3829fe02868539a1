import { readFileSync } from 'node:fs';
import path from 'node:path';
import { MbuildError, errnoOf } from '../../diagnostics/error';
import { keepsOwners } from '../../linux/owners';
import { makeCgroup, refusalFix, refusalText, stepGroupName } from '../cgroups/cgroup';
import { findInPath } from '../find-program';
import { inPlaceObstacle } from './in-place';
import { bestMeans, meansOf, type Isolation } from './ladder';
import { findRuntime } from './oci-runtime';
import {
  holds,
  probeChroot,
  probeNamespaces,
  probeOwnProc,
  probeUserNamespace,
  type Obstacle,
} from './probe';
import { hasSeccomp } from '../seccomp/profile';
import { canSupervise } from '../supervisor';
import { findMaps } from '../namespaces/user-namespace';

/** One way to isolate RUN, from the best to the least. */
export interface Rung {
  readonly name: Isolation;
  readonly works: boolean;
  /** What it gives, where it works; what is in the way, where it does not. */
  readonly why: string;
  /** A command or a setting that would make it work. */
  readonly fix?: string | undefined;
}

/** What this process can isolate with. */
export interface Examination {
  readonly rungs: readonly Rung[];
  /** The one that is taken when none is asked for; `undefined` when RUN cannot be isolated at all. */
  readonly chosen: Rung['name'] | undefined;
  readonly seccomp: string;
  /** Which limits of RUN can be set. */
  readonly limits: string;
  /** What would let the others be set, where that is known. */
  readonly limitsFix?: string | undefined;
}

/** Where what RUN gives away is not kept beside the files. */
const CHOWN_IS_LOST = 'chown in RUN succeeds and is lost';

/**
 * Tries out each rung.
 * @param scratch a folder to try things in.
 */
export function examineIsolation(scratch: string, uid: number): Examination {
  const namespaces = examineNamespaces(scratch, uid);
  const inUserNamespace = examineUserNamespaces(scratch, uid);
  const rungs = [
    namespaces,
    ...inUserNamespace,
    examineRuntime([namespaces, ...inUserNamespace].some(({ works }) => works)),
    examineChroot(scratch, uid),
    examineProot(uid),
    examineInPlace(),
  ];
  const chosen =
    uid === 0
      ? bestMeans(namespaces.works)
      : rungs.find((rung) => rung.works && rung.name !== 'oci' && rung.name !== 'in-place')?.name;
  return { rungs, chosen, seccomp: seccompFact(chosen), ...limitsFacts() };
}

/**
 * What to say of an isolation that was asked for and cannot be had.
 * @param scratch as for {@link examineIsolation}.
 */
export function refuseIsolation(isolation: Isolation, scratch: string, uid: number): MbuildError {
  const { rungs, chosen } = examineIsolation(scratch, uid);
  const rung = rungs.find(({ name }) => name === isolation);
  const others =
    chosen === undefined
      ? 'nothing else can be had here'
      : `without --isolation it would be ${chosen}`;
  return new MbuildError(
    'SANDBOX_UNAVAILABLE',
    `--isolation=${isolation} cannot be had: ${rung === undefined || rung.works ? 'it needs ids for other users, and is for who has the rights' : rung.why}`,
    {
      hint: [rung?.fix, others].filter(Boolean).join('; '),
    },
  );
}

/** The same where nothing at all can be had. */
export function refuseRun(scratch: string, uid: number): MbuildError {
  const { rungs } = examineIsolation(scratch, uid);
  const tried = rungs.filter(
    ({ name }) =>
      name !== 'oci' &&
      name !== 'in-place' &&
      (uid === 0 || (name !== 'namespaces' && name !== 'chroot')),
  );
  return new MbuildError(
    'SANDBOX_UNAVAILABLE',
    `RUN cannot be isolated here: ${tried.map(({ name, why }) => `${name}: ${why}`).join('; ')}`,
    {
      hint: `${tried.findLast(({ fix }) => fix !== undefined)?.fix ?? 'run elsewhere'}; \`mbuild doctor\` says what else would help. Without RUN, no rights are needed`,
    },
  );
}

function examineNamespaces(scratch: string, uid: number): Rung {
  const name = 'namespaces';
  if (uid !== 0) return { name, works: false, why: 'only root can', fix: 'sudo mbuild …' };
  if (!holds('SYS_ADMIN')) {
    return {
      name,
      works: false,
      why: 'this root lacks CAP_SYS_ADMIN: it is that of a container',
      fix: 'docker run --privileged …; in Kubernetes securityContext.privileged: true',
    };
  }
  const obstacle = probeNamespaces(scratch);
  if (obstacle === undefined)
    return {
      name,
      works: true,
      why: 'everything of its own: mounts, processes, host name, IPC; network on demand; system calls filtered',
    };
  return {
    name,
    works: false,
    why: describe(obstacle),
    fix: 'docker run --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined …',
  };
}

/** With ids for other users, and without. */
function examineUserNamespaces(scratch: string, uid: number): Rung[] {
  const [many, one] = [{ name: 'user-namespace' }, { name: 'single-id' }] as const;
  if (uid === 0)
    return [many, one].map((rung) => ({
      ...rung,
      works: false,
      why: 'for ordinary users; this is root',
    }));
  const obstacle = probeUserNamespace(scratch);
  if (obstacle !== undefined)
    return [many, one].map((rung) => ({
      ...rung,
      works: false,
      why: describe(obstacle),
      fix: userNamespaceFix(),
    }));
  const hasProc = probeOwnProc(scratch) === undefined;
  const owners = `owners are kept beside the files${canSupervise() ? '' : `; ${CHOWN_IS_LOST}, for calls of RUN cannot be answered here`}`;
  const single: Rung = hasProc
    ? { ...one, works: true, why: `the same with one id: ${owners}` }
    : {
        ...one,
        works: true,
        why: `with one id and a changed root: no /proc can be mounted, for parts of it are hidden here; ${owners}`,
        fix: 'with namespaces too: docker run --security-opt systempaths=unconfined …; in Kubernetes procMount: Unmasked',
      };
  const maps = findMaps(uid);
  if (!('missing' in maps))
    return [
      {
        ...many,
        works: true,
        why: 'the same as for root, with ids of /etc/subuid and /etc/subgid',
      },
      single,
    ];
  const fix = maps.missing.startsWith('the program')
    ? 'as root: apt-get install uidmap (dnf install shadow-utils)'
    : 'as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER';
  return [{ ...many, works: false, why: `${maps.missing} is missing`, fix }, single];
}

/** Never chosen by itself. */
function examineRuntime(canMount: boolean): Rung {
  const name = 'oci';
  const runtime = findRuntime();
  if (runtime === undefined)
    return { name, works: false, why: 'neither crun nor runc is installed; nothing needs them' };
  return canMount
    ? { name, works: true, why: `RUN by ${runtime.path}, when --isolation=oci asks for it` }
    : { name, works: false, why: `${runtime.path} needs what namespaces need` };
}

function examineChroot(scratch: string, uid: number): Rung {
  const name = 'chroot';
  if (uid !== 0)
    return {
      name,
      works: false,
      why: 'only root can',
      fix: 'run as root, of a container at least',
    };
  const obstacle = probeChroot(scratch);
  if (obstacle === undefined)
    return {
      name,
      works: true,
      why: 'a changed root on a copy of the tree: no /proc, no --network=none, no read-only mounts',
    };
  return { name, works: false, why: describe(obstacle), fix: 'docker run --cap-add SYS_CHROOT …' };
}

function examineProot(uid: number): Rung {
  const name = 'proot';
  if (uid === 0 && !keepsOwners())
    return {
      name,
      works: false,
      why: 'for who has no rights; this is root, and steps would be too',
    };
  if (findInPath(name) === undefined)
    return {
      name,
      works: false,
      why: 'the program proot is missing',
      fix: 'as root: apt-get install proot',
    };
  return {
    name,
    works: true,
    why: `every call of RUN is caught and redirected to a copy of the tree: slow, and no protection from what a step does on purpose; ${CHOWN_IS_LOST}`,
  };
}

/** Never chosen by itself. */
function examineInPlace(): Rung {
  const name = 'in-place';
  const obstacle = inPlaceObstacle();
  if (obstacle === undefined)
    return {
      name,
      works: true,
      why: 'the tree is put over / for the time of RUN, with /proc, when --isolation=in-place asks for it',
    };
  return { name, works: false, why: obstacle };
}

/**
 * What to do where no user namespace can be used: undo the setting that forbids it.
 * @param root where the machine's /proc is looked for.
 */
export function userNamespaceFix(root = '/'): string {
  const setting = (name: string): string | undefined =>
    readSetting(path.join(root, 'proc/sys', name));
  if (setting('user/max_user_namespaces') === '0')
    return 'as root: sysctl -w user.max_user_namespaces=15000';
  if (setting('kernel/unprivileged_userns_clone') === '0')
    return 'as root: sysctl -w kernel.unprivileged_userns_clone=1';
  if (setting('kernel/apparmor_restrict_unprivileged_userns') === '1')
    return 'as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0';
  return 'in a container: docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined …';
}

function seccompFact(chosen: Isolation | undefined): string {
  if (!hasSeccomp()) return 'this kernel has no filters for system calls';
  const outer = /^Seccomp:\s*2$/m.test(readFileSync('/proc/self/status', 'latin1'));
  if (chosen !== undefined && meansOf(chosen) === 'namespaces')
    return "RUN is limited to moby's default list of system calls; mbuild loads the filter itself";
  return outer
    ? 'RUN is under the filter that mbuild itself runs under'
    : 'RUN is not filtered: loading a filter needs CAP_SYS_ADMIN';
}

/** Tries out one limit of each kind. */
function limitsFacts(): Pick<Examination, 'limits' | 'limitsFix'> {
  const { refused, remove } = makeCgroup(stepGroupName(), {
    memory: 64 << 20,
    cpus: 1,
    cpusetCpus: '0',
    pids: 1000,
  });
  remove();
  if (refused.length === 0) return { limits: 'memory, CPUs and processes of RUN can be limited' };
  return { limits: refusalText('RUN', refused), limitsFix: refusalFix(refused) };
}

function readSetting(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function describe({ what, errno }: NonNullable<Obstacle>): string {
  return `cannot ${what} (${errno})`;
}
