/** What programs that embed mbuild use. */
export { build } from './build';
export type {
  BuildOptions,
  BuildResult,
  CompressionSpec,
  ContextSource,
  OutputSpec,
  SecretSource,
  StepResult,
} from './build';
export { MbuildError, isMbuildError } from './diagnostics/error';
export type { Diagnostic, ErrorCode } from './diagnostics/error';
export { openEngine } from './engine';
export type { Engine, EngineOptions } from './engine';
export type { BuildEvent, BuildScope, EventSink } from './progress/events';
