import { plainRenderer } from './plain';
import { rawJsonRenderer } from './rawjson';
import { quietRenderer, type Renderer, type Write } from './renderer';
import { ttyRenderer } from './tty';

export const PROGRESS_MODES = ['auto', 'plain', 'tty', 'quiet', 'rawjson', 'none'] as const;
export type ProgressMode = (typeof PROGRESS_MODES)[number];

/** The stream that progress goes to, as far as a renderer must know it. */
export interface Screen {
  readonly write: Write;
  readonly isTTY: boolean;
  readonly size: () => { readonly columns: number; readonly rows: number };
}

/** `auto` is `tty` on a terminal that can move its cursor, else `plain`. */
export function chooseRenderer(
  mode: ProgressMode,
  screen: Screen,
  env: Readonly<Record<string, string | undefined>>,
): Renderer {
  const automatic = screen.isTTY && env['TERM'] !== 'dumb' ? 'tty' : 'plain';
  switch (mode === 'auto' ? automatic : mode) {
    case 'tty':
      return ttyRenderer(screen.write, {
        size: screen.size,
        color: useColor(screen.isTTY, env),
        logLines: logLines(env),
      });
    case 'plain':
      return plainRenderer(screen.write);
    case 'rawjson':
      return rawJsonRenderer(screen.write);
    case 'quiet':
    case 'none':
      return quietRenderer();
  }
}

/**
 * Colour where the stream is a terminal, unless NO_COLOR or TERM=dumb; FORCE_COLOR (not `0`) wins.
 * See no-color.org.
 */
export function useColor(
  isTTY: boolean,
  env: Readonly<Record<string, string | undefined>>,
): boolean {
  const forced = env['FORCE_COLOR'];
  if (forced !== undefined && forced !== '') return forced !== '0' && forced !== 'false';
  return isTTY && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
}

/** BUILDKIT_TTY_LOG_LINES, else BuildKit's six. */
function logLines(env: Readonly<Record<string, string | undefined>>): number {
  const given = Number(env['BUILDKIT_TTY_LOG_LINES'] ?? '');
  return Number.isInteger(given) && given > 0 ? Math.min(given, 100) : 6;
}
