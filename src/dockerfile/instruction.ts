import type { SourceFile, SourceRange } from '../diagnostics/range';

/**
 * A flag as written, e.g. `--chown=app:app`; `value` is absent for `--link`. Variables are not
 * expanded yet.
 */
export interface Flag {
  /** Without the dashes, as written. */
  readonly name: string;
  readonly value?: string | undefined;
  readonly range: SourceRange;
}

/** A here-document: BuildKit's Dockerfile reference, "Here-Documents". */
export interface Heredoc {
  /** The delimiter, unquoted: also the file name in `COPY <<name /dir/`. */
  readonly name: string;
  readonly content: string;
  /**
   * The content as written, tabs included: for a shell that reads the heredoc itself, and for
   * history.
   */
  readonly raw: string;
  /** False when the delimiter was quoted: variables in the body stay as they are. */
  readonly expand: boolean;
  /** True for `<<-`: leading tabs were taken off (they are off in `content` already). */
  readonly chomp: boolean;
  /** The file descriptor before `<<`; 0 when none was written. */
  readonly fd: number;
}

/** A command: a list of words to execute, or a line for the shell. */
export type CommandLine =
  | { readonly form: 'exec'; readonly args: readonly string[] }
  | { readonly form: 'shell'; readonly line: string };

/** `name=value` as written, quotes kept. `separator` is empty for the old `ENV name value`. */
export interface Pair {
  readonly name: string;
  readonly value: string;
  readonly separator: '=' | '';
}

/** What every instruction has. */
export interface InstructionBase {
  readonly flags: readonly Flag[];
  readonly heredocs: readonly Heredoc[];
  /** From the keyword to the end of the last line (heredoc bodies included). */
  readonly range: SourceRange;
  /**
   * The instruction as one line, continuations joined and comments gone, as BuildKit's `Original`:
   * for history and progress.
   */
  readonly original: string;
}

/**
 * One parsed instruction, typed by keyword. Words are as written: neither unquoted nor expanded,
 * for expansion needs the environment, which the graph knows.
 */
export type Instruction =
  | (InstructionBase & {
      readonly keyword: 'FROM';
      readonly image: string;
      readonly as?: string | undefined;
    })
  | (InstructionBase & { readonly keyword: 'RUN'; readonly command: CommandLine })
  | (InstructionBase & { readonly keyword: 'CMD' | 'ENTRYPOINT'; readonly command: CommandLine })
  | (InstructionBase & {
      readonly keyword: 'COPY' | 'ADD';
      /** Sources, then the destination. */ readonly paths: readonly string[];
    })
  | (InstructionBase & { readonly keyword: 'ENV' | 'LABEL'; readonly pairs: readonly Pair[] })
  | (InstructionBase & {
      readonly keyword: 'ARG';
      readonly args: readonly { readonly name: string; readonly value?: string | undefined }[];
    })
  | (InstructionBase & { readonly keyword: 'EXPOSE' | 'VOLUME'; readonly words: readonly string[] })
  | (InstructionBase & {
      readonly keyword: 'WORKDIR' | 'USER' | 'STOPSIGNAL' | 'MAINTAINER';
      readonly value: string;
    })
  | (InstructionBase & { readonly keyword: 'SHELL'; readonly args: readonly string[] })
  | (InstructionBase & { readonly keyword: 'HEALTHCHECK'; readonly command: CommandLine | 'NONE' })
  | (InstructionBase & {
      readonly keyword: 'ONBUILD';
      readonly child: Instruction;
      /** The trigger as the image config stores it. */ readonly trigger: string;
    });

export type Keyword = Instruction['keyword'];

/** The instruction of one keyword (or of several). */
export type InstructionOf<K extends Keyword> = WithKeyword<Instruction, K>;

type WithKeyword<I, K> = I extends { readonly keyword: infer W }
  ? [K & W] extends [never]
    ? never
    : I & { readonly keyword: K & W }
  : never;

/** A `FROM` and the instructions under it. */
export interface Stage {
  readonly index: number;
  readonly from: InstructionOf<'FROM'>;
  /** Lower case, as names of stages compare without regard to case. */
  readonly name?: string | undefined;
  readonly instructions: readonly Instruction[];
}

/** The parser directives at the top of the file. */
export interface Directives {
  readonly escape: '\\' | '`';
  readonly syntax?: string | undefined;
  /** The text behind `# check=`. */
  readonly check?: string | undefined;
}

/** A Dockerfile, parsed. */
export interface Dockerfile {
  readonly file: SourceFile;
  readonly directives: Directives;
  /** The ARGs before the first FROM. */
  readonly globalArgs: readonly InstructionOf<'ARG'>[];
  /** At least one. */
  readonly stages: readonly Stage[];
}
