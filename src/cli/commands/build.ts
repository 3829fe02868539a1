import { writeFileSync } from 'node:fs';
import { build, type BuildResult } from '../../build';
import type { EvictionPolicy } from '../../cache/eviction';
import { MbuildError, errnoOf } from '../../diagnostics/error';
import { errorToJson } from '../../diagnostics/render';
import { jsonText } from '../../diagnostics/visible';
import { summaryLine } from '../../history/build-record';
import type { ProgressMode } from '../../progress/choose';
import { rawLine } from '../../progress/rawjson';
import { cleanLine } from '../../progress/sanitize';
import { BUILD_FLAGS } from '../build-flags';
import { buildOptions, readContext, type BuildFlags, type BuildInputs } from '../build-options';
import { readCall, runCall } from '../call';
import { defineCommand } from '../command';
import { warningSummary } from '../format/check';
import { traitsOf } from '../../output/kinds/kinds';
import { metadataOf } from '../format/metadata';
import type { Host } from '../host';
import { withProgress } from '../progress';
import { withServices } from '../services';
import { readText, sniffStdin } from '../stdin';

export const command = defineCommand({
  name: 'build',
  summary: 'Build an image from a Dockerfile',
  usage: ['[OPTIONS] PATH | URL | -'],
  positionals: { min: 1, max: 1 },
  flags: BUILD_FLAGS,
  run: async ({ flags, positionals: [context = '.'] }, host) => {
    const mode = progressMode(flags);
    try {
      const inputs = await readInputs(context, flags.file, host);
      const options = buildOptions(flags, inputs, host.env);
      const call = readCall(flags);
      if (call !== undefined) return await runCall(call, options, flags, host);
      refuseTerminal(
        options.outputs?.some((output) => traitsOf(output).toStdout === true) === true,
        host,
      );
      const limit =
        flags['cache-limit'] === undefined
          ? undefined
          : (await import('../cache-limit')).readSize(flags['cache-limit']);
      const result = await withServices(host, flags, async (services) => {
        const made = await withProgress(host, mode, (scope) => build(options, services, scope));
        if (flags.report !== undefined)
          writeResult(
            flags.report,
            await (await import('./report')).buildPage(made.buildId, services),
          );
        if (limit !== undefined)
          await (
            await import('../cache-limit')
          ).limitCache(services, limit, flags['cache-policy'] as EvictionPolicy, host);
        return made;
      });
      host.result?.(result);
      report(result, flags, mode, host);
      return 0;
    } catch (error) {
      if (mode !== 'rawjson') throw error;
      host.err.write(rawLine({ kind: 'error', error: errorToJson(error) }));
      return errnoOf(error) === 'USAGE' ? 125 : 1;
    }
  },
});

function progressMode(flags: BuildFlags): ProgressMode {
  return flags.quiet ? 'quiet' : (flags.progress as ProgressMode);
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

/** Warnings, the files that were asked for, and with `--quiet` the id. */
function report(result: BuildResult, flags: BuildFlags, mode: ProgressMode, host: Host): void {
  // Several targets or platforms have a line each.
  const ids =
    result.imageId === undefined ? '' : result.images.map(({ imageId }) => imageId).join('\n');
  if (flags.iidfile !== undefined && ids !== '') writeResult(flags.iidfile, ids);
  if (flags['metadata-file'] !== undefined)
    writeResult(flags['metadata-file'], `${jsonText(metadataOf(result), 2)}\n`);
  if (mode === 'rawjson') {
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
    if (mode !== 'none' && mode !== 'quiet')
      host.err.write(`\n${summaryLine(result.buildId, result.cache)}\n`);
  }
  if (flags.quiet && ids !== '') host.out.write(`${ids}\n`);
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
