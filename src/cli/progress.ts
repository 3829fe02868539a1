import type { BuildOptions } from '../build';
import {
  chooseRenderer,
  type ProgressChoice,
  type ProgressForm,
  type ProgressMode,
} from '../progress/choose';
import { isCi } from '../progress/ci';
import type { BuildScope } from '../progress/events';
import { quietRenderer, type Renderer } from '../progress/renderer';
import { transferRenderer, type TransferKind } from '../progress/transfer';
import type { GithubReport } from './ci-report';
import type { Host } from './host';

/** Milliseconds between two ticks of a renderer. */
const TICK = 100;

/** Shows what `work` reports, until it settles. */
export function withProgress<T>(
  host: Host,
  given: ProgressMode | ProgressChoice,
  work: (scope: BuildScope) => Promise<T>,
): Promise<T> {
  const screen = {
    write: (text: string) => host.err.write(text),
    order: (text: string) => host.err.order(text),
    isTTY: host.err.isTTY,
    size: () => host.err.size(),
  };
  const choice = typeof given === 'string' ? { mode: given } : given;
  return shown(host, chooseRenderer(choice, screen, host.env), work);
}

/** Tells GitHub of builds, where progress has its form; an embedding program tells of them itself. */
export async function githubReport(
  form: ProgressForm,
  builds: readonly Pick<BuildOptions, 'context'>[],
  host: Host,
): Promise<GithubReport | undefined> {
  if (form !== 'github' || host.events !== undefined) return undefined;
  return new (await import('./ci-report')).GithubReport(builds, host);
}

/** Shows the layers that `work` transfers, a line each, as docker's pull and push do. */
export function withTransfer<T>(
  host: Host,
  kind: TransferKind,
  quiet: boolean,
  work: (scope: BuildScope) => Promise<T>,
): Promise<T> {
  const draws = host.err.isTTY && host.env['TERM'] !== 'dumb' && !isCi(host.env);
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
