import type { BuildEvent } from '../../src/progress/events';
import type { Renderer } from '../../src/progress/renderer';

/** The moment at which the played builds start. */
export const START = Date.UTC(2026, 0, 1);

const encoder = new TextEncoder();

/** Short forms of events; times are milliseconds after {@link START}. */
export const say = {
  vertex: (id: number, name: string): BuildEvent => ({ kind: 'vertex', id, name }),
  started: (id: number, at: number): BuildEvent => ({ kind: 'started', id, time: START + at }),
  log: (
    id: number,
    at: number,
    text: string | Uint8Array,
    stream: 'stdout' | 'stderr' = 'stdout',
  ): BuildEvent => ({
    kind: 'log',
    id,
    time: START + at,
    stream,
    data: typeof text === 'string' ? encoder.encode(text) : text,
  }),
  status: (
    id: number,
    at: number,
    item: string,
    state: 'downloading' | 'extracting' | 'done' | 'waiting' | 'exists',
    current = 0,
    total?: number,
  ): BuildEvent => ({ kind: 'status', id, time: START + at, item, state, current, total }),
  note: (id: number, text: string): BuildEvent => ({ kind: 'note', id, text }),
  done: (id: number, at: number, cached = false): BuildEvent => ({
    kind: 'done',
    id,
    time: START + at,
    cached,
  }),
  failed: (id: number, at: number, error: string, canceled = false): BuildEvent => ({
    kind: 'failed',
    id,
    time: START + at,
    error,
    canceled,
  }),
};

/** What a renderer writes when it is given the events. */
export function play(
  make: (write: (text: string) => void) => Renderer,
  events: readonly BuildEvent[],
  until = 0,
): string {
  let text = '';
  const renderer = make((part) => {
    text += part;
  });
  for (const event of events) renderer.events(event);
  renderer.finish(START + until);
  return text;
}
