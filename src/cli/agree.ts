import { createInterface } from 'node:readline/promises';
import { note, type Host } from './host';

/**
 * Asks on standard input whether to go on, as docker does; `--force` and `--dry-run` need no
 * answer.
 */
export async function agreed(
  warning: string,
  flags: { readonly 'dry-run'?: boolean; readonly force: boolean },
  host: Host,
): Promise<boolean> {
  if (flags.force || flags['dry-run'] === true) return true;
  host.out.write(`${warning}\nAre you sure you want to continue? [y/N] `);
  await host.out.drain();
  const lines = createInterface({ input: host.stdin() });
  try {
    for await (const line of lines)
      if (/^y(?:es)?$/i.test(line.trim())) return true;
      else break;
    note(host, 'nothing was removed');
    return false;
  } finally {
    lines.close();
    host.stdin().destroy();
  }
}
