import { statSync } from 'node:fs';
import { errnoOf, isMbuildError, type MbuildError } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import { parseArgs, usageError, type FlagTable, type ParsedArgs } from './args';
import { GLOBAL_FLAGS, envPrefixOf, type Command } from './command';
import { COMMANDS, commandsOfGroup, findCommand, firstWords, type CommandEntry } from './commands';
import type { Whereabouts } from './as-root';
import { note, type Host } from './host';
import { storeRoot } from './services';
import { readIsolation } from '../sandbox/isolations/isolations';
import { showError } from './show-error';

/** What a command line asks for. */
type Request =
  | { readonly kind: 'command'; readonly entry: CommandEntry; readonly argv: readonly string[] }
  | { readonly kind: 'overview' }
  | { readonly kind: 'group'; readonly name: string };

/** Exit code for a command line that makes no sense: docker's. */
const USAGE_CODE = 125;
/** Exit code of whatever fails: buildx's. */
export const FAILURE_CODE = 1;
/** Global flags that take a value. */
const GLOBAL_VALUES = [
  '--root',
  '--authfile',
  '--insecure-registry',
  '--isolation',
  '--runtime',
  '--snapshotter',
];
const GLOBAL_SWITCHES = ['--offline', '--debug', '-D'];

/** Runs one command line and returns its exit code. Errors are shown, never thrown. */
export async function runCli(argv: readonly string[], host: Host): Promise<number> {
  try {
    const request = readRequest(argv);
    switch (request.kind) {
      case 'overview':
        host.out.write(await (await import('./help')).overview(COMMANDS));
        return 0;
      case 'group':
        host.out.write(await (await import('./help')).groupOverview(request.name));
        return 0;
      case 'command':
        if (host.elsewhere !== undefined && request.entry.needs !== 'no store') {
          const containers = request.entry.needs === 'containers' ? request.argv : undefined;
          const code = await host.elsewhere(argv, { ...whereabouts(argv, host), containers });
          if (code !== undefined) return code;
        }
        return await runCommand(request.entry, request.argv, host);
    }
  } catch (error) {
    // What breaks off after a signal breaks off because of it.
    await showError(
      host.signal.aborted && !isMbuildError(error, 'CANCELED') ? host.signal.reason : error,
      host,
    );
    return isMbuildError(error, 'USAGE') ? USAGE_CODE : FAILURE_CODE;
  }
}

/**
 * Global flags, then a command's name (one word or two), then the command's own words. Anything else is a build:
 * `mbuild -f Dockerfile .` and `mbuild .`; a folder that is named like a command needs `./`.
 */
function readRequest(argv: readonly string[]): Request {
  const { globals, rest } = splitGlobals(argv);
  const [first] = rest;
  if (first === undefined || first === '--help' || first === '-h') return { kind: 'overview' };
  if (first === '--version' || first === '-v')
    return commandRequest(['version', ...rest.slice(1)], globals);
  if (first === 'help')
    return rest.length === 1
      ? { kind: 'overview' }
      : commandRequest([...rest.slice(1), '--help'], globals);
  const found = findCommand(rest);
  if (found !== undefined) return commandRequest(rest, globals);
  const group = commandsOfGroup(first);
  if (group.length > 0) {
    const second = rest[1];
    if (second === undefined || second.startsWith('-')) return { kind: 'group', name: first };
    throw usageError(
      `mbuild ${first}`,
      `unknown command: mbuild ${first} ${second}`,
      didYouMean(
        second,
        group.map(({ name }) => name),
      ),
    );
  }
  if (first.startsWith('-') || isContext(first)) return commandRequest(['build', ...rest], globals);
  throw usageError('mbuild', `unknown command: mbuild ${first}`, didYouMean(first, firstWords()));
}

