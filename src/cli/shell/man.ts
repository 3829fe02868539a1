import packageJson from '../../../package.json';
import { envNames, type FlagTable } from '../args';
import { GLOBAL_FLAGS, envPrefixOf, type Command } from '../command';
import { COMMANDS } from '../commands';
import { aboutFlag, takes } from '../help';

/** A page of the manual. */
export interface ManPage {
  /** e.g. `mbuild-system-df.1` */
  readonly file: string;
  readonly text: string;
}

/**
 * The manual, out of the tables of `--help`: mbuild(1), and a page for each command. Format:
 * man(7).
 */
export async function manPages(): Promise<ManPage[]> {
  const commands = await Promise.all(COMMANDS.map(async ({ load }) => load()));
  const shown = commands.filter(({ hidden }) => hidden !== true);
  return [overviewPage(shown), ...shown.map(commandPage)];
}

function overviewPage(commands: readonly Command[]): ManPage {
  return {
    file: 'mbuild.1',
    text: [
      title('mbuild'),
      '.SH NAME',
      `mbuild \\- ${escaped(packageJson.description)}`,
      '.SH SYNOPSIS',
      '.B mbuild\n[OPTIONS] COMMAND',
      '.br\n.B mbuild\n[BUILD OPTIONS] PATH | URL | \\-',
      '.SH COMMANDS',
      ...commands.map(
        ({ name, summary }) =>
          `.TP\n.BR ${pageName(name).replace(/-/g, '\\-')} (1)\n${escaped(summary)}`,
      ),
      '.SH GLOBAL OPTIONS',
      ...flagItems(GLOBAL_FLAGS, undefined),
    ]
      .join('\n')
      .concat('\n'),
  };
}

function commandPage(command: Command): ManPage {
  const { name, summary, usage, flags, notes = [] } = command;
  return {
    file: `${pageName(name)}.1`,
    text: [
      title(pageName(name)),
      '.SH NAME',
      `${escaped(pageName(name))} \\- ${escaped(summary)}`,
      '.SH SYNOPSIS',
      usage.map((form) => `.B mbuild ${escaped(name)}\n${escaped(form)}`).join('\n.br\n'),
      ...(Object.keys(flags).length === 0
        ? []
        : ['.SH OPTIONS', ...flagItems(flags, envPrefixOf(name))]),
      '.SH GLOBAL OPTIONS',
      ...flagItems(GLOBAL_FLAGS, undefined),
      ...(notes.length === 0 ? [] : ['.SH NOTES', ...notes.map((text) => `.PP\n${escaped(text)}`)]),
      '.SH SEE ALSO',
      '.BR mbuild (1)',
    ]
      .join('\n')
      .concat('\n'),
  };
}

function flagItems(flags: FlagTable, prefix: string | undefined): string[] {
  return Object.entries(flags)
    .filter(([, flag]) => flag.hidden !== true && flag.unsupported === undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, flag]) => {
      const short = flag.short === undefined ? '' : `-${flag.short}, `;
      const [variable = ''] = envNames(name, flag, prefix);
      return `.TP\n.B ${escaped(`${short}--${name}${takes(flag)}`)}\n${escaped(aboutFlag(flag))}. Variable: ${escaped(variable)}.`;
    });
}

function title(name: string): string {
  return `.TH ${name.toUpperCase()} 1 "" "mbuild ${packageJson.version}" "mbuild manual"`;
}

function pageName(name: string): string {
  return name === '' ? 'mbuild' : `mbuild-${name.replace(/ /g, '-')}`;
}

/**
 * Text that means itself: groff_char(7). A period or an apostrophe at the start of a line would be
 * a request.
 */
function escaped(text: string): string {
  return text
    .replace(/\\/g, '\\e')
    .replace(/-/g, '\\-')
    .replace(/^([.'])/gm, '\\&$1');
}
