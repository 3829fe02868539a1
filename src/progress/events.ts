import type { Diagnostic } from '../diagnostics/error';

/** Identifies one row of progress (a step, a pull, an export) within a build; unique per build. */
export type VertexId = number;

/**
 * What happens during a build or a transfer, in order of time. Renderers and embedding programs see
 * nothing else. Times are milliseconds since the Unix epoch.
 */
export type BuildEvent =
  /**
   * A row comes into being; it may wait before it starts. `name` reads as BuildKit's:
   * `[build 2/4] RUN make`.
   */
  | {
      readonly kind: 'vertex';
      readonly id: VertexId;
      readonly name: string;
      readonly stage?: string | undefined;
      readonly line?: number | undefined;
    }
  | { readonly kind: 'started'; readonly id: VertexId; readonly time: number }
  /** Output of a step, as its process wrote it. */
  | {
      readonly kind: 'log';
      readonly id: VertexId;
      readonly time: number;
      readonly stream: 'stdout' | 'stderr';
      readonly data: Uint8Array;
    }
  /** Part of a row: a layer being pulled, pushed or extracted. `total` is absent while unknown. */
  | {
      readonly kind: 'status';
      readonly id: VertexId;
      readonly time: number;
      readonly item: string;
      readonly state: TransferState;
      readonly current: number;
      readonly total?: number | undefined;
    }
  /** One line about a row, such as why its cache was missed. */
  | { readonly kind: 'note'; readonly id: VertexId; readonly text: string }
  | { readonly kind: 'usage'; readonly id: VertexId; readonly usage: ResourceUsage }
  | {
      readonly kind: 'done';
      readonly id: VertexId;
      readonly time: number;
      readonly cached: boolean;
    }
  | {
      readonly kind: 'failed';
      readonly id: VertexId;
      readonly time: number;
      readonly error: string;
      readonly canceled?: boolean | undefined;
    }
  | { readonly kind: 'warning'; readonly diagnostic: Diagnostic };

/** What a process and the descendants that it waited for took of the machine. getrusage(2). */
export interface ResourceUsage {
  /** Milliseconds of CPU, of the program and of the system on its behalf. */
  readonly userMs: number;
  readonly systemMs: number;
  /** Bytes: the most memory that one of the processes had at a time. */
  readonly peakMemory: number;
  /** Bytes from and to disks. */
  readonly readBytes: number;
  readonly writtenBytes: number;
}

/** Where one part of a transfer stands. */
export type TransferState =
  | 'waiting'
  | 'downloading'
  | 'verifying'
  | 'extracting'
  | 'preparing'
  | 'uploading'
  | 'exists'
  | 'mounted'
  | 'done'
  | 'retrying';

/** Takes events; never throws and never blocks the one who reports. */
export type EventSink = (event: BuildEvent) => void;

/** What travels through every operation that takes time. */
export interface BuildScope {
  /** Aborted when the user gives up; everything stops at once and cleans up. */
  readonly signal: AbortSignal;
  readonly events: EventSink;
}

/** Hands out the ids of a build's rows. */
export function vertexIds(): () => VertexId {
  let next = 1;
  return () => next++;
}

/** Does a piece of work as a row of progress: it begins, and ends well or not. */
export async function withRow<T>(
  name: string,
  id: VertexId,
  scope: BuildScope,
  work: (id: VertexId) => Promise<T>,
): Promise<T> {
  scope.events({ kind: 'vertex', id, name });
  scope.events({ kind: 'started', id, time: Date.now() });
  try {
    const result = await work(id);
    scope.events({ kind: 'done', id, time: Date.now(), cached: false });
    return result;
  } catch (error) {
    scope.events({
      kind: 'failed',
      id,
      time: Date.now(),
      error: error instanceof Error ? error.message : String(error),
      canceled: scope.signal.aborted,
    });
    throw error;
  }
}
