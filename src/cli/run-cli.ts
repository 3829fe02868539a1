import { statSync } from 'node:fs';
import { errnoOf, isMbuildError } from '../diagnostics/error';
import { visible } from '../diagnostics/visible';
import { didYouMean } from '../diagnostics/suggest';
import { usageError, type FlagTable, type ParsedArgs } from './args';
import { COMMANDS, commandsOfGroup, findCommand, firstWords, type CommandEntry } from './commands';
import type { Whereabouts } from './as-root';
import type { WithoutDockerGlobals } from './docker-globals';
import { note, type Host } from './host';
import { readCommandLine } from './read-command-line';
import { storeRoot } from './services';
import { readIsolation } from '../sandbox/isolations/isolations';
import { showError } from './show-error';

/** What a command line asks for. */
type Request =
  | { readonly kind: 'command'; readonly entry: CommandEntry; readonly argv: readonly string[] }
  /** A program that embeds mbuild started this process: src/api/session.ts. */
  | { readonly kind: 'session'; readonly argv: readonly string[] }
  | { readonly kind: 'complete'; readonly words: readonly string[] }
  | { readonly kind: 'share'; readonly directory: string }
  | { readonly kind: 'overview' }
  | { readonly kind: 'group'; readonly name: string };

/** Exit code for a command line that is not valid: docker's. */
const USAGE_CODE = 125;
/** Exit code of whatever fails: buildx's. */
export const FAILURE_CODE = 1;
/** Global flags that take a value. */
const GLOBAL_VALUES = [
  '--root',
  '--authfile',
  '--insecure-registry',
  '--signature-policy',
  '--isolation',
  '--runtime',
  '--snapshotter',
];
const GLOBAL_SWITCHES = ['--offline', '--debug', '-D'];

/** Runs one command line and returns its exit code. Errors are shown, never thrown. */
export async function runCli(words: readonly string[], given: Host): Promise<number> {
  let host = given;
  try {
    const { argv, env } = await dockerGlobals(words);
    host = Object.keys(env).length === 0 ? given : { ...given, env: { ...given.env, ...env } };
    const request = readRequest(argv);
    switch (request.kind) {
      case 'complete': {
        const { candidates, directive } = await (
          await import('./shell/complete')
        ).complete(request.words, host);
        const lines = candidates.map(({ value, about }) => `${visible(value)}\t${visible(about)}`);
        host.out.write([...lines, directive, ''].join('\n'));
        return 0;
      }
      case 'share':
        await (await import('./shell/share')).writeShare(request.directory);
        return 0;
      case 'overview':
        host.out.write(await (await import('./help')).overview(COMMANDS));
        return 0;
      case 'group':
        host.out.write(await (await import('./help')).groupOverview(request.name));
        return 0;
      case 'command':
        return (
          (await runElsewhere(request, argv, host)) ??
          (await runCommand(request.entry, request.argv, host))
        );
      case 'session': {
        const { refusingHost, serveSession } = await import('./session');
        host = refusingHost(host);
        return (
          (await runElsewhere(request, argv, host)) ?? (await serveSession(request.argv, host))
        );
      }
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

/** @returns the exit code, where the command line is for another user namespace. */
async function runElsewhere(
  request: Extract<Request, { kind: 'command' | 'session' }>,
  argv: readonly string[],
  host: Host,
): Promise<number | undefined> {
  if (host.elsewhere === undefined) return undefined;
  const needs = request.kind === 'command' ? request.entry.needs : undefined;
  if (needs === 'no store') return undefined;
  const containers = needs === 'containers' ? request.argv : undefined;
  return host.elsewhere(argv, { ...whereabouts(argv, host), containers });
}

/** Without docker's own global flags; their code is loaded where one stands first. */
async function dockerGlobals(argv: readonly string[]): Promise<WithoutDockerGlobals> {
  if (!/^(?:-[cHl]$|--(?:context|config|host|log-level|tls))/.test(argv[0] ?? ''))
    return { argv, env: {} };
  const { withoutDockerGlobals } = await import('./docker-globals');
  return withoutDockerGlobals(
    argv,
    (rest) => findCommand(rest) !== undefined || commandsOfGroup(rest[0] ?? '').length > 0,
  );
}

/**
 * Global flags, then a command's name (one word or two), then the command's own words. Anything
 * else is a build: `mbuild -f Dockerfile .` and `mbuild .`; a folder that is named like a command
 * needs `./`.
 */
function readRequest(argv: readonly string[]): Request {
  if (argv[0] === '__share') return { kind: 'share', directory: argv[1] ?? 'share' };
  if (argv[0] === '__complete') return { kind: 'complete', words: argv.slice(1) };
  const { globals, rest } = splitGlobals(argv);
  const [first] = rest;
  if (first === undefined || first === '--help' || first === '-h') return { kind: 'overview' };
  // `podman --version ''` is what podman-compose asks first.
  if (first === '--version' || first === '-v')
    return commandRequest(['version', ...rest.slice(1).filter((word) => word !== '')], globals);
  if (first === 'help')
    return rest.length === 1
      ? { kind: 'overview' }
      : commandRequest([...rest.slice(1), '--help'], globals);
  if (first === 'session' && rest.length === 1) return { kind: 'session', argv: globals };
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
    args = readCommandLine(command, argv, host.env);
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