function commandRequest(words: readonly string[], globals: readonly string[]): Request {
  const found = findCommand(words);
  if (found === undefined)
    throw usageError(
      'mbuild',
      `unknown command: mbuild ${words[0] ?? ''}`,
      didYouMean(words[0] ?? '', firstWords()),
    );
  return { kind: 'command', entry: found.entry, argv: [...globals, ...words.slice(found.length)] };
}

/** The flags of every command that stand before its name. */
function splitGlobals(argv: readonly string[]): {
  readonly globals: readonly string[];
  readonly rest: readonly string[];
} {
  let at = 0;
  for (let word = argv[at]; word !== undefined; word = argv[at]) {
    if (GLOBAL_VALUES.includes(word)) at += 2;
    else if (
      GLOBAL_VALUES.some((flag) => word?.startsWith(`${flag}=`)) ||
      GLOBAL_SWITCHES.includes(word)
    )
      at += 1;
    else break;
  }
  return { globals: argv.slice(0, at), rest: argv.slice(at) };
}

/** What a command line says of the store and of RUN, read before the command itself is known. */
function whereabouts(argv: readonly string[], host: Host): Omit<Whereabouts, 'containers'> {
  const value = (flag: string, variables: readonly string[]): string | undefined => {
    const at = argv.findIndex((word) => word === flag || word.startsWith(`${flag}=`));
    const said = argv[at] === flag ? argv[at + 1] : argv[at]?.slice(flag.length + 1);
    return (
      said ??
      variables.map((name) => host.env[name]).find((text) => text !== undefined && text !== '')
    );
  };
  return {
    root: storeRoot(value('--root', ['MBUILD_ROOT']), host),
    isolation: readIsolation(value('--isolation', ['MBUILD_ISOLATION', 'BUILDAH_ISOLATION']) ?? '')
      .isolation,
  };
}

/** A word that can only be meant as a context to build. */
function isContext(word: string): boolean {
  if (word === '-' || /^(?:https?:\/\/|git:\/\/|git@|ssh:\/\/)/.test(word) || word.includes('/'))
    return true;
  try {
    return statSync(word).isDirectory();
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return word === '.' || word === '..';
  }
}

async function runCommand(
  entry: CommandEntry,
  argv: readonly string[],
  host: Host,
): Promise<number> {
  const command = await entry.load();
  let args: ParsedArgs<FlagTable>;
  try {
    args = parseArgs(
      argv,
      { ...GLOBAL_FLAGS, ...command.flags },
      {
        command: `mbuild ${command.name}`,
        stopAtPositional: command.stopAtPositional,
        envPrefix: envPrefixOf(command.name),
        env: host.env,
      },
    );
    if (!args.help) checkPositionals(command, args.positionals);
  } catch (error) {
    await showError(error, host);
    return USAGE_CODE;
  }
  if (args.help) {
    host.out.write((await import('./help')).commandHelp(command, [entry.name, ...entry.aliases]));
    return 0;
  }
  for (const text of args.notes) note(host, text);
  return command.run(args, {
    ...host,
    env: args.flags['debug'] === true ? { ...host.env, MBUILD_DEBUG: '1' } : host.env,
  });
}

function checkPositionals(
  { name, positionals: { min, max }, usage }: Command,
  words: readonly string[],
): void {
  if (words.length >= min && words.length <= max) return;
  throw wrongCount(name, min, max, usage[0] ?? '');
}

function wrongCount(name: string, min: number, max: number, usage: string): MbuildError {
  return usageError(
    `mbuild ${name}`,
    `'mbuild ${name}' ${wantedCount(min, max)}`,
    `usage: mbuild ${name} ${usage}`.trimEnd(),
  );
}

function wantedCount(min: number, max: number): string {
  const plural = (count: number): string => `${count} argument${count === 1 ? '' : 's'}`;
  if (max === 0) return 'accepts no arguments';
  if (min === max) return `requires ${plural(min)}`;
  if (max === Infinity) return `requires at least ${plural(min)}`;
  return `requires ${min === 0 ? 'at most' : `${min} to`} ${plural(max)}`;
}
