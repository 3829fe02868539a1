import { chooseRenderer, type ProgressMode } from '../progress/choose';
import type { BuildScope } from '../progress/events';
import type { Host } from './host';

/** Milliseconds between two ticks of a renderer. */
const TICK = 100;

/** Shows what `work` reports, until it settles. */
export async function withProgress<T>(host: Host, mode: ProgressMode, work: (scope: BuildScope) => Promise<T>): Promise<T> {
  const renderer = chooseRenderer(mode, { write: (text) => host.err.write(text), isTTY: host.err.isTTY, size: () => host.err.size() }, host.env);
  const timer = setInterval(() => renderer.tick(host.now()), TICK);
  timer.unref();
  try {
    return await work({ signal: host.signal, events: renderer.events });
  } finally {
    clearInterval(timer);
    renderer.finish(host.now());
    // Results come after the progress, where both are shown on one terminal, but do not wait for a reader that sleeps.
    await Promise.race([host.err.drain(), new Promise((resolve) => { setTimeout(resolve, TICK).unref(); })]);
  }
}
