import { isCi, isGithub, isGitlab } from './ci';
import { GITHUB_SECTIONS } from './github';
import { GITLAB_SECTIONS } from './gitlab';
import { plainRenderer } from './plain';
import { rawJsonRenderer } from './rawjson';
import { quietRenderer, type Renderer, type Write } from './renderer';
import { sectionRenderer } from './sections';
import { stampLines } from './stamps';
import { ttyRenderer } from './tty';

export const PROGRESS_MODES = [
  'auto',
  'plain',
  'tty',
  'github',
  'gitlab',
  'quiet',
  'rawjson',
  'none',
] as const;
export type ProgressMode = (typeof PROGRESS_MODES)[number];
/** A mode that says how progress looks. */
export type ProgressForm = Exclude<ProgressMode, 'auto'>;

/** The stream that progress goes to, as far as a renderer must know it. */
export interface Screen {
  readonly write: Write;
  /** Orders to the CI service, which `write` may disarm. */
  readonly order: Write;
  readonly isTTY: boolean;
  readonly size: () => { readonly columns: number; readonly rows: number };
}

/** How progress is shown. */
export interface ProgressChoice {
  readonly mode: ProgressMode;
  /** Each line begins with the time, in forms that are lines of text. */
  readonly timestamps?: boolean | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** `auto` is the form of the CI service that runs this, `tty` on a terminal that can move its cursor, else `plain`. */
export function progressForm(mode: ProgressMode, isTTY: boolean, env: Environment): ProgressForm {
  if (mode !== 'auto') return mode;
  if (isGithub(env)) return 'github';
  if (isGitlab(env)) return 'gitlab';
  return isTTY && env['TERM'] !== 'dumb' && !isCi(env) ? 'tty' : 'plain';
}

/** The renderer of a mode; `auto` is as {@link progressForm} says. */
export function chooseRenderer(
  { mode, timestamps = false }: ProgressChoice,
  screen: Screen,
  env: Environment,
): Renderer {
  const { write } = screen;
  const lines = timestamps ? stampLines(write, Date.now) : write;
  switch (progressForm(mode, screen.isTTY, env)) {
    case 'tty':
      return ttyRenderer(write, {
        size: screen.size,
        color: useColor(screen.isTTY, env),
        logLines: logLines(env),
      });
    case 'plain':
      return plainRenderer(lines);
    case 'github':
      return sectionRenderer({ orders: screen.order, lines }, GITHUB_SECTIONS);
    case 'gitlab':
      return sectionRenderer({ orders: screen.order, lines }, GITLAB_SECTIONS);
    case 'rawjson':
      return rawJsonRenderer(write);
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
