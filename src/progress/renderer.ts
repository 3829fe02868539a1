import type { EventSink } from './events';

/** Shows a build to somebody. */
export interface Renderer {
  /** Takes an event; never throws. */
  readonly events: EventSink;
  /**
   * Called about ten times a second while the build runs, for what depends on the time.
   * Milliseconds since the epoch.
   */
  tick(now: number): void;
  /** Shows what was held back; nothing is written afterwards. A second call does nothing. */
  finish(now: number): void;
}

/** Where a renderer writes. It must not throw and not wait. */
export type Write = (text: string) => void;

/** Shows nothing: `--progress quiet` and `none`. */
export function quietRenderer(): Renderer {
  return { events: () => {}, tick: () => {}, finish: () => {} };
}
