import type { KeyInput } from '../cache/key';
import type { ErrorCode } from '../diagnostics/error';
import { humanSize, seconds } from '../progress/units';
import type { ResourceUsage } from '../progress/events';
import type { Cause } from './cause';

/** How many of its project's latest builds a step is compared with. */
export const LOOKED_AT = 10;

/**
 * What is remembered of a build, so that it can be listed, explained, compared and shown. Times are
 * milliseconds.
 */
export interface BuildRecord {
  readonly version: 1;
  /** Sorts by time. */
  readonly id: string;
  /** Builds of one Dockerfile and context share it. */
  readonly project: string;
  /** RFC 3339. */
  readonly started: string;
  readonly durationMs: number;
  readonly outcome: 'done' | 'failed' | 'canceled';
  readonly error?: { readonly code: ErrorCode; readonly message: string } | undefined;
  /** As they were given. */
  readonly context: string;
  readonly dockerfile: string;
  readonly target?: string | undefined;
  readonly platform?: string | undefined;
  /** The form of its keys (cache/key.ts). */
  readonly keys?: string | undefined;
  readonly bases: readonly BaseRecord[];
  /** In order of the Dockerfile; those that were never reached are missing. */
  readonly steps: readonly StepRecord[];
  /** Every row of progress, steps included: what the build's time went into. */
  readonly rows: readonly RowRecord[];
  readonly cache: CacheSummary;
  readonly result?:
    | {
        readonly imageId?: string | undefined;
        readonly digest?: string | undefined;
        readonly names: readonly string[];
      }
    | undefined;
}

/** An image that a stage began with. */
export interface BaseRecord {
  readonly stage: string;
  /** `os/architecture[/variant]`; not in records of caches elsewhere. */
  readonly platform?: string | undefined;
  readonly name: string;
  readonly digest: string;
}

/** A step of a build that came to an end, well or not. */
export interface StepRecord {
  /** As progress shows it: `[build 2/4] RUN make`. */
  readonly name: string;
  readonly stage: string;
  /** What its stage is for, `os/architecture[/variant]`. */
  readonly platform?: string | undefined;
  /** Place among the steps of its stage, from 0. */
  readonly index: number;
  /** Line of the Dockerfile. */
  readonly line: number;
  /** The instruction as it is written, in one line. */
  readonly text: string;
  readonly key: string;
  readonly cached: boolean;
  readonly failed?: boolean | undefined;
  /** Run, and found to have left what an earlier run had left. */
  readonly kept?: boolean | undefined;
  /** It failed, and its tree was taken as a person left it, for this build alone. */
  readonly taken?: boolean | undefined;
  /** What the step would do: of those that were run. Of the others the cache's record tells. */
  readonly input?: KeyInput | undefined;
  /** Why it was not taken from the cache. */
  readonly causes?: readonly Cause[] | undefined;
  /** The earlier step that the causes compare it with. */
  readonly earlier?: EarlierStep | undefined;
  /** How long it ran: now, or when the result in the cache was made. */
  readonly durationMs: number;
  /** What a RUN took of the machine. */
  readonly usage?: ResourceUsage | undefined;
  /** The layer that it added, with the bytes of its files. */
  readonly layer?: { readonly diffId: string; readonly size: number } | undefined;
  /** Number of its row, which names its log. */
  readonly row: number;
  /** The build that ran it, of a cached step. */
  readonly madeBy?: string | undefined;
  /** The cache elsewhere that a cached step was taken from. */
  readonly from?: string | undefined;
}

/** A step of an earlier build of this store, or of a build elsewhere. */
export interface EarlierStep {
  readonly build?: string | undefined;
  /** The cache that tells of it, of one elsewhere. */
  readonly from?: string | undefined;
  readonly key: string;
  readonly durationMs: number;
}

/** One row of progress. */
export interface RowRecord {
  readonly id: number;
  readonly name: string;
  /** Since the start of the build. */
  readonly start?: number | undefined;
  readonly end?: number | undefined;
  readonly state: 'done' | 'cached' | 'failed' | 'canceled' | 'waiting';
  readonly notes?: readonly string[] | undefined;
  /** Bytes of output that were kept. */
  readonly logBytes?: number | undefined;
}

/**
 * What the cache was good for in one build. Steps that several stages have in common are done once,
 * and counted once.
 */
export interface CacheSummary {
  readonly hits: number;
  readonly misses: number;
  /** Of all steps; 1 when there were none. */
  readonly hitRatio: number;
  /** How long the steps ran whose results were taken from the cache. */
  readonly secondsSaved: number;
  /** Bytes of the files in layers that were not made anew. */
  readonly bytesSaved: number;
}

/** Sums up steps. A step that was run and left what an earlier one had left is a miss. */
export function summaryOf(
  all: readonly Pick<StepRecord, 'key' | 'cached' | 'durationMs' | 'layer'>[],
): CacheSummary {
  const steps = new Map(all.map((step) => [step.key, step]));
  for (const step of all) if (!step.cached) steps.set(step.key, step);
  const hits = [...steps.values()].filter((step) => step.cached);
  return {
    hits: hits.length,
    misses: steps.size - hits.length,
    hitRatio: steps.size === 0 ? 1 : hits.length / steps.size,
    secondsSaved: Math.round(hits.reduce((sum, step) => sum + step.durationMs, 0)) / 1000,
    bytesSaved: hits.reduce((sum, step) => sum + (step.layer?.size ?? 0), 0),
  };
}

/** The earlier step that a miss was compared with, in words. */
export function comparedWith({ build, from }: EarlierStep): string {
  return from === undefined
    ? `compared with build ${build ?? ''}`
    : `compared with the cache of ${from}`;
}

/**
 * Number of a step as progress shows it: `2` of `[2/4] RUN make`, `build 2` of
 * `[build 2/4] RUN make`.
 */
export function stepNumber(name: string): string {
  const [, stage, number] = /^\[(?:(\S+) )?\s*(\d+)\/\d+\]/.exec(name) ?? [];
  if (number === undefined) return name;
  return stage === undefined ? number : `${stage} ${number}`;
}

/** What a RUN took of the machine, in words. */
export function usageText({ userMs, systemMs, peakMemory }: ResourceUsage): string {
  return `${seconds(userMs + systemMs)} of CPU, largest process ${humanSize(peakMemory)}`;
}

/** What the cache was good for in one line, for the end of a build's output. */
export function summaryLine(
  id: string,
  { hits, misses, secondsSaved, bytesSaved }: CacheSummary,
): string {
  const total = hits + misses;
  const saved =
    hits === 0 ? '' : `, ${seconds(secondsSaved * 1000)} and ${humanSize(bytesSaved)} saved`;
  return `build ${id}: ${hits} of ${total} step${total === 1 ? '' : 's'} from the cache${saved}`;
}
