import { MbuildError } from '../diagnostics/error';
import type { SourceRange } from '../diagnostics/range';
import type { Dockerfile, Stage } from '../dockerfile/instruction';
import { formatPlatform, type Platform } from '../oci/platform';
import { familiarName, parseReference } from '../oci/reference';
import { configOf, writtenConfig } from './config';
import { checkFrom, readFrom, targetStage, type From } from './from';
import { globalScope, type GlobalScope } from './global-args';
import type { BaseImage, NamedContext, StagePlan, Step, TreeSource } from './graph';
import { instructionsOf, startOf, withFiles, EMPTY_STAGE, type Ground } from './ground';
import { planInstruction } from './instructions';
import type { PlanOptions } from './plan-options';
import { StageWaits } from './stage-waits';
import { namedStage, reachableStages, stageTitle, treeNames } from './stages';
import { placed, type StageScopeReader } from './state';
import { StepNames } from './step-names';
import { perhapsDeclared, readTreeName, type Declared } from './trees';

/** Numbers that planners of one graph share. */
export interface Numbers {
  nextStage: number;
  nextStep: number;
}

/**
 * Plans the stages of a Dockerfile for one platform. A stage that is asked for several times, also
 * at the same time, is planned once.
 */
export class Planner {
  readonly #images = new Map<string, Promise<BaseImage>>();
  readonly #plans = new Map<number, Promise<StagePlan>>();
  readonly #planned: StagePlan[] = [];
  readonly #waits = new StageWaits();
  readonly #globals: GlobalScope;
  /** The first of the numbers that this planner's stages have in the graph. */
  readonly #firstIndex: number;
  /** In front of the names of vertices. */
  readonly #prefix: string;

