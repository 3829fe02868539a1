import type { Container } from './container';

/** Something that happened to a container, as `docker events` tells it. */
export interface ContainerEvent {
  readonly action: 'create' | 'start' | 'die';
  readonly container: Container;
  /** Milliseconds since the epoch. */
  readonly time: number;
}

/**
 * What happened to the given containers, the oldest first: what their records say. A container that
 * was removed tells nothing any more, and of one that ran several times the last run counts.
 */
export function eventsOf(containers: readonly Container[]): ContainerEvent[] {
  const found = containers.flatMap((container) => {
    const { record, state } = container;
    return [
      event('create', record.created, container),
      event('start', state.started, container),
      event('die', state.finished, container),
    ].flat();
  });
  return found.sort((a, b) => a.time - b.time);
}

function event(
  action: ContainerEvent['action'],
  written: string | undefined,
  container: Container,
): ContainerEvent[] {
  const time = Date.parse(written ?? '');
  return Number.isNaN(time) ? [] : [{ action, container, time }];
}
