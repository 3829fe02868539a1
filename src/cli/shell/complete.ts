import type { Flag, FlagTable } from '../args';
import { GLOBAL_FLAGS, type Command } from '../command';
import { COMMANDS, commandsOfGroup, findCommand } from '../commands';
import type { Host } from '../host';
import { storeRoot } from '../services';
import { buildsIn, containersIn, imagesIn, stagesIn, targetsIn, type Candidate } from './values';

/** What the shell adds to the candidates of its own: paths, directories, or nothing. */
export type Directive = ':files' | ':directories' | ':nothing';

/** What can stand for the last word of a command line. */
export interface Completion {
  readonly candidates: readonly Candidate[];
  readonly directive: Directive;
}

/** A command line up to the cursor: the words before the last, and the last, which may be empty. */
interface Line {
  readonly command: Command;
  readonly words: readonly string[];
  readonly current: string;
  readonly root: string;
}

const NOTHING: Completion = { candidates: [], directive: ':nothing' };

/**
 * Completes a command line, by the tables that `--help` is made of. Values come out of the store,
 * and out of the Dockerfile at hand.
 * @param words those behind `mbuild`, up to the cursor.
 */
export async function complete(words: readonly string[], host: Host): Promise<Completion> {
  const current = words.at(-1) ?? '';
  const before = words.slice(0, -1);
  const skipped = countGlobals(before);
  const found = findCommand(before.slice(skipped));
  const group = before.length === skipped + 1 ? before[skipped] : undefined;
  if (found === undefined && group !== undefined && commandsOfGroup(group).length > 0)
    return fitting(await summaries(commandsOfGroup(group)), current);
  const isFirst = before.length === skipped;
  if (isFirst && !takesValue(GLOBAL_FLAGS, before.at(-1)) && !current.startsWith('-'))
    return {
      ...fitting(await summaries(firstWords()), current),
      directive: ':directories',
    };
  const entry = found?.entry ?? findCommand(['build'])?.entry;
  if (entry === undefined) return NOTHING;
  const line: Line = {
    command: await entry.load(),
    words: before.slice(skipped + (found?.length ?? 0)),
    current,
    root: rootOf(words, host),
  };
  // `image` may be the command of that name or a group: its second words come with what else can
  // stand there.
  return completeIn(line);
}

/** How many words in front of the command are flags of every command. */
function countGlobals(words: readonly string[]): number {
  let at = 0;
  while (words[at]?.startsWith('-') === true)
    at += takesValue(GLOBAL_FLAGS, words[at]) && words[at + 1] !== undefined ? 2 : 1;
  return at;
}

function firstWords(): { readonly name: string; readonly entry: (typeof COMMANDS)[number] }[] {
  const names = new Map(
    COMMANDS.flatMap((entry) =>
      [entry.name, ...entry.aliases].map((name) => [name.split(' ')[0] ?? '', entry] as const),
    ).reverse(),
  );
  return [...names].reverse().map(([name, entry]) => ({ name, entry }));
}

async function summaries(
  named: readonly { readonly name: string; readonly entry: (typeof COMMANDS)[number] }[],
): Promise<Candidate[]> {
  const loaded = await Promise.all(
    named.map(async ({ name, entry }) => ({ name, entry, command: await entry.load() })),
  );
  return loaded
    .filter(({ command }) => command.hidden !== true)
    .map(({ name, entry, command }) => ({
      value: name,
      about:
        [entry.name, ...entry.aliases].includes(name) || !isGroup(name)
          ? command.summary
          : 'Commands of this group',
    }));
}

function isGroup(name: string): boolean {
  return commandsOfGroup(name).length > 0;
}

async function completeIn(line: Line): Promise<Completion> {
  const { command, words, current } = line;
  const flags: FlagTable = { ...GLOBAL_FLAGS, ...command.flags };
  const previous = words.at(-1);
  if (takesValue(flags, previous)) return valuesOf(nameOf(flags, previous), flags, line, '');
  const equals = current.startsWith('--') ? current.indexOf('=') : -1;
  if (equals > 0)
    return valuesOf(
      nameOf(flags, current.slice(0, equals)),
      flags,
      line,
      current.slice(0, equals + 1),
    );
  if (current.startsWith('-')) return fitting(flagCandidates(flags), current);
  return positionals(line);
}

function flagCandidates(flags: FlagTable): Candidate[] {
  return Object.entries({ ...flags, help: { kind: 'boolean', help: 'Show this help' } as Flag })
    .filter(([, flag]) => flag.hidden !== true && flag.unsupported === undefined)
    .map(([name, { help }]): Candidate => ({ value: `--${name}`, about: help }))
    .sort((a, b) => (a.value < b.value ? -1 : 1));
}

