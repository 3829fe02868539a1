import type { BuildOptions } from './options';
import { MbuildError } from '../diagnostics/error';
import type { Dockerfile } from '../dockerfile/instruction';
import { hostPlatform } from '../oci/platform';

const NAME = 'SOURCE_DATE_EPOCH';

/** Seconds since 1970 of a SOURCE_DATE_EPOCH; `undefined` for none. @throws MbuildError USAGE. */
export function readEpoch(text: string | undefined, where: string): number | undefined {
  if (text === undefined || text === '') return undefined;
  if (/^\d{1,12}$/.test(text)) return Number(text);
  throw new MbuildError('USAGE', `${where} ${NAME}=${text} is not a time`, {
    hint: 'give whole seconds since 1970, as `date +%s` prints them',
  });
}

/**
 * The options with the time that an ARG before the first FROM gives the build, where the command
 * line gives none. BuildKit reads it there as well.
 * @throws MbuildError USAGE.
 */
export async function withDeclaredEpoch(
  options: BuildOptions,
  dockerfile: Dockerfile,
): Promise<BuildOptions> {
  if (options.sourceDateEpoch !== undefined) return options;
  if (!dockerfile.globalArgs.some(({ args }) => args.some(({ name }) => name === NAME)))
    return options;
  const { globalValues } = await import('../lint/globals');
  const values = globalValues(dockerfile, {
    buildArgs: options.buildArgs ?? {},
    platform: options.platforms?.[0] ?? hostPlatform(),
    buildPlatform: hostPlatform(),
    target: options.target,
  });
  const sourceDateEpoch = readEpoch(values.value(NAME), 'ARG');
  return sourceDateEpoch === undefined ? options : { ...options, sourceDateEpoch };
}
