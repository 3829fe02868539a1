import packageJson from '../../package.json';
import type { BuildOptions } from '../build';
import { MbuildError } from '../diagnostics/error';
import {
  diagnosticToJson,
  errorToJson,
  renderDiagnostic,
  renderError,
} from '../diagnostics/render';
import { didYouMean } from '../diagnostics/suggest';
import type { CheckResult } from '../pipeline/check';
import { progressForm, useColor, type ProgressMode } from '../progress/choose';
import type { Host } from './host';
import { storeRoot, withServices, type StoreFlags } from './services';
import { usage } from './usage';

/** What is asked of a Dockerfile instead of a build, and the form of the answer. */
export interface Call {
  readonly method: 'check' | 'outline' | 'targets';
  readonly format: 'text' | 'json' | 'sarif' | 'codeclimate';
}

const METHODS = ['build', 'check', 'outline', 'targets'];
const FORMATS = ['text', 'json', 'sarif', 'codeclimate'];

/**
 * Reads `--check`, `--call METHOD[,format=FORMAT]` (alternatively `--format`). `undefined`: build.
 * @throws MbuildError USAGE.
 */
export function readCall(flags: {
  readonly check: boolean;
  readonly call: string;
  readonly format: string | undefined;
}): Call | undefined {
  const [written = '', ...fields] = flags.call.split(',');
  // `lint` is what older versions of buildx called it.
  const asked = written.trim() === 'lint' ? 'check' : written.trim();
  const method = flags.check ? 'check' : asked;
  let format = flags.format;
  for (const field of fields) {
    const [key, value] = field.split('=');
    if (key?.trim() !== 'format' || value === undefined)
      throw usage(
        `invalid field ${JSON.stringify(field)} in --call`,
        'write --call=check,format=json',
      );
    format = value.trim();
  }
  if (!METHODS.includes(method))
    throw usage(
      `unknown method ${JSON.stringify(method)} of --call`,
      didYouMean(method, METHODS) ?? `write one of ${METHODS.join(', ')}`,
    );
  if (method === 'build') {
    if (format !== undefined && FORMATS.includes(format))
      throw usage(
        `--format ${format} is for --check and --call`,
        'the format of an image is oci or docker',
      );
    return undefined;
  }
  const form = format ?? 'text';
  const known = method === 'check' ? FORMATS : ['text', 'json'];
  if (!known.includes(form))
    throw usage(
      `--call ${method} has no format ${JSON.stringify(form)}`,
      didYouMean(form, known) ?? `write one of ${known.join(', ')}`,
    );
  return { method: method as Call['method'], format: form as Call['format'] };
}

/** The flags of an answer. */
type CallFlags = StoreFlags & { readonly progress: string };

/**
 * Answers a call on standard output. Exit code 1 when the build could not be done or
 * `check=error=true` forbids it; warnings alone are no failure.
 */
export async function runCall(
  { method, format }: Call,
  options: BuildOptions,
  flags: CallFlags,
  host: Host,
): Promise<number> {
  const color = useColor(host.err.isTTY, host.env);
  if (method !== 'check') {
    const [{ call }, { callJson, callText }] = await Promise.all([
      import('../pipeline/check'),
      import('./format/calls'),
    ]);
    const result = await call(method, options, storeRoot(flags.root, host));
    host.out.write(format === 'json' ? callJson(result) : callText(result));
    return 0;
  }
  const [{ check }, { checkJson, checkSarif, checkText }] = await Promise.all([
    import('../pipeline/check'),
    import('./format/check'),
  ]);
  const result = await withServices(host, flags, (services) =>
    check(options, services, host.signal),
  );
  if (format === 'json') host.out.write(checkJson(result));
  else if (format === 'sarif') host.out.write(checkSarif(result, packageJson.version));
  else if (format === 'codeclimate') await writeCodeQuality(result, options, host);
  else host.out.write(checkText(result));
  await annotate(result, options, flags, host);
  for (const note of result.notes) host.err.write(`\n${renderDiagnostic(note, { color })}\n`);
  if (result.error === undefined) return 0;
  // The warnings have been shown.
  const error =
    result.error.code === 'CHECK_FAILED'
      ? new MbuildError('CHECK_FAILED', result.error.message, { ...result.error, others: [] })
      : result.error;
  host.err.write(`\n${renderError(error, { color })}\n`);
  return 1;
}

async function writeCodeQuality(
  result: CheckResult,
  options: BuildOptions,
  { out, env }: Host,
): Promise<void> {
  const [{ checkCodeQuality }, { sourcePath }] = await Promise.all([
    import('./format/code-quality'),
    import('./source-path'),
  ]);
  const { name } = result.file;
  out.write(checkCodeQuality(result, sourcePath(name, [options], env) ?? name));
}

/** On GitHub what was found stands at its lines as well. */
async function annotate(
  { warnings, error }: CheckResult,
  options: BuildOptions,
  flags: CallFlags,
  host: Host,
): Promise<void> {
  const form = progressForm(flags.progress as ProgressMode, host.err.isTTY, host.env);
  if (form !== 'github') return;
  const { GithubReport } = await import('./ci-report');
  const errors = error === undefined || error.code === 'CHECK_FAILED' ? [] : [errorToJson(error)];
  new GithubReport([options], host).annotate([...errors, ...warnings.map(diagnosticToJson)]);
}
