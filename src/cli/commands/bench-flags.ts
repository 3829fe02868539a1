import { readFileSync, writeFileSync } from 'node:fs';
import type { Durations } from '../../bench/costs/logs';
import { MbuildError, errnoOf } from '../../diagnostics/error';
import type { SourceFile } from '../../diagnostics/range';
import type { Host } from '../host';

/** Flags that benchmarks share. */
export const BENCH_FLAGS = {
  git: { kind: 'string', value: 'RANGE', help: 'Commits as git takes them: HEAD~50.., v1.0..main' },
  'all-parents': {
    kind: 'boolean',
    help: 'Also what merges brought in, not only the line of first parents',
  },
  since: { kind: 'string', value: 'DATE', help: 'Commits since then, as git takes it: 2.weeks' },
  every: { kind: 'number', value: 'N', help: 'One commit of every N, the last among them' },
  'build-arg': {
    kind: 'list',
    value: 'KEY=VALUE',
    help: 'Set a build argument; %H in it stands for the commit, %ct for its time',
  },
  target: { kind: 'string', value: 'STAGE', help: 'The stage to build' },
  platform: { kind: 'string', value: 'OS/ARCH', help: 'Target platform' },
  output: { kind: 'string', short: 'o', value: 'FILE', help: 'Write the report to a file' },
} as const;

/** `--git` and what goes with it. @throws MbuildError USAGE. */
export function commitChoice(flags: {
  readonly git: string | undefined;
  readonly 'all-parents': boolean;
  readonly since: string | undefined;
  readonly every: number | undefined;
}): {
  readonly range: string;
  readonly allParents: boolean;
  readonly since: string | undefined;
  readonly every: number;
} {
  if (flags.git === undefined)
    throw usage(
      'nothing says which commits are to be replayed',
      'give a range as git takes it: --git HEAD~50..',
    );
  if (flags.every === 0) throw usage('--every 0 takes no commit', '--every 10 takes one of ten');
  return {
    range: flags.git,
    allParents: flags['all-parents'],
    since: flags.since,
    every: flags.every ?? 1,
  };
}

/** `--build-arg`. @throws MbuildError USAGE. */
export function buildArgsOf(texts: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf('=');
      if (at < 1) throw usage(`--build-arg ${JSON.stringify(text)} is not KEY=VALUE`);
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}

/**
 * The text behind `file:`; `undefined` where a path in the repository is meant.
 * @throws MbuildError USAGE.
 */
export function fixedDockerfile(name: string): SourceFile | undefined {
  return name.startsWith('file:')
    ? { name, text: readText(name.slice('file:'.length)) }
    : undefined;
}

/** Durations, or a log of builds. @throws MbuildError USAGE. */
export async function readDurationsFile(file: string): Promise<Durations> {
  const bytes = readBytes(file);
  const { isHistoryExport, readHistoryExport } = await import('../../bench/costs/history-export');
  if (isHistoryExport(bytes)) return readHistoryExport(bytes, file);
  const { readDurations } = await import('../../bench/costs/logs');
  return readDurations(bytes.toString('utf8'), file);
}

/** @throws MbuildError USAGE. */
export function readText(file: string): string {
  return readBytes(file).toString('utf8');
}

function readBytes(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new MbuildError('USAGE', `cannot read ${file} (${errnoOf(error) ?? 'error'})`, {
      cause: error,
    });
  }
}

/** Where `-o` says, else to standard output. */
export function writeReport(text: string, file: string | undefined, host: Host): void {
  if (file === undefined) host.out.write(text);
  else writeFileSync(file, text);
}

export function usage(message: string, hint?: string): MbuildError {
  return new MbuildError('USAGE', message, { hint });
}
