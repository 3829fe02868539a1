import { isMbuildError, MbuildError, type Diagnostic } from '../diagnostics/error';
import type { SourceFile, SourceRange } from '../diagnostics/range';
import { suggest } from '../diagnostics/suggest';
import { expandWord, type Escape } from '../dockerfile/expand';
import { stringFlag } from '../dockerfile/flags';
import type { Dockerfile, Instruction, Stage } from '../dockerfile/instruction';
import { parseTrigger } from '../dockerfile/parse';
import { splitEnv } from '../oci/env';
import type { ContainerConfig, ImageConfig } from '../oci/image';
import { formatPlatform, parsePlatform, type Platform } from '../oci/platform';
import { familiarName, parseReference } from '../oci/reference';
import type { NetworkMode } from '../sandbox/sandbox';
import { inheritedConfig, SCRATCH_CONFIG, writtenConfig } from './config';
import type { BaseImage, Graph, NamedContext, StageBase, StagePlan, Step } from './graph';
import { planInstruction } from './instructions';
import { namedStage, reachableStages, stageBaseName } from './stages';
import { placed, withStep, type StageScopeReader, type StageState } from './state';
import { stepDisplay } from './display';
import type { CopyOperation, RunSettings, TreeSource } from './operation';

/** What a Dockerfile is planned with. */
export interface PlanOptions {
  readonly target?: string | undefined;
  /** Of the image that comes out. */
  readonly platform: Platform;
  /** True when the platform was asked for: the image then claims it, whatever its base is for. */
  readonly isPlatformGiven?: boolean | undefined;
  /** Of the machine that builds. */
  readonly buildPlatform: Platform;
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly network: NetworkMode;
  readonly allowInsecure: boolean;
  readonly run?: RunSettings | undefined;
  /** Names of `--build-context`: they go before images of that name, and replace stages of that name with all their instructions. */
  readonly contexts: readonly string[];
  /** What one of them stands for; files when absent. */
  readonly namedContext?: ((name: string, platform: Platform) => Promise<NamedContext>) | undefined;
  /** Finds an image of FROM or `--from`. */
  readonly findImage: (name: string, platform: Platform) => Promise<BaseImage>;
  readonly warn: (diagnostic: Diagnostic) => void;
}

/**
 * Stages become a graph of steps. Only what the target needs is planned, and only its images are looked up.
 * @throws MbuildError UNKNOWN_STAGE, CIRCULAR_STAGES, DOCKERFILE_SEMANTIC, and what `findImage` throws, placed at their line.
 */
export async function planGraph(dockerfile: Dockerfile, options: PlanOptions): Promise<Graph> {
  return planTargets(dockerfile, options, [options]);
}

/** One of the things that a build makes. */
export type PlanTarget = Pick<PlanOptions, 'target' | 'platform'>;

/**
 * Plans several targets and platforms in one graph. Stages that are the same for several targets are in it once; those of
 * several platforms are planned for each, and their rows say which. @throws MbuildError as {@link planGraph}.
 */
export async function planTargets(
  dockerfile: Dockerfile,
  options: Omit<PlanOptions, keyof PlanTarget>,
  wanted: readonly PlanTarget[],
): Promise<Graph> {
  const planners = new Map<string, Planner>();
  const numbers: Numbers = { nextStage: 0, nextStep: 0 };
  const isForSeveral = new Set(wanted.map(({ platform }) => formatPlatform(platform))).size > 1;
  const knowsTarget = dockerfile.file.text.includes('TARGETSTAGE');
  const targets: StagePlan[] = [];
  for (const { target, platform } of wanted) {
    const key = `${formatPlatform(platform)} ${knowsTarget ? (target ?? '') : ''}`;
    const planner =
      planners.get(key) ??
      new Planner(
        dockerfile,
        { ...options, target, platform },
        numbers,
        isForSeveral ? `${formatPlatform(platform)} ` : '',
      );
    planners.set(key, planner);
    targets.push(await planner.plan(target));
  }
  const [first] = targets;
  if (first === undefined) throw new MbuildError('INTERNAL', 'a plan without a target');
  return {
    stages: [...planners.values()].flatMap((planner) => planner.stages),
    target: first,
    targets,
  };
}

/** Numbers that planners of one graph share. */
interface Numbers {
  nextStage: number;
  nextStep: number;
}

