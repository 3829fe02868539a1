import { readFileSync } from 'node:fs';
import { MbuildError } from '../../diagnostics/error';
import { makeCgroup, refusalFix, refusalText, stepGroupName } from '../cgroups/cgroup';
import { hasSeccomp } from '../seccomp/profile';
import type { Finding } from './isolation';
import { ISOLATIONS, bestIsolation, isolationOf, type IsolationName } from './isolations';

/** One way to isolate RUN, and what was found out about it. */
export interface Rung extends Finding {
  readonly name: IsolationName;
}

/** What this process can isolate with. */
export interface Examination {
  /** From the best to the least. */
  readonly rungs: readonly Rung[];
  /**
   * The one that is taken when none is asked for; `undefined` when RUN cannot be isolated at all.
   */
  readonly chosen: IsolationName | undefined;
  readonly seccomp: string;
  /** Which limits of RUN can be set. */
  readonly limits: string;
  /** What would let the others be set, where that is known. */
  readonly limitsFix?: string | undefined;
}

/**
 * Tries out each isolation.
 * @param scratch a directory to try things in.
 */
export async function examineIsolation(scratch: string, uid: number): Promise<Examination> {
  const rungs: Rung[] = [];
  for (const isolation of ISOLATIONS) {
    const finding = await isolation.examine({ scratch, uid, better: rungs });
    rungs.push({ name: isolation.name, ...finding });
  }
  const chosen = chosenOf(rungs, uid);
  return { rungs, chosen, seccomp: seccompFact(chosen), ...limitsFacts() };
}

function chosenOf(rungs: readonly Rung[], uid: number): IsolationName | undefined {
  const canMount = rungs.some(({ name, works }) => name === 'namespaces' && works);
  if (uid === 0) return bestIsolation(canMount)?.name;
  return rungs.find(({ name, works }) => works && isolationOf(name).isChosen !== undefined)?.name;
}

/**
 * What to say of an isolation that was asked for and that this process has no rights for.
 * @param scratch as for {@link examineIsolation}.
 */
export async function refuseIsolation(
  isolation: IsolationName,
  scratch: string,
  uid: number,
): Promise<MbuildError> {
  const { rungs, chosen } = await examineIsolation(scratch, uid);
  const rung = rungs.find(({ name }) => name === isolation);
  const why =
    rung === undefined || rung.works
      ? 'it needs ids of other users, which this user does not have'
      : rung.why;
  const others =
    chosen === undefined
      ? 'no other isolation works here'
      : `without --isolation, mbuild uses ${chosen}`;
  return new MbuildError(
    'SANDBOX_UNAVAILABLE',
    `--isolation=${isolation} does not work here: ${why}`,
    { hint: [rung?.fix, others].filter(Boolean).join('; ') },
  );
}

/** The same where no isolation works at all. */
export async function refuseRun(scratch: string, uid: number): Promise<MbuildError> {
  const { rungs } = await examineIsolation(scratch, uid);
  const tried = rungs.filter(({ name }) => {
    const { isChosen, forRoot } = isolationOf(name);
    return isChosen !== undefined && (uid === 0 || !forRoot);
  });
  const fix = tried.findLast((rung) => rung.fix !== undefined)?.fix ?? 'run elsewhere';
  return new MbuildError(
    'SANDBOX_UNAVAILABLE',
    `RUN cannot be isolated here: ${tried.map(({ name, why }) => `${name}: ${why}`).join('; ')}`,
    {
      hint: `${fix}; to learn more, run \`mbuild doctor\`. A Dockerfile without RUN needs no rights`,
    },
  );
}

function seccompFact(chosen: IsolationName | undefined): string {
  if (!hasSeccomp()) return 'this kernel cannot filter system calls';
  if (chosen !== undefined && isolationOf(chosen).mounts)
    return "RUN is limited to moby's default list of system calls; mbuild loads the filter itself";
  return /^Seccomp:\s*2$/m.test(readFileSync('/proc/self/status', 'latin1'))
    ? 'RUN has the same filter as mbuild itself'
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
