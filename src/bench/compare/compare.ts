import { appendFileSync, cpSync, mkdtempSync, statSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '../../content/temporary';
import { MbuildError } from '../../diagnostics/error';
import { removeTree } from '../../linux/remove-tree';
import { runCommand } from '../../sandbox/command';
import { findBuilders, type Builder, type ComparedBuild } from './builders';
import { statisticsOf, type Statistics } from './statistics';

/** What is compared. */
export interface CompareRequest {
  readonly build: ComparedBuild;
  /** Names of builders; those that are not installed are left out, and said. */
  readonly builders: readonly string[];
  /** Counted builds of each kind and builder; one before them is not counted. */
  readonly times: number;
  /** A file of the context that gets a line more for each build of the kind `edited`; that kind is left out without it. */
  readonly edit: string | undefined;
  /** How this program is called. */
  readonly mbuild: readonly string[];
  /** For temporary files where TMPDIR takes none. */
  readonly store: string;
}

export const KINDS = ['cold', 'cached', 'edited'] as const;
export type CompareKind = (typeof KINDS)[number];

/** What came of it. Times are wall-clock seconds of the builder's client. */
export interface CompareReport {
  readonly version: 1;
  readonly kind: 'compare';
  readonly builders: readonly ComparedBuilder[];
  readonly notes: readonly string[];
}

export interface ComparedBuilder {
  readonly name: string;
  readonly version: string;
  /** Why it is in no comparison. */
  readonly problem?: string | undefined;
  readonly results: Readonly<Partial<Record<CompareKind, Statistics>>>;
}

const KINDS_WITHOUT_EDIT: readonly CompareKind[] = ['cold', 'cached'];

/** Builds one project by several builders, in turn, so that what else the machine does meets all of them. @throws MbuildError USAGE. */
export async function compareBuilders(
  request: CompareRequest,
  signal: AbortSignal,
): Promise<CompareReport> {
  const work = temporaryDirectory('compare', request.store);
  const runtime = mkdtempSync('/tmp/mbuild-');
  try {
    const builders = findBuilders(request.builders, { work, runtime, mbuild: request.mbuild });
    const context = contextOf(request, work);
    const build = { ...request.build, context };
    const state: State = { times: new Map(), problems: new Map(), edits: 0 };
    const compared: Compared = { request, build, builders, state, signal };
    try {
      for (const builder of builders) await attempt(builder, 'cached', compared, false);
      for (let round = 0; round < request.times && !signal.aborted; round++)
        await oneRound(round, compared);
    } finally {
      for (const { clean } of builders) if (clean !== undefined) await run(clean, {}, undefined);
    }
    return await reportOf(compared);
  } finally {
    removeTree(work);
    removeTree(runtime);
  }
}

interface State {
  /** Seconds by builder and kind. */
  readonly times: Map<string, number[]>;
  readonly problems: Map<string, string>;
  edits: number;
}

interface Compared {
  readonly request: CompareRequest;
  readonly build: ComparedBuild;
  readonly builders: readonly Builder[];
  readonly state: State;
  readonly signal: AbortSignal;
}

/** Nobody is always the first. */
async function oneRound(round: number, compared: Compared): Promise<void> {
  const { builders, request } = compared;
  const at = round % Math.max(1, builders.length);
  const order = [...builders.slice(at), ...builders.slice(0, at)];
  const kinds = request.edit === undefined ? KINDS_WITHOUT_EDIT : KINDS;
  for (const kind of kinds)
    for (const builder of order) {
      if (kind === 'edited') editFile(compared);
      await attempt(builder, kind, compared, true);
    }
}

async function attempt(
  builder: Builder,
  kind: CompareKind,
  { build, state, signal }: Compared,
  counts: boolean,
): Promise<void> {
  if (state.problems.has(builder.name) || signal.aborted) return;
  const begin = performance.now();
  const { exitCode, output } = await run(
    builder.build(build, kind === 'cold'),
    builder.env,
    signal,
  );
  const seconds = (performance.now() - begin) / 1000;
  if (exitCode !== 0) state.problems.set(builder.name, lastLine(output));
  else if (counts) {
    const name = `${builder.name} ${kind}`;
    state.times.set(name, [...(state.times.get(name) ?? []), seconds]);
  }
}

async function run(
  [file = '', ...args]: readonly string[],
  env: Readonly<Record<string, string>>,
  signal: AbortSignal | undefined,
): Promise<{ readonly exitCode: number; readonly output: string }> {
  const { exitCode, stdout, stderr } = await runCommand(file, args, { env, signal });
  return { exitCode, output: `${stdout}\n${stderr}` };
}

/** A copy where files are changed, so that the project is left as it is. */
function contextOf({ build: { context }, edit }: CompareRequest, work: string): string {
  if (edit === undefined) return context;
  const file = path.join(context, edit);
  if (statSync(file, { throwIfNoEntry: false })?.isFile() !== true)
    throw new MbuildError('USAGE', `there is no file ${edit} in ${context}`, {
      hint: '--edit names a file of the context',
    });
  const copy = path.join(work, 'context');
  cpSync(context, copy, { recursive: true, verbatimSymlinks: true });
  return copy;
}

function editFile({ request: { edit }, build, state }: Compared): void {
  if (edit !== undefined) appendFileSync(path.join(build.context, edit), `\n${++state.edits}\n`);
}

async function reportOf({ request, builders, state }: Compared): Promise<CompareReport> {
  const compared: ComparedBuilder[] = [];
  for (const builder of builders) {
    const { output } = await run(builder.version, builder.env, undefined);
    compared.push({
      name: builder.name,
      version: output.trim().split('\n')[0] ?? '',
      problem: state.problems.get(builder.name),
      results: Object.fromEntries(
        KINDS.flatMap((kind) => {
          const times = state.times.get(`${builder.name} ${kind}`);
          return times === undefined ? [] : [[kind, statisticsOf(times)]];
        }),
      ),
    });
  }
  const missing = request.builders.filter((name) => !builders.some((found) => found.name === name));
  const notes = [
    ...missing.map((name) => `${name} is not installed`),
    ...builders.flatMap(({ note }) => note ?? []),
    ...(request.edit === undefined
      ? ['without --edit FILE no build after an edit is measured']
      : []),
    'one build of each before the first counted one fetches the base images',
  ];
  return { version: 1, kind: 'compare', builders: compared, notes };
}

function lastLine(output: string): string {
  return output.trim().split('\n').at(-1)?.slice(0, 300) ?? 'it failed and said nothing';
}
