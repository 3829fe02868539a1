import type { IgnoreRules } from '../context/ignore';
import type { Platform } from '../oci/platform';

/** What is known of the image that a stage begins with. */
export interface LintBase {
  /** `NAME=value`. */
  readonly env: readonly string[];
  readonly shell?: readonly string[] | undefined;
  readonly platform?: Platform | undefined;
}

/** What a Dockerfile is checked with. */
export interface LintOptions {
  /**
   * Of the command line; `BUILDKIT_DOCKERFILE_CHECK` among them stands for the file's `# check=`.
   */
  readonly buildArgs: Readonly<Record<string, string>>;
  /** Of the image that is to come out, and of this machine. */
  readonly platform: Platform;
  readonly buildPlatform: Platform;
  /** The stage asked for: only what it needs is looked into. The last one when absent. */
  readonly target?: string | undefined;
  /** Without a target every stage is looked into, as `--check` does. */
  readonly allStages?: boolean | undefined;
  /** What the context leaves out; without it no copied file is known to be excluded. */
  readonly ignore?: IgnoreRules | undefined;
  /**
   * The image of a FROM, by its name after expansion. `undefined`: not known, and variables that it
   * may define are then not reported.
   */
  readonly base?: ((name: string, platform: Platform) => LintBase | undefined) | undefined;
  /**
   * A file of the context, for what an install reads; without it every manifest is taken to be
   * enough.
   */
  readonly readFile?: ((path: string) => string | undefined) | undefined;
  /** How long an instruction, in one line, took when it ran last. */
  readonly recordedSeconds?: ((instruction: string) => number | undefined) | undefined;
}

/** The variables of FROM. */
export interface GlobalValues {
  /** Names of the ARGs before the first FROM, and of the platform ARGs. */
  readonly names: ReadonlySet<string>;
  value(name: string): string | undefined;
  /** The same without what the command line says. */
  defaultValue(name: string): string | undefined;
}
