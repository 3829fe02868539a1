import { isMbuildError } from '../diagnostics/error';
import type { Host } from './host';
import { showError } from './show-error';

/**
 * Does something for each name and prints the name, as docker does; what fails is shown and the
 * others go on. Returns the exit code.
 */
export async function forEachName(
  names: readonly string[],
  host: Host,
  act: (name: string) => void | Promise<void>,
): Promise<number> {
  let code = 0;
  for (const name of names) {
    try {
      await act(name);
      host.out.write(`${name}\n`);
    } catch (error) {
      if (!isMbuildError(error)) throw error;
      await showError(error, host);
      code = 1;
    }
  }
  return code;
}
