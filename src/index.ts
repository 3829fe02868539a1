/** What programs that embed mbuild import: docs/api.md. */
export { Mbuild, build } from './api/mbuild';
export type * from './api/options';
export type * from './api/results';
export { MbuildError, isMbuildError } from './diagnostics/error';
export type { Diagnostic, ErrorCode, ErrorFacts } from './diagnostics/error';
export type { SourceFile, SourceRange } from './diagnostics/range';
export { renderError } from './diagnostics/render';
export type { RenderOptions } from './diagnostics/render';
export type { CacheSummary, EarlierStep } from './history/build-record';
export type { Cause, FileCause, VariableCause } from './history/cause';
export type { Digest } from './oci/digest';
export type { Descriptor } from './oci/image';
export type { Platform } from './oci/platform';
export type { Forecast, ForecastFetch, ForecastPull, ForecastStep } from './pipeline/forecast';
export type { BuildResult, BuiltImage, StepResult } from './pipeline/options';
export type { BuildEvent, ResourceUsage, TransferState, VertexId } from './progress/events';
