import type { MbuildError } from '../diagnostics/error';
import { parseArgs, usageError, type FlagTable, type ParsedArgs } from './args';
import { GLOBAL_FLAGS, envPrefixOf, type Command } from './command';
import type { Host } from './host';

/** Reads the words behind a command's name. @throws MbuildError USAGE, UNSUPPORTED. */
export function readCommandLine(
  command: Command,
  argv: readonly string[],
  env: Host['env'],
): ParsedArgs<FlagTable> {
  const args = parseArgs(
    argv,
    { ...GLOBAL_FLAGS, ...command.flags },
    {
      command: `mbuild ${command.name}`,
      stopAtPositional: command.stopAtPositional,
      envPrefix: envPrefixOf(command.name),
      env,
    },
  );
  if (!args.help) checkPositionals(command, args.positionals);
  return args;
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
