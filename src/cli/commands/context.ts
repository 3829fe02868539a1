import { existsSync } from 'node:fs';
import path from 'node:path';
import { listContext, type ContextEntry } from '../../context/list';
import { LocalContext, loadIgnoreFile } from '../../context/local';
import { MbuildError } from '../../diagnostics/error';
import { toText } from '../../linux/paths';
import { humanSize } from '../../progress/units';
import { readContext } from '../build-options';
import { defineCommand } from '../command';
import { layOutTable } from '../format/table';

export const command = defineCommand({
  name: 'context ls',
  summary: 'List what a build is given of its directory, and what stays out',
  usage: ['[OPTIONS] [PATH]'],
  positionals: { min: 0, max: 1 },
  flags: {
    file: { kind: 'string', short: 'f', value: 'PATH', help: 'The Dockerfile, whose own ignore file counts (default: PATH/Dockerfile)' },
    ignorefile: { kind: 'string', value: 'PATH', help: 'The ignore file (default: DOCKERFILE.dockerignore, else .dockerignore)' },
    sizes: { kind: 'boolean', help: 'Show sizes, big things first' },
    why: { kind: 'boolean', help: 'Show the line of the ignore file that decided' },
    format: { kind: 'string', value: 'FORMAT', choices: ['table', 'json'], fallback: 'table', help: 'Form of the output' },
  },
  run: async ({ flags, positionals: [directory = '.'] }, host) => {
    if (readContext(directory).kind !== 'directory') throw new MbuildError('UNSUPPORTED', `${directory} is no directory`, { hint: 'only the files of a directory are listed' });
    const ignore = loadIgnoreFile(directory, dockerfilePath(directory, flags.file), flags.ignorefile);
    const entries = listContext(new LocalContext(directory, ignore));
    const sorted = flags.sizes ? entries.toSorted((a, b) => b.size - a.size) : entries;
    host.out.write(flags.format === 'json' ? toJson(sorted) : `${table(sorted, flags)}${totals(entries)}\n`);
    return 0;
  },
});

/** A given path counts from the working directory, else from the context. */
function dockerfilePath(directory: string, given: string | undefined): string {
  return given !== undefined && existsSync(given) ? path.resolve(given) : path.join(directory, given ?? 'Dockerfile');
}

function table(entries: readonly ContextEntry[], { sizes, why }: { readonly sizes: boolean; readonly why: boolean }): string {
  const row = ([status, size, name, rule]: readonly [string, string, string, string]): string[] => [status, ...(sizes ? [size] : []), name, ...(why ? [rule] : [])];
  return layOutTable([
    row(['CONTEXT', 'SIZE', 'PATH', 'RULE']),
    ...entries.map((entry) => row([entry.included ? 'in' : 'out', humanSize(entry.size, 3), toText(entry.path), ruleText(entry)])),
  ]);
}

function ruleText({ rule }: ContextEntry): string {
  return rule === undefined ? '' : `${rule.file}:${rule.line} ${rule.pattern}`;
}

function totals(entries: readonly ContextEntry[]): string {
  const [kept, dropped] = [true, false].map((included) => sum(entries.filter((entry) => entry.included === included)));
  return `${count(kept)} in, ${count(dropped)} out`;
}

function count({ files, bytes } = { files: 0, bytes: 0 }): string {
  return `${files} file${files === 1 ? '' : 's'} (${humanSize(bytes, 3)})`;
}

function sum(entries: readonly ContextEntry[]): { files: number; bytes: number } {
  return { files: entries.reduce((total, { files }) => total + files, 0), bytes: entries.reduce((total, { size }) => total + size, 0) };
}

function toJson(entries: readonly ContextEntry[]): string {
  const of = (included: boolean): ReturnType<typeof sum> => sum(entries.filter((entry) => entry.included === included));
  const shown = entries.map((entry) => ({ ...entry, path: toText(entry.path) }));
  return `${JSON.stringify({ entries: shown, in: of(true), out: of(false) }, undefined, 2)}\n`;
}
