import { chooseRenderer, type ProgressMode } from '../progress/choose';
import type { BuildScope } from '../progress/events';
import { quietRenderer, type Renderer } from '../progress/renderer';
import { transferRenderer, type TransferKind } from '../progress/transfer';
import type { Host } from './host';

/** Milliseconds between two ticks of a renderer. */
const TICK = 100;

/** Shows what `work` reports, until it settles. */
export function withProgress<T>(
  host: Host,
  mode: ProgressMode,
  work: (scope: BuildScope) => Promise<T>,
): Promise<T> {
  const screen = {
    write: (text: string) => host.err.write(text),
    isTTY: host.err.isTTY,
    size: () => host.err.size(),
  };
  return shown(host, chooseRenderer(mode, screen, host.env), work);
}

/** Shows the layers that `work` transfers, a line each, as docker's pull and push do. */
export function withTransfer<T>(
  host: Host,
  kind: TransferKind,
  quiet: boolean,
  work: (scope: BuildScope) => Promise<T>,
): Promise<T> {
  const draws = host.err.isTTY && host.env['TERM'] !== 'dumb';
  return shown(
    host,
    quiet
      ? quietRenderer()
      : transferRenderer(
          (text) => host.err.write(text),
          kind,
          draws ? { size: () => host.err.size() } : undefined,
        ),
    work,
  );
}

async function shown<T>(
  host: Host,
  renderer: Renderer,
  work: (scope: BuildScope) => Promise<T>,
): Promise<T> {
  if (host.events !== undefined) return work({ signal: host.signal, events: host.events });
  const timer = setInterval(() => renderer.tick(host.now()), TICK);
  timer.unref();
  try {
    return await work({ signal: host.signal, events: renderer.events });
  } finally {
    clearInterval(timer);
    renderer.finish(host.now());
    // Results come after the progress, where both are shown on one terminal, but do not wait for a
    // reader that sleeps.
    await Promise.race([
      host.err.drain(),
      new Promise((resolve) => {
        setTimeout(resolve, TICK).unref();
      }),
    ]);
  }
}
