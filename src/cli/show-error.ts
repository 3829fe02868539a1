import type { RenderOptions } from '../diagnostics/render';
import type { Host } from './host';

/** Shows an error on standard error, as every command does. */
export async function showError(error: unknown, host: Host): Promise<void> {
  if (host.failed !== undefined) return host.failed(error);
  const [{ renderError }, { cleanLine }, { useColor }] = await Promise.all([
    import('../diagnostics/render'),
    import('../progress/sanitize'),
    import('../progress/choose'),
  ]);
  const options: RenderOptions = {
    color: useColor(host.err.isTTY, host.env),
    width: host.err.isTTY ? host.err.size().columns : undefined,
    clean: cleanLine,
    debug: isDebug(host),
  };
  host.err.write(`${renderError(error, options)}\n`);
}

function isDebug({ env }: Host): boolean {
  return (env['MBUILD_DEBUG'] ?? '') !== '' && env['MBUILD_DEBUG'] !== '0';
}