  /**
   * @param isForSeveral true where the graph has several platforms: names of vertices then say
   * which.
   */
  constructor(
    private readonly dockerfile: Dockerfile,
    private readonly options: PlanOptions,
    private readonly numbers: Numbers,
    isForSeveral: boolean,
  ) {
    this.#firstIndex = numbers.nextStage;
    numbers.nextStage += dockerfile.stages.length;
    this.#prefix = isForSeveral ? `${formatPlatform(options.platform)} ` : '';
    const target = targetStage(dockerfile, options.target);
    this.#globals = globalScope(dockerfile, {
      ...options,
      targetName: target.name ?? options.target ?? 'default',
    });
  }

  /** Plans a target and what it needs. Its labels are not those of stages that stand on it. */
  async plan(name: string | undefined): Promise<StagePlan> {
    const target = targetStage(this.dockerfile, name);
    for (const stage of this.dockerfile.stages)
      checkFrom(
        this.#from(stage),
        stage,
        this.dockerfile,
        (name) => this.#contextNamed(name) !== undefined,
      );
    this.#fetchImagesAhead(target);
    const plan = await this.#stage(target);
    const { labels, platform, isPlatformGiven } = this.options;
    return {
      ...plan,
      config:
        Object.keys(labels).length === 0
          ? plan.config
          : { ...plan.config, Labels: { ...plan.config.Labels, ...labels } },
      platform: isPlatformGiven === true ? platform : plan.platform,
    };
  }

  /** What was planned so far, stages before those that use them. */
  get stages(): readonly StagePlan[] {
    return this.#planned;
  }

  /**
   * Starts looking up every image that a needed stage names; what fails is thrown where the stage
   * is planned.
   */
  #fetchImagesAhead(target: Stage): void {
    const isReplaced = (stage: Stage): boolean => this.#ownContext(stage) !== undefined;
    for (const stage of reachableStages(this.dockerfile, target, this.#globals.expand, isReplaced))
      for (const [name, platform] of this.#imagesOf(stage))
        this.#image(name, platform).catch(() => undefined);
  }

  /** The images that a stage's text names: its base, and what its instructions take files from. */
  *#imagesOf(stage: Stage): Generator<readonly [name: string, platform: Platform]> {
    const { name, platform = this.options.platform } = this.#from(stage);
    const isImage = (name: string): boolean =>
      name !== 'scratch' && this.#contextNamed(name) === undefined;
    if (isImage(name) && namedStage(this.dockerfile, name, stage.index) === undefined)
      yield [name, platform];
    for (const tree of treeNames(stage))
      if (
        isImage(tree) &&
        parseReference(tree) !== undefined &&
        !/^\d+$/.test(tree) &&
        namedStage(this.dockerfile, tree, this.dockerfile.stages.length) === undefined
      )
        yield [tree, this.options.platform];
  }

  /** @param user the stage that needs this one; absent for a target. */
  #stage(stage: Stage, user?: Stage): Promise<StagePlan> {
    if (user !== undefined && !this.#waits.add(user.index, stage.index))
      throw new MbuildError('CIRCULAR_STAGES', `stage ${stageTitle(stage)} is based on itself`, {
        file: this.dockerfile.file,
        range: stage.from.range,
        hint: 'a --build-context with target: refers back to it',
      });
    const plan = this.#plans.get(stage.index) ?? this.#planOnce(stage);
    this.#plans.set(stage.index, plan);
    return plan;
  }

  async #planOnce(stage: Stage): Promise<StagePlan> {
    try {
      const plan = await this.#planStage(stage);
      this.#planned.push(plan);
      return plan;
    } catch (error) {
      throw placed(error, this.dockerfile.file, stage.from.range);
    }
  }

  async #planStage(stage: Stage): Promise<StagePlan> {
    const { platform = this.options.platform } = this.#from(stage);
    const { ground, isReplaced } = await this.#groundOf(stage);
    const start = startOf(ground, this.options.platform);
    const instructions = isReplaced ? [] : instructionsOf(stage, start.triggers);
    const isUnnamed = stage.name === undefined && this.dockerfile.stages.length === 1;
    const names = new StepNames({
      prefix: this.#prefix,
      stage: isUnnamed ? '' : stageTitle(stage),
      instructions,
      hasImage: ground.kind === 'files' || ground.kind === 'image',
    });
    const base = start.base(names, stage.from.range);
    const scope = this.#scope(stage, platform, names);
    let { state } = start;
    if (ground.kind === 'files') state = withFiles(state, ground.name, stage, scope);
    for (const instruction of instructions)
      state = await planInstruction(instruction, state, scope);
    return {
      index: this.#firstIndex + stage.index,
      name: stageTitle(stage),
      platform: start.platform,
      base,
      steps: state.steps.toArray(),
      history: state.history.toArray(),
      config: writtenConfig(configOf(state)),
      author: state.author,
      scope: { env: [...state.env], args: state.args.toArray() },
    };
  }

  /**
   * What a stage stands on: a named context before a stage or an image. One that has the stage's
   * own name replaces it.
   */
  async #groundOf(
    stage: Stage,
  ): Promise<{ readonly ground: Ground; readonly isReplaced: boolean }> {
    const { name, platform = this.options.platform } = this.#from(stage);
    const own = this.#ownContext(stage);
    if (own !== undefined)
      return { ground: await this.#contextGround(own, platform, stage), isReplaced: true };
    const below = namedStage(this.dockerfile, name, stage.index);
    if (below !== undefined)
      return {
        ground: { kind: 'stage', stage: await this.#stage(below, stage) },
        isReplaced: false,
      };
    const named = this.#contextNamed(name);
    if (named !== undefined)
      return { ground: await this.#contextGround(named, platform, stage), isReplaced: false };
    if (name === 'scratch') return { ground: { kind: 'scratch' }, isReplaced: false };
    const image = await this.#imageOrDeclared(name, platform, stage);
    return { ground: { kind: 'image', image }, isReplaced: false };
  }

  async #contextGround(name: string, platform: Platform, user: Stage): Promise<Ground> {
    const context = await this.#context(name, platform);
    switch (context.kind) {
      case 'files':
        return { kind: 'files', name };
      case 'image':
        return { kind: 'image', image: context.image };
      case 'stage': {
        const stage = targetStage(this.dockerfile, context.name);
        return { kind: 'stage', stage: await this.#stage(stage, user) };
      }
    }
  }

  /** The named context that replaces a stage. */
  #ownContext(stage: Stage): string | undefined {
    return this.options.contexts.find((context) => context.toLowerCase() === stage.name);
  }

  /**
   * The named context that a name of FROM or `--from` means; images' names count in their short
   * form.
   */
  #contextNamed(name: string): string | undefined {
    return (
      this.options.contexts.find((context) => context === name) ??
      this.options.contexts.find((context) => shortName(context) === shortName(name))
    );
  }

  async #context(name: string, platform: Platform): Promise<NamedContext> {
    return this.options.namedContext?.(name, platform) ?? { kind: 'files' };
  }

  #scope(stage: Stage, platform: Platform, names: StepNames): StageScopeReader {
    const { file } = this.dockerfile;
    return {
      file,
      escape: this.dockerfile.directives.escape,
      stageName: stageTitle(stage),
      platform,
      network: this.options.network,
      allowInsecure: this.options.allowInsecure,
      run: this.options.run ?? {},
      buildArgs: new Map(Object.entries(this.options.buildArgs)),
      globalArgs: this.#globals.args,
      platformArgs: this.#globals.platformArgs,
      findTree: (name, range) => this.#tree(name, stage, range),
      makeStep: (operation, display, range): Step => ({
        id: this.numbers.nextStep++,
        name: names.next(display),
        stage: stageTitle(stage),
        file,
        range,
        operation,
      }),
      warn: this.options.warn,
    };
  }

  /** What `--from` or `from=` of a stage's instruction names. */
  async #tree(name: string, user: Stage, range: SourceRange): Promise<TreeSource> {
    const { dockerfile } = this;
    const { platform } = this.options;
    const contextNamed = (name: string): string | undefined => this.#contextNamed(name);
    const found = readTreeName(name, { dockerfile, stage: user, range, contextNamed });
    try {
      switch (found.kind) {
        case 'stage':
          return { kind: 'stage', stage: await this.#stage(found.stage, user) };
        case 'context':
          return await this.#contextTree(found.name, user);
        case 'scratch':
          return { kind: 'stage', stage: { ...EMPTY_STAGE, platform } };
        case 'image':
          return { kind: 'image', image: await this.#imageOrDeclared(name, platform, user) };
      }
    } catch (error) {
      throw placed(error, dockerfile.file, range);
    }
  }

  async #contextTree(name: string, user: Stage): Promise<TreeSource> {
    const context = await this.#context(name, this.options.platform);
    switch (context.kind) {
      case 'files':
        return { kind: 'context', name };
      case 'image':
        return context;
      case 'stage': {
        const stage = targetStage(this.dockerfile, context.name);
        return { kind: 'stage', stage: await this.#stage(stage, user) };
      }
    }
  }

  #from(stage: Stage): From {
    return readFrom(stage, this.dockerfile, this.#globals);
  }

  /** An image, or an error that names what is declared and was perhaps meant. */
  async #imageOrDeclared(name: string, platform: Platform, user: Stage): Promise<BaseImage> {
    try {
      return await this.#image(name, platform);
    } catch (error) {
      const above = this.dockerfile.stages.slice(0, user.index);
      const declared: Declared = {
        stages: above.flatMap((stage) => stage.name ?? []),
        contexts: this.options.contexts,
      };
      throw perhapsDeclared(error, name, declared);
    }
  }

  #image(name: string, platform: Platform): Promise<BaseImage> {
    const key = `${formatPlatform(platform)} ${name}`;
    const image = this.#images.get(key) ?? this.options.findImage(name, platform);
    this.#images.set(key, image);
    return image;
  }
}

/** An image's name without what is understood; anything else as it is. */
function shortName(name: string): string {
  const reference = parseReference(name);
  return reference === undefined ? name : familiarName(reference).replace(/:latest$/, '');
}
