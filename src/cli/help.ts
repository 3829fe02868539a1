import { envNames, type Flag, type FlagTable } from './args';
import { commandsOfGroup, type CommandEntry } from './commands';
import { GLOBAL_FLAGS, envPrefixOf, type Command } from './command';

/** Columns of a help text. */
const WIDTH = 100;

/** The help of a command, generated from its table, laid out as docker's. */
export function commandHelp(command: Command, aliases: readonly string[]): string {
  const usage = command.usage.map((form, i) =>
    `${i === 0 ? 'Usage:  ' : '        '}mbuild ${command.name} ${form}`.trimEnd(),
  );
  const sections = [
    usage.join('\n'),
    command.summary,
    ...(aliases.length < 2
      ? []
      : [`Aliases:\n  ${aliases.map((name) => `mbuild ${name}`).join(', ')}`]),
    ...(Object.keys(command.flags).length === 0 ? [] : [`Options:\n${flagLines(command.flags)}`]),
    `Global options:\n${flagLines({ ...GLOBAL_FLAGS, help: { kind: 'boolean', short: 'h', help: 'Show this help' } })}`,
    ...(command.notes ?? []),
    variablesNote(command),
  ];
  return `${sections.join('\n\n')}\n`;
}

/** The list of commands. */
export async function overview(commands: readonly CommandEntry[]): Promise<string> {
  return listed(await loaded(commands.map((entry) => ({ name: entry.name, entry }))));
}

/** The list of the commands of a group, by their second words. */
export async function groupOverview(group: string): Promise<string> {
  return listed(await loaded(commandsOfGroup(group)));
}

interface Listed {
  readonly name: string;
  readonly summary: string;
}

async function loaded(
  named: readonly { readonly name: string; readonly entry: CommandEntry }[],
): Promise<Listed[]> {
  const commands = await Promise.all(
    named.map(async ({ name, entry }) => ({ name, command: await entry.load() })),
  );
  return commands
    .filter(({ command }) => command.hidden !== true)
    .map(({ name, command }) => ({ name, summary: command.summary }));
}

function listed(commands: readonly Listed[]): string {
  const width = Math.max(...commands.map(({ name }) => name.length)) + 2;
  return [
    'Usage:  mbuild [OPTIONS] COMMAND',
    '        mbuild [BUILD OPTIONS] PATH | URL | -',
    '',
    'Builds OCI images from Dockerfiles on Linux, without a daemon',
    '',
    'Commands:',
    ...commands.map(({ name, summary }) => `  ${name.padEnd(width)}${summary}`),
    '',
    'Global options:',
    flagLines({
      ...GLOBAL_FLAGS,
      version: { kind: 'boolean', short: 'v', help: 'Print the version' },
      help: { kind: 'boolean', short: 'h', help: 'Show this help' },
    }),
    '',
    "Run 'mbuild COMMAND --help' for more about a command; without a command, mbuild builds.",
    '',
  ].join('\n');
}

function flagLines(flags: FlagTable): string {
  const rows = Object.entries(flags)
    .filter(([, flag]) => flag.hidden !== true && flag.unsupported === undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, flag]): [string, string] => [
      `  ${flag.short === undefined ? '   ' : `-${flag.short},`} --${name}${takes(flag)}`,
      aboutFlag(flag),
    ]);
  const left = Math.max(...rows.map(([head]) => head.length)) + 3;
  return rows
    .map(
      ([head, help]) =>
        head.padEnd(left) + wrap(help, Math.max(30, WIDTH - left)).join(`\n${' '.repeat(left)}`),
    )
    .join('\n');
}

/** What a flag takes, as it is written behind it. */
export function takes(flag: Flag): string {
  if (flag.kind === 'boolean') return '';
  return flag.kind === 'optional' ? `[=${flag.value}]` : ` ${flag.value}`;
}

/** What a flag does, with its choices and its default. */
export function aboutFlag(flag: Flag): string {
  const choices =
    (flag.kind === 'string' || flag.kind === 'optional') && flag.choices !== undefined
      ? ` (${flag.choices.join(', ')})`
      : '';
  const fallback =
    flag.kind === 'string' && flag.fallback !== undefined && flag.fallback !== ''
      ? ` (default "${flag.fallback}")`
      : '';
  const repeat = flag.kind === 'list' ? ' (repeatable)' : '';
  return `${flag.help}${repeat}${choices}${fallback}${flag.ignored === undefined ? '' : ` (ignored: ${flag.ignored})`}`;
}

function variablesNote(command: Command): string {
  const [name, flag] = Object.entries(command.flags).find(
    ([, candidate]) => candidate.unsupported === undefined,
  ) ?? ['root', GLOBAL_FLAGS.root];
  const variable = envNames(name, flag, envPrefixOf(command.name))[0] ?? '';
  return `Every option can also be set by a variable: ${variable} stands for --${name}. For a repeatable option, write one value on each line.`;
}

function wrap(text: string, width: number): string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? '';
    if (line !== '' && line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines;
}
