import { MbuildError } from '../diagnostics/error';
import { usage } from './usage';

/** A command line without docker's own global flags, and what these change in the environment. */
export interface WithoutDockerGlobals {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** Global flags of docker that take a value, by their names. */
const VALUES: Readonly<Record<string, string>> = {
  '-c': 'context',
  '--context': 'context',
  '--config': 'config',
  '-H': 'host',
  '--host': 'host',
  '-l': 'log-level',
  '--log-level': 'log-level',
};
const LEVELS = ['debug', 'info', 'warn', 'error', 'fatal'];

/**
 * Reads docker's global flags, which stand before the command (docker/cli, "docker", options).
 * @param isCommand tells whether words begin with a command: where none follows, the flags are those
 * of a build (`-c` is `--cpu-shares` there), and nothing is read
 * @throws MbuildError USAGE, UNSUPPORTED for what names another machine.
 */
export function withoutDockerGlobals(
  argv: readonly string[],
  isCommand: (words: readonly string[]) => boolean,
): WithoutDockerGlobals {
  const found = splitFlags(argv);
  if (!isCommand(found.rest)) return { argv, env: {} };
  const env = found.flags.map(([flag, value]) => meaningOf(flag, value));
  return { argv: found.rest, env: Object.assign({}, ...env) as Record<string, string> };
}

/** The flags at the start, and what comes behind them. */
function splitFlags(argv: readonly string[]): {
  readonly flags: readonly (readonly [string, string | undefined])[];
  readonly rest: readonly string[];
} {
  const flags: (readonly [string, string | undefined])[] = [];
  let at = 0;
  for (let word = argv[at]; word !== undefined; word = argv[at]) {
    const equals = word.startsWith('--') ? word.indexOf('=') : -1;
    const flag = equals < 0 ? word : word.slice(0, equals);
    if (!isDockerGlobal(flag)) break;
    const isSwitch = flag.startsWith('--tls');
    const apart = equals < 0 && !isSwitch;
    flags.push([flag, apart ? argv[at + 1] : word.slice(equals + 1)]);
    at += apart ? 2 : 1;
  }
  return { flags, rest: argv.slice(at) };
}

/** True for a global flag of docker's that mbuild has not. */
export function isDockerGlobal(flag: string): boolean {
  return flag.startsWith('--tls') || Object.hasOwn(VALUES, flag);
}

function meaningOf(flag: string, value: string | undefined): Readonly<Record<string, string>> {
  if (flag.startsWith('--tls')) throw remote(flag);
  if (value === undefined) throw usage(`${flag} needs a value`);
  switch (VALUES[flag]) {
    case 'config':
      return { DOCKER_CONFIG: value };
    case 'host':
      // A socket of this machine is where --load takes images to; commands themselves run here.
      if (value.startsWith('unix://')) return { DOCKER_HOST: value };
      throw remote(flag);
    case 'context':
      if (value === 'default') return {};
      throw usage(
        `there is no context "${value}"`,
        'builds run on this machine: the only context is "default"',
      );
    default:
      if (LEVELS.includes(value)) return {};
      throw usage(`unable to parse the log level "${value}"`, `levels are ${LEVELS.join(', ')}`);
  }
}

function remote(flag: string): MbuildError {
  return new MbuildError('UNSUPPORTED', `${flag} names an engine on another machine`, {
    hint: 'mbuild has no daemon: commands run on this machine',
  });
}
