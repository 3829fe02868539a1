import type { IgnoreRules } from '../context/ignore';
import type { SourceRange } from '../diagnostics/range';
import type { Dockerfile, Instruction, Stage } from '../dockerfile/instruction';
import type { Platform } from '../oci/platform';
import type { StageBase } from './base';
import type { StageScope } from './scope';

/** What is known of the image that a stage begins with. */
export interface LintBase {
  /** `NAME=value`. */
  readonly env: readonly string[];
  readonly shell?: readonly string[] | undefined;
  readonly platform?: Platform | undefined;
}

/** What a Dockerfile is checked with. */
export interface LintOptions {
  /** Of the command line; `BUILDKIT_DOCKERFILE_CHECK` among them stands for the file's `# check=`. */
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
   * The image of a FROM, by its name after expansion. `undefined`: not known, and variables that it may define
   * are then not reported.
   */
  readonly base?: ((name: string, platform: Platform) => LintBase | undefined) | undefined;
}

/** All that a rule may look at. */
export interface Subject {
  readonly dockerfile: Dockerfile;
  readonly options: LintOptions;
  /** Every instruction of the file, in order. */
  readonly instructions: readonly Instruction[];
  /** The lines of the file, without their ends. */
  lines(): readonly string[];
  /** The comment lines directly above an instruction, without `#` and trimmed; directives are none. */
  commentsOf(instruction: Instruction): readonly string[];
  /** ARGs before the first FROM with their values, and the automatic platform ARGs below them. */
  readonly globals: GlobalValues;
  /** What each stage begins with, by its index. */
  readonly bases: readonly StageBase[];
}

/** The variables of FROM. */
export interface GlobalValues {
  /** Names of the ARGs before the first FROM, and of the platform ARGs. */
  readonly names: ReadonlySet<string>;
  value(name: string): string | undefined;
  /** The same without what the command line says. */
  defaultValue(name: string): string | undefined;
}

/** Takes a warning. The range is the instruction's unless another one is given. */
export type Report = (instruction: Instruction, message: string, range?: SourceRange) => void;

/** One check. Its name, description and messages are BuildKit's: files and scripts name them. */
export interface Rule {
  readonly name: string;
  readonly description: string;
  /** Off unless `experimental=` asks for it. */
  readonly experimental?: boolean | undefined;
  /** Looks at the whole file, whether a stage is needed or not. */
  readonly file?: (subject: Subject, report: Report) => void;
  /** Looks at each stage that is needed. */
  readonly stage?: (stage: Stage, subject: Subject, report: Report) => void;
  /** Looks at each instruction of such a stage, with what is known before it. */
  readonly instruction?: (
    instruction: Instruction,
    scope: StageScope,
    subject: Subject,
    report: Report,
  ) => void;
}

/** Where a rule is explained: `https://docs.docker.com/go/dockerfile/rule/stage-name-casing/`. */
export function ruleUrl(name: string): string {
  const words = name.match(/[A-Z]+(?![a-z])|[A-Z][a-z]+/g) ?? [name];
  return `https://docs.docker.com/go/dockerfile/rule/${words.join('-').toLowerCase()}/`;
}
