import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { cleanEnv, command, type CommandOptions, type CommandResult } from './command';

/** The checkout. */
export const REPOSITORY = resolve(__dirname, '../..');
/** The executable under test. */
export const MBUILD = resolve(REPOSITORY, 'bin/mbuild');

/** A fixture's folder: `fixture('hello')`. */
export function fixture(...path: string[]): string {
  return resolve(REPOSITORY, 'fixtures', ...path);
}

/** One step of plain progress output: the text behind `#5 `, and how it ended. */
export interface PlainStep {
  /** e.g. `[build 2/4] RUN make`. */
  readonly name: string;
  readonly cached: boolean;
  readonly done: boolean;
  readonly failed: boolean;
  /** Output lines, without number and time. */
  readonly log: readonly string[];
}

/** mbuild on one store. */
export class Mbuild {
  constructor(
    readonly root: string,
    private readonly env: Readonly<Record<string, string>> = {},
  ) {}

  /** Runs `mbuild ARGS`; a failing command is not an error here. */
  run(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return command(MBUILD, args, {
      ...options,
      env: cleanEnv({ MBUILD_ROOT: this.root, ...this.env, ...options.env }),
    });
  }

  /** The same for a command that must succeed; returns standard output without the last newline. */
  async ok(args: readonly string[], options: CommandOptions = {}): Promise<string> {
    const result = await this.run(args, options);
    if (result.code !== 0)
      throw new Error(
        `mbuild ${args.join(' ')} ended with ${result.code}\n${result.stderr}${result.stdout}`,
      );
    return result.stdout.replace(/\n$/, '');
  }

  /**
   * Builds with plain progress; the build must succeed. Returns the image id (empty when no image
   * was asked for) and the steps.
   */
  async build(
    args: readonly string[],
    options: CommandOptions = {},
  ): Promise<{ id: string; steps: PlainStep[]; stderr: string }> {
    const folder = mkdtempSync(join(tmpdir(), 'mbuild-iid-'));
    try {
      const iidfile = join(folder, 'iid');
      const result = await this.run(
        ['build', '--progress=plain', '--iidfile', iidfile, ...args],
        options,
      );
      if (result.code !== 0)
        throw new Error(
          `mbuild build ${args.join(' ')} ended with ${result.code}\n${result.stderr}`,
        );
      return {
        id: existsSync(iidfile) ? readFileSync(iidfile, 'utf8') : '',
        steps: plainSteps(result.stderr),
        stderr: result.stderr,
      };
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  /** The parsed JSON of `mbuild inspect NAME`'s only element. */
  async inspect(name: string): Promise<Inspected> {
    const [only] = JSON.parse(await this.ok(['inspect', name])) as Inspected[];
    if (only === undefined) throw new Error(`mbuild inspect ${name} printed an empty list`);
    return only;
  }
}

/** What the tests look at in docker's inspect JSON. */
export interface Inspected {
  readonly Id: string;
  readonly RepoTags: string[];
  readonly RepoDigests: string[];
  readonly Architecture: string;
  readonly Os: string;
  readonly Size: number;
  readonly RootFS: { readonly Type: string; readonly Layers: string[] };
  readonly Config: Readonly<Record<string, unknown>> & {
    readonly Env?: string[];
    readonly Labels?: Record<string, string>;
    readonly Cmd?: string[];
  };
}

/** Reads `--progress=plain` output. */
export function plainSteps(stderr: string): PlainStep[] {
  const steps = new Map<
    string,
    { name: string; cached: boolean; done: boolean; failed: boolean; log: string[] }
  >();
  for (const line of stderr.split('\n')) {
    const match = /^#(\d+) (.*)$/.exec(line);
    if (match === null) continue;
    const [, number = '', text = ''] = match;
    const step = steps.get(number);
    if (step === undefined)
      steps.set(number, { name: text, cached: false, done: false, failed: false, log: [] });
    else if (text === 'CACHED') step.cached = true;
    else if (text.startsWith('DONE')) step.done = true;
    else if (text.startsWith('ERROR')) step.failed = true;
    else if (!text.startsWith('not cached: ')) step.log.push(text.replace(/^\d+\.\d+ /, ''));
  }
  return [...steps.values()];
}

/**
 * The steps that stand for instructions (`[2/4] RUN …`, `[build 1/2] COPY …`), the base image's
 * left out.
 */
export function instructionSteps(steps: readonly PlainStep[]): PlainStep[] {
  return steps.filter((step) => /^\[(?:\S+ )?\d+\/\d+\] (?!FROM )/.test(step.name));
}