class Planner {
  readonly #images = new Map<string, Promise<BaseImage>>();
  readonly #planned = new Map<number, StagePlan>();
  readonly #platformArgs: ReadonlyMap<string, string>;
  readonly #globalArgs: ReadonlyMap<string, string | undefined>;
  /** Stages that are being planned, each for the one before. */
  readonly #underway = new Set<number>();
  /** The first of the numbers that this planner's stages have in the graph. */
  readonly #firstIndex: number;

  /** @param prefix of the names of rows. */
  constructor(
    private readonly dockerfile: Dockerfile,
    private readonly options: PlanOptions,
    private readonly numbers: Numbers,
    private readonly prefix: string,
  ) {
    this.#firstIndex = numbers.nextStage;
    numbers.nextStage += dockerfile.stages.length;
    const target = targetStage(dockerfile, options.target);
    this.#platformArgs = platformArgs(options, target.name ?? options.target ?? 'default');
    this.#globalArgs = globalArgs(
      dockerfile,
      new Map(Object.entries(options.buildArgs)),
      this.#platformArgs,
    );
  }

  /** Plans a target and what it needs. Its labels are not those of stages that stand on it. */
  async plan(name: string | undefined): Promise<StagePlan> {
    const target = targetStage(this.dockerfile, name);
    for (const stage of this.dockerfile.stages) this.#checkBase(stage);
    this.#fetchImagesAhead(target);
    const plan = await this.#stage(target);
    const { labels, platform, isPlatformGiven } = this.options;
    return {
      ...plan,
      config: withLabels(plan.config, labels),
      platform: isPlatformGiven === true ? platform : plan.platform,
    };
  }

  /** What was planned so far. */
  get stages(): readonly StagePlan[] {
    return [...this.#planned.values()];
  }

  /** What stands behind FROM must be a name, also in stages that are not needed. */
  #checkBase(stage: Stage): void {
    const { name } = this.#from(stage);
    const below = namedStage(this.dockerfile, name, stage.index);
    if (below?.name !== undefined && below.name !== name) {
      throw new MbuildError('REFERENCE_INVALID', `FROM knows the stage ${name} as ${below.name}`, {
        file: this.dockerfile.file,
        range: stage.from.range,
        hint: `names of stages are kept in lower case: write FROM ${below.name}`,
      });
    }
    if (
      below !== undefined ||
      this.#contextNamed(name) !== undefined ||
      parseReference(name) !== undefined
    )
      return;
    throw new MbuildError('REFERENCE_INVALID', `${name} is no name of an image`, {
      file: this.dockerfile.file,
      range: stage.from.range,
      hint: 'a name is [REGISTRY/]REPOSITORY[:TAG][@DIGEST], the repository in lower case',
    });
  }

  /** Starts looking up every image that a needed stage names; what fails is thrown where the stage is planned. */
  #fetchImagesAhead(target: Stage): void {
    for (const stage of reachableStages(this.dockerfile, target, (word) =>
      this.#expandGlobal(word),
    )) {
      const { name, platform } = this.#from(stage);
      if (this.#ownContext(stage) !== undefined || this.#contextNamed(name) !== undefined) continue;
      if (name !== 'scratch' && namedStage(this.dockerfile, name, stage.index) === undefined)
        this.#image(name, platform).catch(() => undefined);
    }
  }

  async #stage(stage: Stage): Promise<StagePlan> {
    const known = this.#planned.get(stage.index);
    if (known !== undefined) return known;
    if (this.#underway.has(stage.index)) {
      throw new MbuildError('CIRCULAR_STAGES', `stage ${title(stage)} stands on itself`, {
        file: this.dockerfile.file,
        range: stage.from.range,
        hint: 'a --build-context with target: leads back to it',
      });
    }
    this.#underway.add(stage.index);
    try {
      const plan = await this.#planStage(stage);
      this.#planned.set(stage.index, plan);
      return plan;
    } catch (error) {
      throw placed(error, this.dockerfile.file, stage.from.range);
    }
  }

  async #planStage(stage: Stage): Promise<StagePlan> {
    const { platform } = this.#from(stage);
    const { base, files, isReplaced } = await this.#base(stage);
    const isStage = base !== undefined && 'steps' in base;
    const { triggers, config } = inheritedConfig(
      base === undefined ? SCRATCH_CONFIG : isStage ? base.config : (base.config.config ?? {}),
    );
    const instructions = isReplaced
      ? []
      : [...triggers.map((trigger) => parseTriggerOf(trigger, stage)), ...stage.instructions];

    const names = new StepNames(
      this.dockerfile,
      this.prefix,
      stage,
      instructions,
      files !== undefined || (base !== undefined && !isStage),
    );
    const stageBase: StageBase =
      base === undefined
        ? { kind: 'scratch' }
        : isStage
          ? { kind: 'stage', stage: base }
          : {
              kind: 'image',
              image: base,
              stepName: names.next(`FROM ${base.name}`),
              range: stage.from.range,
            };
    const author = isStage ? base.author : base?.config.author;
    let state: StageState = {
      config,
      author,
      hasCmd: false,
      steps: [],
      history: [],
      env: isStage ? base.scope.env : new Map((config.Env ?? []).map(splitEnv)),
      args: isStage ? base.scope.args : [],
    };
    const scope = this.#scope(stage, platform, names);
    if (files !== undefined) state = withFiles(state, files, stage, scope);
    for (const instruction of instructions)
      state = await planInstruction(instruction, state, scope);
    return {
      index: this.#firstIndex + stage.index,
      name: stage.name ?? `stage-${stage.index}`,
      platform: isStage
        ? base.platform
        : base === undefined
          ? this.options.platform
          : platformOf(base.config),
      base: stageBase,
      steps: state.steps,
      history: state.history,
      config: writtenConfig(state.config),
      author: state.author,
      scope: { env: state.env, args: state.args },
    };
  }

  /** What a stage stands on: a named context before a stage or an image; `files` names one that is files. */
  async #base(stage: Stage): Promise<{
    readonly base: StagePlan | BaseImage | undefined;
    readonly files?: string | undefined;
    readonly isReplaced: boolean;
  }> {
    const { name, platform } = this.#from(stage);
    const own = this.#ownContext(stage);
    const below = own === undefined ? namedStage(this.dockerfile, name, stage.index) : undefined;
    if (below !== undefined) return { base: await this.#stage(below), isReplaced: false };
    const named = own ?? this.#contextNamed(name);
    if (named === undefined)
      return {
        base: name === 'scratch' ? undefined : await this.#image(name, platform),
        isReplaced: false,
      };
    const isReplaced = own !== undefined;
    const context = await this.#context(named, platform);
    switch (context.kind) {
      case 'files':
        return { base: undefined, files: named, isReplaced };
      case 'image':
        return { base: context.image, isReplaced };
      case 'stage':
        return { base: await this.#stage(targetStage(this.dockerfile, context.name)), isReplaced };
    }
  }

  /** The named context that replaces a stage. */
  #ownContext(stage: Stage): string | undefined {
    return this.options.contexts.find((context) => context.toLowerCase() === stage.name);
  }

  /** The named context that a name of FROM or `--from` means; images' names count in their short form. */
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
      stageName: stage.name ?? `stage-${stage.index}`,
      platform,
      network: this.options.network,
      allowInsecure: this.options.allowInsecure,
      run: this.options.run ?? {},
      buildArgs: new Map(Object.entries(this.options.buildArgs)),
      globalArgs: this.#globalArgs,
      platformArgs: this.#platformArgs,
      findTree: (name, range) => this.#tree(name, stage, range),
      makeStep: (operation, display, range): Step => ({
        id: this.numbers.nextStep++,
        name: names.next(display),
        stage: stage.name ?? `stage-${stage.index}`,
        file,
        range,
        operation,
      }),
      warn: this.options.warn,
    };
  }

  async #tree(name: string, stage: Stage, range: SourceRange): Promise<TreeSource> {
    const found =
      namedStage(this.dockerfile, name, this.dockerfile.stages.length) ?? this.#numberedStage(name);
    if (found === undefined) {
      const named = this.#contextNamed(name);
      if (named === undefined && name === 'scratch')
        return { kind: 'stage', stage: emptyStage(this.options.platform) };
      if (named !== undefined) return this.#contextTree(named, range);
      if (/^\d+$/.test(name)) {
        const count = this.dockerfile.stages.length;
        throw new MbuildError('UNKNOWN_STAGE', `there is no stage ${name}`, {
          file: this.dockerfile.file,
          range,
          hint:
            count === 1
              ? 'the only stage is 0'
              : `the stages are counted from 0 to ${count - 1}; names are safer: FROM … AS NAME`,
        });
      }
      const image = this.#image(name, this.options.platform, range).catch((error: unknown) =>
        Promise.reject(this.#perhapsStage(error, name) as Error),
      );
      return { kind: 'image', image: await image };
    }
    if (found.index === stage.index)
      throw new MbuildError('CIRCULAR_STAGES', `stage ${title(stage)} copies from itself`, {
        file: this.dockerfile.file,
        range,
      });
    if (found.index > stage.index) {
      throw new MbuildError(
        'CIRCULAR_STAGES',
        `stage ${title(stage)} copies from stage ${title(found)}, which comes later`,
        {
          file: this.dockerfile.file,
          range,
          hint: `move the stage ${title(found)} (line ${found.from.range.start.line}) above the stage ${title(stage)}`,
        },
      );
    }
    return { kind: 'stage', stage: await this.#stage(found) };
  }

  /** An image that cannot be had may have been meant as a stage. */
  #perhapsStage(error: unknown, name: string): unknown {
    const near = suggest(
      name.toLowerCase(),
      this.dockerfile.stages.flatMap((stage) => stage.name ?? []),
    );
    if (near === undefined || !isMbuildError(error)) return error;
    const { file, range } = error;
    return new MbuildError(
      'UNKNOWN_STAGE',
      `there is no stage ${name}, and it cannot be had as an image: ${error.message}`,
      { cause: error, file, range, hint: `did you mean the stage ${near}?` },
    );
  }

  async #contextTree(name: string, range: SourceRange): Promise<TreeSource> {
    const context = await this.#context(name, this.options.platform).catch((error: unknown) =>
      Promise.reject(placed(error, this.dockerfile.file, range) as Error),
    );
    switch (context.kind) {
      case 'files':
        return { kind: 'context', name };
      case 'image':
        return context;
      case 'stage':
        return {
          kind: 'stage',
          stage: await this.#stage(targetStage(this.dockerfile, context.name)),
        };
    }
  }

  #numberedStage(name: string): Stage | undefined {
    return /^\d+$/.test(name) ? this.dockerfile.stages[Number(name)] : undefined;
  }

  /** The base's name and the platform of a stage, expanded with global ARGs. */
  #from(stage: Stage): { readonly name: string; readonly platform: Platform } {
    const place = { file: this.dockerfile.file, range: stage.from.range };
    const name = this.#expandGlobal(stage.from.image);
    if (name === '') {
      throw new MbuildError(
        'DOCKERFILE_SEMANTIC',
        `the base name ${stage.from.image} is empty after expansion`,
        {
          ...place,
          hint: 'only ARGs before the first FROM can be used in FROM: give it a default or --build-arg',
        },
      );
    }
    const flag = stringFlag(stage.from.flags, 'platform');
    const text = flag === undefined ? '' : this.#expandGlobal(flag);
    if (flag !== undefined && text === '') {
      throw new MbuildError('DOCKERFILE_SEMANTIC', `--platform=${flag} is empty after expansion`, {
        ...place,
        hint: 'only ARGs before the first FROM can be used in FROM: give it a default or --build-arg',
      });
    }
    if (text === '') return { name: stageBaseName(name), platform: this.options.platform };
    const platform = parsePlatform(text);
    if (platform === undefined)
      throw new MbuildError('DOCKERFILE_SEMANTIC', `${text} is no platform`, {
        ...place,
        hint: 'write OS/ARCH[/VARIANT], for example linux/arm64',
      });
    return { name: stageBaseName(name), platform };
  }

  #expandGlobal(word: string): string {
    const lookup = (name: string): string | undefined =>
      this.#globalArgs.has(name) ? this.#globalArgs.get(name) : this.#platformArgs.get(name);
    return expandWord(word, lookup, this.dockerfile.directives.escape).value;
  }

  #image(name: string, platform: Platform, range?: SourceRange): Promise<BaseImage> {
    const key = `${formatPlatform(platform)} ${name}`;
    const image = this.#images.get(key) ?? this.options.findImage(name, platform);
    this.#images.set(key, image);
    return range === undefined
      ? image
      : image.catch((error: unknown) =>
          Promise.reject(placed(error, this.dockerfile.file, range) as Error),
        );
  }
}

