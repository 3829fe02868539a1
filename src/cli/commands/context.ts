import { jsonText } from '../../diagnostics/visible';
import { createWriteStream, existsSync } from 'node:fs';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { listContext, type ContextEntry } from '../../context/list';
import { LocalContext, loadIgnoreFile } from '../../context/local';
import { MbuildError } from '../../diagnostics/error';
import { toRaw, toText, type RawPath } from '../../linux/paths';
import { removeFile } from '../../linux/remove-tree';
import { humanSize } from '../../progress/units';
import { readContext } from '../build-options';
import { defineCommand } from '../command';
import { layOutTable } from '../format/table';
import type { Host } from '../host';

const SELECTION = {
  file: {
    kind: 'string',
    short: 'f',
    value: 'PATH',
    help: 'The Dockerfile; its own ignore file is used if there is one (default: PATH/Dockerfile)',
  },
  ignorefile: {
    kind: 'string',
    value: 'PATH',
    help: 'The ignore file (default: DOCKERFILE.dockerignore, else .dockerignore)',
  },
} as const;

export const files = defineCommand({
  name: 'context files',
  summary: 'List which files of a directory a build gets, and which are excluded',
  usage: ['[OPTIONS] [PATH]'],
  positionals: { min: 0, max: 1 },
  flags: {
    ...SELECTION,
    sizes: { kind: 'boolean', help: 'Show sizes, largest first' },
    why: { kind: 'boolean', help: 'Show which line of the ignore file decided' },
    format: {
      kind: 'string',
      value: 'FORMAT',
      choices: ['table', 'json'],
      fallback: 'table',
      help: 'Format of the output',
    },
  },
  run: ({ flags, positionals }, host) => Promise.resolve(listFiles(flags, positionals, host)),
});

/** What the list is to show. */
type ListFlags = Parameters<typeof contextOf>[1] & {
  readonly sizes: boolean;
  readonly why: boolean;
  readonly format: string;
};

/** Prints the files of a context; also what `context ls PATH` did before docker's took its name. */
export function listFiles(
  flags: ListFlags,
  [directory = '.']: readonly string[],
  host: Host,
): number {
  const entries = listContext(contextOf(directory, flags));
  const sorted = flags.sizes ? entries.toSorted((a, b) => b.size - a.size) : entries;
  host.out.write(
    flags.format === 'json' ? toJson(sorted) : `${table(sorted, flags)}${totals(entries)}\n`,
  );
  return 0;
}

export const exportContext = defineCommand({
  name: 'context export',
  summary: 'Write the build context as a tar, which any builder can use',
  usage: ['[OPTIONS] [PATH]'],
  positionals: { min: 0, max: 1 },
  flags: {
    ...SELECTION,
    output: {
      kind: 'string',
      short: 'o',
      value: 'FILE',
      help: 'Write to a file instead of standard output',
    },
  },
  run: async ({ flags, positionals: [directory = '.'] }, host) => {
    const context = contextOf(directory, flags);
    if (flags.output === undefined && host.out.isTTY)
      throw new MbuildError('USAGE', 'refusing to write an archive to a terminal', {
        hint: 'redirect standard output, or use --output FILE',
      });
    const { packContext } = await import('../../context/pack');
    const tar = packContext(context, placeIn(context, dockerfilePath(directory, flags.file)));
    if (flags.output === undefined) {
      await pipeline(tar, host.stdout(), { signal: host.signal, end: false });
      return 0;
    }
    try {
      await pipeline(tar, createWriteStream(flags.output), { signal: host.signal });
    } catch (error) {
      removeFile(flags.output);
      throw error;
    }
    return 0;
  },
});

interface SelectionFlags {
  readonly file: string | undefined;
  readonly ignorefile: string | undefined;
}

function contextOf(directory: string, { file, ignorefile }: SelectionFlags): LocalContext {
  if (readContext(directory).kind === 'directory' && !existsSync(directory))
    throw new MbuildError('CONTEXT_NOT_FOUND', `${directory} does not exist`, {
      hint: 'give the directory of the build context',
    });
  if (readContext(directory).kind !== 'directory')
    throw new MbuildError('UNSUPPORTED', `${directory} is not a directory`, {
      hint: 'give the directory of the build context',
    });
  return new LocalContext(
    directory,
    loadIgnoreFile(directory, dockerfilePath(directory, file), ignorefile),
  );
}

/** A file's path in the context; `undefined` when it lies elsewhere or is not there. */
function placeIn(context: LocalContext, file: string): RawPath | undefined {
  const place = path.relative(toText(context.path), path.resolve(file));
  return place.startsWith('..') || !existsSync(file) ? undefined : toRaw(place);
}

/** A given path counts from the working directory, else from the context. */
function dockerfilePath(directory: string, given: string | undefined): string {
  return given !== undefined && existsSync(given)
    ? path.resolve(given)
    : path.join(directory, given ?? 'Dockerfile');
}

function table(
  entries: readonly ContextEntry[],
  { sizes, why }: { readonly sizes: boolean; readonly why: boolean },
): string {
  const row = ([status, size, name, rule]: readonly [string, string, string, string]): string[] => [
    status,
    ...(sizes ? [size] : []),
    name,
    ...(why ? [rule] : []),
  ];
  return layOutTable([
    row(['CONTEXT', 'SIZE', 'PATH', 'RULE']),
    ...entries.map((entry) =>
      row([
        entry.included ? 'in' : 'out',
        humanSize(entry.size, 3),
        toText(entry.path),
        ruleText(entry),
      ]),
    ),
  ]);
}

function ruleText({ rule }: ContextEntry): string {
  return rule === undefined ? '' : `${rule.file}:${rule.line} ${rule.pattern}`;
}

function totals(entries: readonly ContextEntry[]): string {
  const [kept, dropped] = [true, false].map((included) =>
    sum(entries.filter((entry) => entry.included === included)),
  );
  return `${count(kept)} in, ${count(dropped)} out`;
}

function count({ files, bytes } = { files: 0, bytes: 0 }): string {
  return `${files} file${files === 1 ? '' : 's'} (${humanSize(bytes, 3)})`;
}

function sum(entries: readonly ContextEntry[]): { files: number; bytes: number } {
  return {
    files: entries.reduce((total, { files }) => total + files, 0),
    bytes: entries.reduce((total, { size }) => total + size, 0),
  };
}

function toJson(entries: readonly ContextEntry[]): string {
  const of = (included: boolean): ReturnType<typeof sum> =>
    sum(entries.filter((entry) => entry.included === included));
  const shown = entries.map((entry) => ({ ...entry, path: toText(entry.path) }));
  return `${jsonText({ entries: shown, in: of(true), out: of(false) }, 2)}\n`;
}
