import { cacheOrderOptions } from './check-records';
import type { BuildOptions } from './options';
import { buildRemote, contextFetcher } from './remote';
import { BuildSecrets } from './secrets';
import { openSshAgents } from './ssh-agents';
import { openContext, type OpenedContext } from '../context/open';
import { isMbuildError, type Diagnostic, type MbuildError } from '../diagnostics/error';
import type { SourceFile } from '../diagnostics/range';
import type { Dockerfile } from '../dockerfile/instruction';
import { parseDockerfile } from '../dockerfile/parse';
import type { Engine } from '../engine';
import { planGraph } from '../graph/plan';
import { Lease } from '../images/store/lease';
import { fetchConfig } from '../images/transfer/remote-config';
import { baseImages, checkViolation, lintDockerfile, type LintOptions } from '../lint/lint';
import { outline, targets, type Outline, type Target } from '../lint/outline';
import { unusedInputs } from '../lint/unused';
import { digestOf } from '../oci/digest';
import type { ImageConfig } from '../oci/image';
import { formatPlatform, hostPlatform, type Platform } from '../oci/platform';
import { vertexIds } from '../progress/events';

/** What a check came to. */
export interface CheckResult {
  readonly file: SourceFile;
  readonly warnings: readonly Diagnostic[];
  /**
   * What would stop the build: a mistake in the Dockerfile, or a warning where `check=error=true`
   * stands.
   */
  readonly error?: MbuildError | undefined;
  /** What could not be looked at, and what the command line gives in vain. */
  readonly notes: readonly Diagnostic[];
}

/** The other two methods of `--call`. */
export type CallResult =
  | { readonly method: 'outline'; readonly file: SourceFile; readonly outline: Outline }
  | { readonly method: 'targets'; readonly file: SourceFile; readonly targets: readonly Target[] };

/**
 * Checks what a build would do, and builds nothing: of base images the configs alone are fetched.
 * @throws MbuildError for a context or Dockerfile that cannot be read or parsed.
 */
export async function check(
  options: BuildOptions,
  engine: Engine,
  signal: AbortSignal,
): Promise<CheckResult> {
  const ssh = await openSshAgents(options.ssh ?? [], engine.root);
  const lease = new Lease(engine.root);
  const fetcher = contextFetcher(
    buildRemote(new BuildSecrets(options.secrets ?? []), ssh, engine, lease),
    options,
    vertexIds(),
    { signal, events: () => undefined },
  );
  const context = await openContext(options, engine.root, fetcher).finally(() => {
    lease.release();
    ssh.close();
  });
  try {
    return await checkOpened(context, options, engine, signal);
  } finally {
    context.close();
  }
}

async function checkOpened(
  context: OpenedContext,
  options: BuildOptions,
  engine: Engine,
  signal: AbortSignal,
): Promise<CheckResult> {
  const dockerfile = parseDockerfile(context.dockerfile);
  const plain = lintOptions(options);
  const unused = unusedInputs(dockerfile, {
    buildArgs: Object.keys(plain.buildArgs),
    contexts: Object.keys(options.contexts ?? {}),
  });
  const wanted = baseImages(dockerfile, plain).filter(
    ({ name }) => options.contexts?.[name] === undefined,
  );
  const { configOf, missing } = await baseConfigs(wanted, engine, signal);
  const warnings = lintDockerfile(dockerfile, {
    ...plain,
    allStages: true,
    ignore: context.tree.ignore?.rules,
    ...cacheOrderOptions(context.tree, engine.root),
    base: (name, platform) => {
      const config = configOf(name, platform);
      return (
        config && { env: config.config?.Env ?? [], shell: config.config?.Shell, platform: config }
      );
    },
  });
  const error =
    (await planningError(dockerfile, options, plain, configOf)) ??
    checkViolation(dockerfile, warnings, plain.buildArgs);
  return {
    file: dockerfile.file,
    warnings,
    error,
    notes: [...context.warnings, ...unused, ...missing],
  };
}

/**
 * The configs of base images, as far as they can be looked at, and a note about each of the others.
 */
async function baseConfigs(
  images: ReturnType<typeof baseImages>,
  engine: Engine,
  signal: AbortSignal,
): Promise<{
  readonly configOf: (name: string, platform: Platform) => ImageConfig | undefined;
  readonly missing: readonly Diagnostic[];
}> {
  const keyOf = (name: string, platform: Platform): string => `${name} ${formatPlatform(platform)}`;
  const configs = new Map<string, ImageConfig>();
  const missing: Diagnostic[] = [];
  await Promise.all(
    images.map(async ({ name, platform }) => {
      try {
        const config = await fetchConfig(name, platform, {
          images: engine.images,
          registry: () => engine.registry,
          admit: engine.admit,
          signal,
        });
        configs.set(keyOf(name, platform), config);
      } catch (error) {
        if (!isMbuildError(error) || signal.aborted) throw error;
        missing.push({
          severity: 'warning',
          code: error.code,
          message: `${name} could not be read, so variables of its stages are not checked: ${error.message}`,
        });
      }
    }),
  );
  return { configOf: (name, platform) => configs.get(keyOf(name, platform)), missing };
}

/**
 * Reads the Dockerfile for `--call outline` or `targets`; images are not looked at.
 * @throws MbuildError as {@link check}.
 */
export async function call(
  method: CallResult['method'],
  options: BuildOptions,
  root: string,
): Promise<CallResult> {
  const context = await openContext(options, root);
  try {
    const dockerfile = parseDockerfile(context.dockerfile);
    const plain = lintOptions(options);
    const { file } = dockerfile;
    if (method === 'targets') return { method, file, targets: targets(dockerfile, plain) };
    const error =
      options.target === undefined
        ? undefined
        : await planningError(dockerfile, options, plain, () => undefined);
    if (error?.code === 'UNKNOWN_STAGE') throw error;
    return { method, file, outline: outline(dockerfile, plain) };
  } finally {
    context.close();
  }
}

function lintOptions(options: BuildOptions): LintOptions {
  return {
    buildArgs: options.buildArgs ?? {},
    platform: options.platforms?.[0] ?? hostPlatform(),
    buildPlatform: hostPlatform(),
    target: options.target,
  };
}

/** Plans the build with images that are empty where they are not known. */
async function planningError(
  dockerfile: Dockerfile,
  options: BuildOptions,
  { buildArgs, platform, buildPlatform }: LintOptions,
  configOf: (name: string, platform: Platform) => ImageConfig | undefined,
): Promise<MbuildError | undefined> {
  try {
    await planGraph(dockerfile, {
      target: options.target,
      platform,
      buildPlatform,
      buildArgs,
      labels: {},
      network: 'none',
      allowInsecure: true,
      contexts: Object.keys(options.contexts ?? {}),
      warn: () => undefined,
      findImage: (name, wanted) =>
        Promise.resolve({
          name,
          config: configOf(name, wanted) ?? {
            os: wanted.os,
            architecture: wanted.architecture,
            rootfs: { type: 'layers', diff_ids: [] },
          },
          descriptor: { mediaType: '', digest: digestOf(''), size: 0 },
          stack: () => Promise.resolve([]),
        }),
    });
    return undefined;
  } catch (error) {
    if (isMbuildError(error)) return error;
    throw error;
  }
}
