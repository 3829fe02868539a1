import { MbuildError } from '../diagnostics/error';
import type { SourceRange } from '../diagnostics/range';
import type { Instruction, Stage } from '../dockerfile/instruction';
import { parseTrigger } from '../dockerfile/parse';
import type { ContainerConfig, ImageConfig } from '../oci/image';
import type { Platform } from '../oci/platform';
import { inheritedConfig, SCRATCH_CONFIG } from './config';
import type { BaseImage, CopyOperation, StageBase, StagePlan } from './graph';
import { Chain, Variables } from './persistent';
import { freshState, withStep, type StageScopeReader, type StageState } from './state';
import type { StepNames } from './step-names';

/** What a stage stands on. */
export type Ground =
  | { readonly kind: 'scratch' }
  /** The files of a named context. */
  | { readonly kind: 'files'; readonly name: string }
  | { readonly kind: 'image'; readonly image: BaseImage }
  | { readonly kind: 'stage'; readonly stage: StagePlan };

/** A stage before its first instruction. */
export interface StageStart {
  readonly state: StageState;
  /** Of ONBUILD, to be run first. */
  readonly triggers: readonly string[];
  readonly platform: Platform;
  /** The base as the graph has it; that of an image is a vertex with a name. */
  readonly base: (names: StepNames, range: SourceRange) => StageBase;
}

/** @param platform of what stands on no image. */
export function startOf(ground: Ground, platform: Platform): StageStart {
  switch (ground.kind) {
    case 'scratch':
    case 'files':
      return { ...fresh(SCRATCH_CONFIG), platform, base: () => ({ kind: 'scratch' }) };
    case 'image': {
      const { image } = ground;
      return {
        ...fresh(image.config.config ?? {}, image.config.author),
        platform: platformOf(image.config),
        base: (names, range) => ({
          kind: 'image',
          image,
          stepName: names.next(`FROM ${image.name}`),
          range,
        }),
      };
    }
    case 'stage':
      return startOnStage(ground.stage);
  }
}

/**
 * A stage on another one has its ARGs as well; an ENV of it wins over an ARG that stood over it
 * there.
 */
function startOnStage(stage: StagePlan): StageStart {
  const start = fresh(stage.config, stage.author);
  const env = Variables.of([...stage.scope.env, ...start.state.env]);
  return {
    ...start,
    state: { ...start.state, env, args: Chain.of(stage.scope.args) },
    platform: stage.platform,
    base: () => ({ kind: 'stage', stage }),
  };
}

function fresh(
  below: ContainerConfig,
  author?: string,
): { readonly state: StageState; readonly triggers: readonly string[] } {
  const { triggers, config } = inheritedConfig(below);
  return { triggers, state: freshState(config, author) };
}

/** The triggers of the base, then what the stage says. */
export function instructionsOf(stage: Stage, triggers: readonly string[]): Instruction[] {
  return [...triggers.map((trigger) => parseTriggerOf(trigger, stage)), ...stage.instructions];
}

function parseTriggerOf(trigger: string, stage: Stage): Instruction {
  try {
    // A trigger is not in the file: what it does is shown at the FROM that brought it.
    const instruction = parseTrigger(trigger);
    return {
      ...instruction,
      range: stage.from.range,
      flags: instruction.flags.map((flag) => ({ ...flag, range: stage.from.range })),
    };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new MbuildError(
      'IMAGE_INVALID',
      `the ONBUILD trigger ${JSON.stringify(trigger)} of the base is not valid: ${message}`,
      { cause: error },
    );
  }
}

/** A stage that begins with the files of a named context. */
export function withFiles(
  state: StageState,
  name: string,
  stage: Stage,
  scope: StageScopeReader,
): StageState {
  const operation: CopyOperation = {
    kind: 'copy',
    instruction: 'COPY',
    from: { kind: 'context', name },
    sources: [{ kind: 'path', path: '/' }],
    dest: '/',
    link: false,
    parents: false,
    exclude: [],
    keepGitDir: false,
  };
  return withStep(
    state,
    scope.makeStep(operation, `FROM ${name}`, stage.from.range),
    `COPY --from=${name} / / # buildkit`,
  );
}

/** `scratch` as a tree that is copied from, but for its platform. */
export const EMPTY_STAGE: Omit<StagePlan, 'platform'> = {
  index: -1,
  name: 'scratch',
  base: { kind: 'scratch' },
  steps: [],
  history: [],
  config: SCRATCH_CONFIG,
  scope: { env: [], args: [] },
};

/** The platform of an image is what its config says, whatever was asked for. */
function platformOf(config: ImageConfig): Platform {
  const { os, architecture, variant } = config;
  return {
    os,
    architecture,
    variant,
    'os.version': config['os.version'],
    'os.features': config['os.features'],
  };
}
