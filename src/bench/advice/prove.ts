import { setImmediate } from 'node:timers/promises';
import type { SourceFile } from '../../diagnostics/range';
import { Analyser, type AnalysedCommit, type CostOf } from '../analysis';
import type { ScheduledBuild } from '../git/schedule';
import type { CommitReader, ReplayTarget } from '../keys/commit-keys';
import type { Policy } from '../policies/policy';
import type { Candidate, Edit } from './advice';

/** What a history costs. */
export interface HistoryCost {
  readonly seconds: number;
  readonly bytes: number;
}

/** What histories are tried on. */
export interface ProofServices {
  readonly reader: CommitReader;
  readonly costOf: CostOf;
  readonly builds: readonly ScheduledBuild[];
  readonly policy: Policy;
  readonly signal: AbortSignal;
}

const TOGETHER = 64;

/** Replays a history with some changes in its files. Commits that they do not fit are as they were. */
export async function costWith(
  target: ReplayTarget,
  candidates: readonly Candidate[],
  { reader, costOf, builds, policy, signal }: ProofServices,
): Promise<HistoryCost> {
  const changed: ReplayTarget = {
    ...target,
    rewrite: rewriteOf(candidates.map(({ edit }) => edit)),
  };
  const analyser = new Analyser(reader.contexts, sparing(costOf, candidates), false);
  const simulation = policy.simulate();
  let [seconds, bytes] = [0, 0];
  const last = new Map<string | undefined, AnalysedCommit>();
  for (let from = 0; from < builds.length && !signal.aborted; from += TOGETHER) {
    await setImmediate(); // signals are seen between turns alone
    const some = builds.slice(from, from + TOGETHER);
    const keys = await Promise.all(some.map(({ commit }) => reader.read(commit, changed)));
    for (const [at, { commit, branch }] of some.entries()) {
      const next = keys[at];
      if (next === undefined) continue;
      const analysed = await analyser.analyse(next, last.get(branch) ?? last.get(undefined));
      if (analysed.steps.length > 0) last.set(branch, analysed);
      const outcomes = simulation.build(analysed, { time: commit.time, branch });
      if (next.problem !== undefined) continue;
      for (const [index, { cost }] of analysed.steps.entries()) {
        if (outcomes[index]?.kind === 'hit') continue;
        seconds += cost.seconds;
        bytes += cost.bytes;
      }
    }
  }
  return { seconds, bytes };
}

/** One change after the other. */
export function rewriteOf(edits: readonly Edit[]): NonNullable<ReplayTarget['rewrite']> {
  return {
    dockerfile: (file: SourceFile) =>
      edits.reduce((text, { dockerfile }) => dockerfile?.({ ...file, text }) ?? text, file.text),
    ignore: (text) =>
      edits.reduce<string | undefined>((known, { ignore }) => ignore?.(known) ?? known, text),
  };
}

/** Steps that a change makes shorter cost a part of what they cost without it. */
function sparing(costOf: CostOf, candidates: readonly Candidate[]): CostOf {
  const spared = new Map(
    candidates.flatMap(({ spared: some }) => (some === undefined ? [] : [[some.after, some]])),
  );
  if (spared.size === 0) return costOf;
  return (step) => {
    const found = spared.get(step.row.text);
    if (found === undefined) return costOf(step);
    // What is known of its cost is known by the words that it had.
    const row = { ...step.row, text: found.before, name: found.before };
    const cost = costOf({ ...step, row });
    return { ...cost, seconds: cost.seconds * (1 - found.part) };
  };
}
