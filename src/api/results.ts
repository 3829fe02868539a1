import type { CacheSummary, EarlierStep } from '../history/build-record';
import type { Cause } from '../history/cause';
import type { Descriptor } from '../oci/image';
import type { Forecast } from '../pipeline/forecast';
import type { ResourceUsage } from '../progress/events';

/** What a build would do, found out without doing it: `mbuild plan --format json`. */
export interface Plan extends Forecast {
  readonly version: 1;
}

/** Why the steps of a build were taken from the cache or not: `mbuild explain --format json`. */
export interface Explanation {
  readonly version: 1;
  /** Id of the build. */
  readonly build: string;
  /** RFC 3339. */
  readonly started: string;
  readonly dockerfile: string;
  readonly context: string;
  readonly outcome: 'done' | 'failed' | 'canceled';
  readonly cache: CacheSummary;
  readonly steps: readonly ExplainedStep[];
}

/** One step of an {@link Explanation}. */
export interface ExplainedStep {
  /** As progress shows it: `[build 2/4] RUN make`. */
  readonly name: string;
  readonly stage: string;
  /** Place among the steps of its stage, from 0. */
  readonly index: number;
  /** Line of the Dockerfile. */
  readonly line: number;
  /** The instruction as it is written, in one line. */
  readonly text: string;
  readonly key: string;
  readonly cached: boolean;
  /** Run, and found to have left what an earlier run had left. */
  readonly kept: boolean;
  readonly failed: boolean;
  /** How long it ran: now, or when the result in the cache was made. */
  readonly durationMs: number;
  /** What a RUN took of the machine, if it ran. */
  readonly usage?: ResourceUsage | undefined;
  /** The build that ran it, of a cached step. */
  readonly madeBy?: string | undefined;
  /** The cache elsewhere that a cached step was taken from. */
  readonly from?: string | undefined;
  /** The earlier step that the causes compare it with. */
  readonly earlier?: EarlierStep | undefined;
  /** Why it was not taken from the cache; `text` says it in words. */
  readonly causes: readonly (Cause & { readonly text: string })[];
}

/** An image in a list. */
export interface ImageSummary {
  /** Digest of the image's config. */
  readonly id: string;
  /** As users write them: `app:1`, `reg.example/app:1`. */
  readonly names: readonly string[];
  /** `repository@sha256:…` under which registries know it. */
  readonly repoDigests: readonly string[];
  /** RFC 3339. */
  readonly created?: string | undefined;
  /** Bytes of the files of all layers. */
  readonly size: number;
  /** `os/architecture[/variant]` */
  readonly platform: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** An image or container, as `docker inspect` shows it. */
export type Inspected = Readonly<Record<string, unknown>>;

/** What came of a pull or push, for each name that was transferred. */
export interface Transferred {
  /** `repository:tag` */
  readonly name: string;
  /** What the name points at in the registry. */
  readonly descriptor: Descriptor;
  /** Of a pull: false when the store had this very image before. Of a push: always true. */
  readonly changed: boolean;
}

/** An image that came out of an archive. */
export interface LoadedImage {
  readonly id: string;
  readonly names: readonly string[];
}

/** What came of a command in a container. */
export interface RunResult {
  /** The command's own; 128 and the signal's number when a signal ended it. */
  readonly exitCode: number;
  /** What it wrote; empty when `onOutput` took it. */
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
}

/** What was removed, or would be. */
export interface Pruned {
  /** Ids of containers. */
  readonly containers: readonly string[];
  /** Ids of images. */
  readonly images: readonly string[];
  /** Keys of results of the cache. */
  readonly cache: readonly string[];
  /** Bytes on disk. */
  readonly bytes: number;
}