/** Numbers the rows of a stage as BuildKit does: `[build 2/4] RUN make`; the name only where there are several stages. */
class StepNames {
  readonly #total: number;
  readonly #prefix: string;
  #index = 0;

  constructor(
    dockerfile: Dockerfile,
    prefix: string,
    stage: Stage,
    instructions: readonly Instruction[],
    hasImage: boolean,
  ) {
    const steps = instructions.filter(({ keyword }) =>
      ['RUN', 'COPY', 'ADD', 'WORKDIR'].includes(keyword),
    ).length;
    this.#total = steps + (hasImage ? 1 : 0);
    const name = stage.name ?? (dockerfile.stages.length > 1 ? `stage-${stage.index}` : '');
    this.#prefix = name === '' ? prefix : `${prefix}${name} `;
  }

  next(text: string): string {
    const digits = String(this.#total).length;
    return `[${this.#prefix}${String(++this.#index).padStart(digits)}/${this.#total}] ${stepDisplay(text)}`;
  }
}

/** The platform of an image is what its config says, whatever was asked for. */
function platformOf({
  os,
  architecture,
  variant,
  'os.version': osVersion,
  'os.features': osFeatures,
}: ImageConfig): Platform {
  return { os, architecture, variant, 'os.version': osVersion, 'os.features': osFeatures };
}

/** `scratch` as a tree that is copied from. */
function emptyStage(platform: Platform): StagePlan {
  return {
    index: -1,
    name: 'scratch',
    platform,
    base: { kind: 'scratch' },
    steps: [],
    history: [],
    config: SCRATCH_CONFIG,
    scope: { env: new Map(), args: [] },
  };
}

function targetStage(dockerfile: Dockerfile, target: string | undefined): Stage {
  const last = dockerfile.stages.at(-1);
  if (last === undefined)
    throw new MbuildError('DOCKERFILE_EMPTY', `${dockerfile.file.name} has no FROM`, {
      file: dockerfile.file,
    });
  if (target === undefined || target === '') return last;
  const found = namedStage(dockerfile, target, dockerfile.stages.length);
  if (found !== undefined) return found;
  const names = dockerfile.stages.flatMap((stage) => stage.name ?? []);
  const near = suggest(target.toLowerCase(), names);
  throw new MbuildError(
    'UNKNOWN_STAGE',
    `target stage ${target} is not in ${dockerfile.file.name}`,
    {
      hint:
        near !== undefined
          ? `did you mean ${near}?`
          : names.length > 0
            ? `its named stages are ${names.join(', ')}`
            : 'it has no named stages: name one with FROM … AS NAME',
    },
  );
}

/** A stage that begins with the files of a named context. */
function withFiles(
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

/** An image's name without what is understood; anything else as it is. */
function shortName(name: string): string {
  const reference = parseReference(name);
  return reference === undefined ? name : familiarName(reference).replace(/:latest$/, '');
}

function title(stage: Stage): string {
  return stage.name ?? `stage-${stage.index}`;
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

function withLabels(
  config: ContainerConfig,
  labels: Readonly<Record<string, string>>,
): ContainerConfig {
  return Object.keys(labels).length === 0
    ? config
    : { ...config, Labels: { ...config.Labels, ...labels } };
}

/** BuildKit's automatic platform ARGs. Dockerfile reference, "Automatic platform ARGs in the global scope". */
function platformArgs(options: PlanOptions, targetName: string): Map<string, string> {
  const of = (prefix: string, platform: Platform): [string, string][] => [
    [`${prefix}PLATFORM`, formatPlatform(platform)],
    [`${prefix}OS`, platform.os],
    [`${prefix}OSVERSION`, platform['os.version'] ?? ''],
    [`${prefix}ARCH`, platform.architecture],
    [`${prefix}VARIANT`, platform.variant ?? ''],
  ];
  const args = new Map([
    ...of('BUILD', options.buildPlatform),
    ...of('TARGET', options.platform),
    ['TARGETSTAGE', targetName],
  ]);
  for (const name of args.keys()) {
    const given = options.buildArgs[name];
    if (given !== undefined) args.set(name, given);
  }
  return args;
}

/** The ARGs before the first FROM, each seeing those above it. The default of one that is given is not expanded. */
function globalArgs(
  dockerfile: Dockerfile,
  buildArgs: ReadonlyMap<string, string>,
  platform: ReadonlyMap<string, string>,
): Map<string, string | undefined> {
  const values = new Map<string, string | undefined>();
  const lookup = (name: string): string | undefined =>
    values.has(name) ? values.get(name) : platform.get(name);
  for (const instruction of dockerfile.globalArgs) {
    for (const arg of instruction.args) {
      const fallback = (): string | undefined =>
        arg.value === undefined
          ? platform.get(arg.name)
          : expandAt(
              arg.value,
              lookup,
              dockerfile.directives.escape,
              dockerfile.file,
              instruction.range,
            );
      values.set(arg.name, buildArgs.get(arg.name) ?? fallback());
    }
  }
  return values;
}

function expandAt(
  word: string,
  lookup: (name: string) => string | undefined,
  escape: Escape,
  file: SourceFile,
  range: SourceRange,
): string {
  try {
    return expandWord(word, lookup, escape).value;
  } catch (error) {
    throw placed(error, file, range);
  }
}
