import { MbuildError } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import type { Dockerfile } from '../dockerfile/instruction';
import type { Rule } from './rule';

/** Which rules count, and whether a violation fails the build. */
export interface CheckConfig {
  readonly skip: ReadonlySet<string> | 'all';
  readonly experimental: ReadonlySet<string> | 'all';
  readonly error: boolean;
}

/** The build argument that stands for the file's `# check=`. */
export const CHECK_ARG = 'BUILDKIT_DOCKERFILE_CHECK';

const DEFAULT: CheckConfig = { skip: new Set(), experimental: new Set(), error: false };
const KEYS = ['skip', 'error', 'experimental'];
const TRUE = ['1', 't', 'T', 'TRUE', 'true', 'True'];
const FALSE = ['0', 'f', 'F', 'FALSE', 'false', 'False'];

/**
 * The configuration of a file: the build argument BUILDKIT_DOCKERFILE_CHECK, else its `# check=`
 * directive.
 * @throws MbuildError DOCKERFILE_SEMANTIC, placed at the directive; USAGE for the build argument.
 */
export function checkConfig(
  dockerfile: Dockerfile,
  buildArgs: Readonly<Record<string, string>>,
): CheckConfig {
  const given = Object.hasOwn(buildArgs, CHECK_ARG) ? buildArgs[CHECK_ARG] : undefined;
  const text = given ?? dockerfile.directives.check;
  if (text === undefined) return DEFAULT;
  try {
    return parseCheckOptions(text);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const message = `failed to parse check options: ${error.message}`;
    const hint =
      didYouMean(text.split('=')[0] ?? '', KEYS) ??
      'write skip=RULE,RULE;error=true;experimental=all';
    if (given !== undefined) throw new MbuildError('USAGE', message, { hint });
    throw new MbuildError('DOCKERFILE_SEMANTIC', message, {
      hint,
      file: dockerfile.file,
      range: directiveRange(dockerfile, 'check'),
    });
  }
}

/**
 * What a `check=` in the comments above an instruction adds; the first counts, and one that is none
 * is a comment.
 */
export function withComments(config: CheckConfig, comments: readonly string[]): CheckConfig {
  const text = comments
    .map((comment) => /^check\s*=\s*(.+)$/is.exec(comment)?.[1])
    .find((value) => value !== undefined);
  if (text === undefined) return config;
  try {
    const { skip, experimental } = parseCheckOptions(text);
    return {
      ...config,
      skip: union(config.skip, skip),
      experimental: union(config.experimental, experimental),
    };
  } catch (error) {
    if (error instanceof RangeError) return config;
    throw error;
  }
}

/**
 * Whether a rule is to report; experimental ones are chosen by `experimental` alone, as in
 * BuildKit.
 */
export function isOn(rule: Rule, { skip, experimental }: CheckConfig): boolean {
  if (rule.experimental === true) return experimental === 'all' || experimental.has(rule.name);
  return skip !== 'all' && !skip.has(rule.name);
}

/** Where `# check=` or `# syntax=` stands. */
export function directiveRange(
  { file }: Dockerfile,
  name: 'check' | 'syntax',
): { start: { line: number; column: number }; end: { line: number; column: number } } {
  const lines = file.text.split(/\r?\n/, 8);
  const index = Math.max(
    0,
    lines.findIndex((line) => new RegExp(`^\\ufeff?\\s*#\\s*${name}\\s*=`, 'i').test(line)),
  );
  return {
    start: { line: index + 1, column: 1 },
    end: { line: index + 1, column: (lines[index] ?? '').length + 1 },
  };
}

/**
 * `skip=A,B;error=true;experimental=all`, up to the first space.
 * @throws RangeError saying what is no option.
 */
function parseCheckOptions(text: string): CheckConfig {
  let config = DEFAULT;
  for (const part of (text.split(' ')[0] ?? '').trim().split(';')) {
    const [key = '', value] = splitOption(part);
    switch (value === undefined ? '' : key) {
      case 'skip':
        config = { ...config, skip: readNames(value ?? '') };
        break;
      case 'experimental':
        config = { ...config, experimental: readNames(value ?? '') };
        break;
      case 'error':
        if (![...TRUE, ...FALSE].includes(value ?? ''))
          throw new RangeError(`"error=${value ?? ''}" is neither true nor false`);
        config = { ...config, error: TRUE.includes(value ?? '') };
        break;
      default:
        throw new RangeError(`invalid check option ${JSON.stringify(key)}`);
    }
  }
  return config;
}

function splitOption(part: string): [key: string, value: string | undefined] {
  const equals = part.indexOf('=');
  return equals < 0
    ? [part.trim(), undefined]
    : [part.slice(0, equals).trim(), part.slice(equals + 1).trim()];
}

function readNames(text: string): ReadonlySet<string> | 'all' {
  return text === 'all' ? 'all' : new Set(text.split(',').map((name) => name.trim()));
}

function union(a: CheckConfig['skip'], b: CheckConfig['skip']): CheckConfig['skip'] {
  return a === 'all' || b === 'all' ? 'all' : new Set([...a, ...b]);
}