/** The long name of a flag as it is written. */
function nameOf(flags: FlagTable, written = ''): string | undefined {
  if (written.startsWith('--')) {
    const name = written.slice(2);
    return Object.entries(flags).find(
      ([long, { aliases }]) => long === name || aliases?.includes(name) === true,
    )?.[0];
  }
  if (!/^-[^-]+$/.test(written)) return undefined;
  const letter = written.at(-1);
  return Object.entries(flags).find(([, { short }]) => short === letter)?.[0];
}

/** True where the word behind is the flag's value. */
function takesValue(flags: FlagTable, written: string | undefined): boolean {
  const flag = flags[nameOf(flags, written) ?? ''];
  return flag !== undefined && flag.kind !== 'boolean' && flag.kind !== 'optional';
}

/** Where flags take what the store or the Dockerfile has. */
function valuesOf(
  name: string | undefined,
  flags: FlagTable,
  line: Line,
  prefix: string,
): Completion {
  const flag = flags[name ?? ''];
  if (name === undefined || flag === undefined || flag.kind === 'boolean') return NOTHING;
  const typed = prefix === '' ? line.current : line.current.slice(prefix.length);
  const withPrefix = (candidates: readonly Candidate[]): Completion =>
    fitting(
      candidates.map(({ value, about }) => ({ value: `${prefix}${value}`, about })),
      `${prefix}${typed}`,
    );
  const choices = 'choices' in flag ? flag.choices : undefined;
  if (choices !== undefined) return withPrefix(choices.map((value) => ({ value, about: '' })));
  if (name === 'target') return withPrefix(stagesIn(dockerfileOf(line, flags)));
  if (name === 'tag' || name === 'cache-from') return withPrefix(imagesIn(line.root));
  if (name === 'platform')
    return withPrefix(PLATFORMS.map((value) => ({ value, about: 'platform' })));
  if (/^(?:DIR)/.test(flag.value)) return { ...NOTHING, directive: ':directories' };
  if (/FILE|PATH/.test(flag.value)) return { ...NOTHING, directive: ':files' };
  return NOTHING;
}

const PLATFORMS = ['linux/amd64', 'linux/arm64', 'linux/arm/v7', 'linux/riscv64', 'linux/s390x'];

/** What commands take that are no flags, by the first word of their usage that says what it is. */
function positionals({ command, root, current }: Line): Completion {
  const usage = command.usage.join(' ');
  if (/\bTARGET\b/.test(usage)) return fitting(targetsIn('.'), current);
  if (/\bPATH \| URL|\[PATH\]/.test(usage)) return { ...NOTHING, directive: ':directories' };
  if (/\bIMAGE\b|\bSOURCE_IMAGE\b/.test(usage)) return fitting(imagesIn(root), current);
  if (/\bNAME\b/.test(usage) && command.name.includes('inspect'))
    return fitting([...imagesIn(root), ...containersIn(root)], current);
  if (/\bCONTAINER\b/.test(usage)) return fitting(containersIn(root), current);
  if (/\bBUILD\b/.test(usage)) return fitting(buildsIn(root), current);
  if (/\bNAME\b/.test(usage)) return fitting(imagesIn(root), current);
  if (/FILE|ARCHIVE/.test(usage)) return { ...NOTHING, directive: ':files' };
  return NOTHING;
}

/**
 * The Dockerfile that the words mean: `--file`, else the one of the directory that is named, else
 * of this one.
 */
function dockerfileOf({ words }: Line, flags: FlagTable): string {
  const at = words.findIndex((word) => word === '-f' || word === '--file');
  const attached = words.find((word) => word.startsWith('--file='));
  if (attached !== undefined) return attached.slice('--file='.length);
  if (at >= 0) return words[at + 1] ?? 'Dockerfile';
  const context = words.find(
    (word, i) => !word.startsWith('-') && !takesValue(flags, words[i - 1]),
  );
  return context === undefined ? 'Dockerfile' : `${context}/Dockerfile`;
}

function rootOf(words: readonly string[], host: Host): string {
  const at = words.indexOf('--root');
  const attached = words.find((word) => word.startsWith('--root='))?.slice('--root='.length);
  const named = at >= 0 ? words[at + 1] : attached;
  return storeRoot(named ?? host.env['MBUILD_ROOT'], host);
}

function fitting(candidates: readonly Candidate[], current: string): Completion {
  return {
    candidates: candidates.filter(({ value }) => value.startsWith(current)),
    directive: ':nothing',
  };
}
