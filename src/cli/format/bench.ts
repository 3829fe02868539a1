import type { BenchReport } from '../../bench/run';
import { humanSize } from '../../progress/units';
import { percent } from '../../bench/words';
import { csvText } from './bench-words';
import { layOutTable } from './table';

/** Real builds for people. */
export function showBench({ title, samples }: BenchReport): string {
  return `${title}\n${layOutTable([
    ['BUILD', 'WALL', 'CPU', 'MEMORY', 'HITS', 'MISSES', 'HIT RATIO', ''],
    ...samples.map((sample) => [
      sample.name.slice(0, 12),
      `${sample.wallSeconds.toFixed(3)}s`,
      `${sample.cpuSeconds.toFixed(2)}s`,
      humanSize(sample.peakBytes),
      String(sample.hits),
      String(sample.misses),
      percent(sample.hitRatio),
      sample.problem ?? '',
    ]),
  ])}`;
}

export function benchCsv({ samples }: BenchReport): string {
  return csvText([
    [
      'build',
      'wall_seconds',
      'cpu_seconds',
      'peak_bytes',
      'hits',
      'misses',
      'hit_ratio',
      'problem',
    ],
    ...samples.map((sample) => [
      sample.name,
      sample.wallSeconds,
      sample.cpuSeconds,
      sample.peakBytes,
      sample.hits,
      sample.misses,
      sample.hitRatio,
      sample.problem ?? '',
    ]),
  ]);
}
