import type { SourceRange } from '../diagnostics/range';
import type { Dockerfile, Instruction, Stage } from '../dockerfile/instruction';
import type { StageBase } from './base';
import type { GlobalValues, LintOptions } from './options';
import type { StageScope } from './scope';

/** All that a rule may look at. */
export interface Subject {
  readonly dockerfile: Dockerfile;
  readonly options: LintOptions;
  /** Every instruction of the file, in order. */
  readonly instructions: readonly Instruction[];
  /** The lines of the file, without their ends. */
  lines(): readonly string[];
  /**
   * The comment lines directly above an instruction, without `#` and trimmed; directives are none.
   */
  commentsOf(instruction: Instruction): readonly string[];
  /** ARGs before the first FROM with their values, and the automatic platform ARGs below them. */
  readonly globals: GlobalValues;
  /** What each stage begins with, by its index. */
  readonly bases: readonly StageBase[];
}

/** Takes a warning. The range is the instruction's unless another one is given. */
export type Report = (instruction: Instruction, message: string, range?: SourceRange) => void;

/** One check. Its name, description and messages are BuildKit's: files and scripts name them. */
export interface Rule {
  readonly name: string;
  readonly description: string;
  /** Off unless `experimental=` asks for it. */
  readonly experimental?: boolean | undefined;
  /** None of BuildKit's: its documentation does not tell of it. */
  readonly isOwn?: boolean | undefined;
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
