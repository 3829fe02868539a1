/** Some measurements of one thing, in seconds. */
export interface Statistics {
  readonly runs: readonly number[];
  readonly mean: number;
  /** Standard deviation of the sample; 0 for one run. */
  readonly deviation: number;
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** How many times as long something takes as something else. */
export interface Ratio {
  readonly mean: number;
  /** By the propagation of errors, as hyperfine has it. */
  readonly deviation: number;
}

/** @param runs at least one. */
export function statisticsOf(runs: readonly number[]): Statistics {
  const sorted = runs.toSorted((a, b) => a - b);
  const mean = runs.reduce((sum, run) => sum + run, 0) / runs.length;
  const squares = runs.reduce((sum, run) => sum + (run - mean) ** 2, 0);
  const middle = Math.floor(sorted.length / 2);
  const [low, high] = [sorted[sorted.length % 2 === 1 ? middle : middle - 1], sorted[middle]];
  return {
    runs: runs.map(rounded),
    mean: rounded(mean),
    deviation: rounded(runs.length < 2 ? 0 : Math.sqrt(squares / (runs.length - 1))),
    median: rounded(((low ?? 0) + (high ?? 0)) / 2),
    min: rounded(sorted[0] ?? 0),
    max: rounded(sorted.at(-1) ?? 0),
  };
}

export function ratioOf(one: Statistics, other: Statistics): Ratio {
  const mean = one.mean / other.mean;
  const relative = Math.hypot(one.deviation / one.mean, other.deviation / other.mean);
  return { mean: rounded(mean), deviation: rounded(mean * relative) };
}

/** To milliseconds. */
function rounded(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}
