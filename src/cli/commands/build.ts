import { writeFileSync } from 'node:fs';
import { build, type BuildOptions, type BuildResult } from '../../build';
import type { Engine } from '../../engine';
import type { EvictionPolicy } from '../../cache/eviction';
import { MbuildError, errnoOf } from '../../diagnostics/error';
import { errorToJson } from '../../diagnostics/render';
import { jsonText } from '../../diagnostics/visible';
import { summaryLine } from '../../history/build-record';
import type { BuildScope } from '../../progress/events';
import { progressForm, type ProgressForm, type ProgressMode } from '../../progress/choose';
import { isCi } from '../../progress/ci';
import { rawLine } from '../../progress/rawjson';
import { cleanLine } from '../../progress/sanitize';
import { BUILD_FLAGS } from '../build-flags';
import { buildOptions, readContext, type BuildFlags, type BuildInputs } from '../build-options';
import { readCall, runCall } from '../call';
import { defineCommand } from '../command';
import { warningSummary } from '../format/check';
import { traitsOf } from '../../output/kinds/kinds';
import { digestFiles } from '../digest-files';
import { metadataOf } from '../format/metadata';
import type { Host } from '../host';
import type { GithubReport } from '../ci-report';
import { githubReport, withProgress } from '../progress';
import { withServices, type StoreFlags } from '../services';
import { withTimeLimit } from '../time-limit';
import { readText, sniffStdin } from '../stdin';

export const command = defineCommand({
  name: 'build',
  summary: 'Build an image from a Dockerfile',
  usage: ['[OPTIONS] PATH | URL | -'],
  positionals: { min: 1, max: 1 },
  flags: BUILD_FLAGS,
  run: async ({ flags, positionals: [context = '.'] }, host) => {
    const form = progressForm(progressMode(flags, host), host.err.isTTY, host.env);
    const github = await githubReport(form, [{ context: readContext(context) }], host);
    try {
      return await withTimeLimit(flags.timeout, host, (limited) =>
        buildOrAnswer({ context, flags, form, github }, limited),
      );
    } catch (error) {
      github?.failed(error);
      if (form !== 'rawjson') throw error;
      host.err.write(rawLine({ kind: 'error', error: errorToJson(error) }));
      return errnoOf(error) === 'USAGE' ? 125 : 1;
    }
  },
});

/** A build as it is asked for, and how it is told. */
interface Request {
  readonly context: string;
  readonly flags: BuildFlags & StoreFlags;
  readonly form: ProgressForm;
  readonly github: GithubReport | undefined;
}

async function buildOrAnswer(request: Request, host: Host): Promise<number> {
  const { context, flags } = request;
  const inputs = await readInputs(context, flags.file, host);
  const options = buildOptions(flags, inputs, host.env);
  const call = readCall(flags);
  if (call !== undefined) return await runCall(call, options, flags, host);
  refuseTerminal(
    options.outputs?.some((output) => traitsOf(output).toStdout === true) === true,
    host,
  );
  const started = host.now();
  const result = await buildInStore(options, request, host);
  host.result?.(result);
  await report(result, request, host.now() - started, host);
  return 0;
}

async function buildInStore(
  options: BuildOptions,
  { flags, form, github }: Request,
  host: Host,
): Promise<BuildResult> {
  const limit =
    flags['cache-limit'] === undefined
      ? undefined
      : (await import('../cache-limit')).readSize(flags['cache-limit']);
  const progress = { mode: form, timestamps: flags['log-timestamp'] };
  return withServices(host, flags, async (services) => {
    if (flags['check-push'])
      await (await import('../check-push')).checkPush(options, services, host.signal);
    const made = await withProgress(host, progress, (scope) =>
      buildAsking(
        options,
        { engine: services, scope: github?.watch(scope) ?? scope },
        asks(flags, host) ? host : undefined,
      ),
    );
    github?.done([[undefined, made]], services);
    if (flags.report !== undefined)
      writeResult(flags.report, await (await import('./report')).buildPage(made.buildId, services));
    if (limit !== undefined)
      await (
        await import('../cache-limit')
      ).limitCache(services, limit, flags['cache-policy'] as EvictionPolicy, host);
    return made;
  });
}

