import type { Diagnostic, ErrorCode } from '../diagnostics/error';
import { MbuildError } from '../diagnostics/error';
import type { SourceFile, SourceRange } from '../diagnostics/range';
import { expandWord, type Escape } from '../dockerfile/expand';
import type { Instruction } from '../dockerfile/instruction';
import { splitEnv } from '../oci/env';
import type { ContainerConfig } from '../oci/image';
import type { Platform } from '../oci/platform';
import type { HistoryItem, Operation, RunSettings, Step, TreeSource } from './graph';
import { checkHistory, checkTotal } from './limits';
import { Chain, Variables } from './persistent';
import type { NetworkMode } from '../sandbox/sandbox';

/** A stage half-way through its instructions. Instructions return a new one. */
export interface StageState {
  readonly config: ContainerConfig;
  readonly author?: string | undefined;
  /** ENV and ARG: what RUN sees and words expand with. */
  readonly env: Variables;
  /** ENV alone, which goes into the config. */
  readonly configEnv: Variables;
  readonly labels: Variables;
  readonly triggers: Chain<string>;
  /** Names of the ARGs declared so far. */
  readonly args: Chain<string>;
  /** Whether this stage has set CMD, which an ENTRYPOINT then leaves alone. */
  readonly hasCmd: boolean;
  readonly steps: Chain<Step>;
  readonly history: Chain<HistoryItem>;
  /** Bytes of the history. */
  readonly historySize: number;
}

/** A stage before its first instruction, on a config. */
export function freshState(config: ContainerConfig, author?: string): StageState {
  const env = (config.Env ?? []).map(splitEnv);
  return {
    config,
    author,
    env: Variables.of(env),
    configEnv: Variables.of(env),
    labels: Variables.of(Object.entries(config.Labels ?? {})),
    triggers: Chain.of(config.OnBuild ?? []),
    args: Chain.of(),
    hasCmd: false,
    steps: Chain.of(),
    history: Chain.of(),
    historySize: 0,
  };
}

/** What instructions may ask while they are planned. */
export interface StageScopeReader {
  readonly file: SourceFile;
  readonly escape: Escape;
  readonly stageName: string;
  readonly platform: Platform;
  readonly network: NetworkMode;
  readonly allowInsecure: boolean;
  readonly run: RunSettings;
  /** Arguments of the command line, and the predefined ones. */
  readonly buildArgs: ReadonlyMap<string, string>;
  /** ARGs before the first FROM, expanded. */
  readonly globalArgs: ReadonlyMap<string, string | undefined>;
  /** `TARGETPLATFORM` and the like: known where an ARG names them. */
  readonly platformArgs: ReadonlyMap<string, string>;
  /** What `--from` or `from=` names: a stage above, a named context, or an image. */
  readonly findTree: (name: string, range: SourceRange) => Promise<TreeSource>;
  /** The next step of this stage. */
  readonly makeStep: (operation: Operation, display: string, range: SourceRange) => Step;
  readonly warn: (diagnostic: Diagnostic) => void;
}

/** Adds a line of history that changed the config alone. @throws MbuildError LIMIT_EXCEEDED. */
export function withHistory(state: StageState, createdBy: string): StageState {
  return withItem(state, { createdBy });
}

/** Adds a step and its line of history. @throws MbuildError LIMIT_EXCEEDED. */
export function withStep(state: StageState, step: Step, createdBy: string): StageState {
  return withItem({ ...state, steps: state.steps.with(step) }, { createdBy, step });
}

function withItem(state: StageState, item: HistoryItem): StageState {
  const historySize = state.historySize + item.createdBy.length;
  checkHistory(historySize);
  return { ...state, history: state.history.with(item), historySize };
}

/** Changes the config. */
export function withConfig(state: StageState, change: ContainerConfig): StageState {
  return { ...state, config: { ...state.config, ...change } };
}

/** Sets a variable, which becomes the latest. @throws MbuildError LIMIT_EXCEEDED. */
export function withVariable(state: StageState, name: string, value: string): StageState {
  const env = state.env.with(name, value);
  checkTotal('environment', env.bytes);
  return { ...state, env };
}

/** Expands one word of an instruction. @throws MbuildError DOCKERFILE_SYNTAX. */
export function expandIn(word: string, state: StageState, scope: StageScopeReader): string {
  return expandWord(word, (name) => state.env.get(name), scope.escape).value;
}

/**
 * An instruction for progress, its variables replaced where that can be done. What cannot be
 * expanded is shown as written.
 */
export function displayOf(
  instruction: Instruction,
  state: StageState,
  scope: StageScopeReader,
): string {
  try {
    return expandWord(instruction.original, (name) => state.env.get(name), scope.escape, {
      rawQuotes: true,
      rawEscapes: true,
      keepUnset: true,
    }).value;
  } catch {
    return instruction.original;
  }
}

/** A mistake of an instruction; whoever plans it adds its place. */
export function mistake(code: ErrorCode, message: string, hint?: string): MbuildError {
  return new MbuildError(code, message, { hint });
}

/** The error with its place, if it is ours and has none. */
export function placed(error: unknown, file: SourceFile, range: SourceRange): unknown {
  return error instanceof Error && error.name === 'MbuildError'
    ? (error as MbuildError).at(file, range)
    : error;
}