/** @param host where a person is asked what becomes of a RUN that failed. */
async function buildAsking(
  options: BuildOptions,
  { engine, scope }: { readonly engine: Engine; readonly scope: BuildScope },
  host: Host | undefined,
): Promise<BuildResult> {
  if (host === undefined) return build(options, engine, scope);
  const { askOnFailure } = await import('../failure-shell');
  const { scope: asking, onFailedRun } = askOnFailure(engine, host, scope);
  return build({ ...options, onFailedRun }, engine, asking);
}

/** Whether a person at a terminal is asked what becomes of a RUN that fails. */
function asks(flags: BuildFlags, host: Host): boolean {
  return flags['on-error'] === 'shell' && host.out.isTTY && host.stdin().isTTY;
}

/** A screen that is drawn anew all the time leaves no room for a shell. */
function progressMode(flags: BuildFlags, host: Host): ProgressMode {
  if (flags.quiet) return 'quiet';
  const mode = flags.progress as ProgressMode;
  return (mode === 'auto' || mode === 'tty') && asks(flags, host) ? 'plain' : mode;
}

/**
 * Standard input can be the Dockerfile, or the context, or (without an archive) the Dockerfile of a
 * build without files.
 */
export async function readInputs(
  context: string,
  file: string | undefined,
  host: Host,
): Promise<BuildInputs> {
  if (context === '-') {
    if (file === '-')
      throw new MbuildError(
        'USAGE',
        'standard input cannot be both the context and the Dockerfile',
      );
    const content = await sniffStdin(host.stdin());
    if (content.kind === 'text')
      return { context: { kind: 'empty' }, dockerfile: { name: '-', text: content.text } };
    return {
      context: { kind: 'stream', stream: content.stream },
      ...(file === undefined ? {} : { dockerfile: { path: file } }),
    };
  }
  const source = readContext(context);
  if (file === '-')
    return { context: source, dockerfile: { name: '-', text: await readText(host.stdin()) } };
  return { context: source, ...(file === undefined ? {} : { dockerfile: { path: file } }) };
}

function refuseTerminal(toStdout: boolean, host: Host): void {
  if (toStdout && host.out.isTTY)
    throw new MbuildError('USAGE', 'refusing to write an archive to a terminal', {
      hint: 'redirect standard output, or use dest=FILE',
    });
}

/** Warnings, the files that were asked for, and with `--quiet` the id. @param durationMs how long the build took. */
async function report(
  result: BuildResult,
  { flags, form }: Request,
  durationMs: number,
  host: Host,
): Promise<void> {
  // Several targets or platforms have a line each.
  const ids =
    result.imageId === undefined ? '' : result.images.map(({ imageId }) => imageId).join('\n');
  if (flags.iidfile !== undefined && ids !== '') writeResult(flags.iidfile, ids);
  if (flags['metadata-file'] !== undefined)
    writeResult(flags['metadata-file'], `${jsonText(metadataOf(result), 2)}\n`);
  for (const [file, text] of digestFiles(result, flags)) writeResult(file, text);
  if (form === 'rawjson') {
    host.err.write(
      rawLine({
        kind: 'result',
        imageId: result.imageId,
        digest: result.descriptor.digest,
        names: result.names,
      }),
    );
  } else if (!flags.quiet) {
    host.err.write(warningSummary(result.warnings, cleanLine));
    if (form !== 'none' && form !== 'quiet')
      host.err.write(`\n${await summaryOf(result, durationMs, host)}`);
  }
  if (form === 'quiet' && ids !== '') host.out.write(`${ids}\n`);
}

/** The last lines of a build: one for people who saw it run, ten for the log of a CI job. */
async function summaryOf(result: BuildResult, durationMs: number, { env }: Host): Promise<string> {
  if (!isCi(env)) return `${summaryLine(result.buildId, result.cache)}\n`;
  return (await import('../format/ci-summary')).ciSummary(result, durationMs);
}

function writeResult(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw new MbuildError('IO_FAILED', `cannot write ${path} (${errnoOf(error) ?? 'error'})`, {
      cause: error,
    });
  }
}
