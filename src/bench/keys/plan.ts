import { hashValue, sourceResult, type KeyValue, type ResultId } from '../../cache/key';
import type { Dockerfile } from '../../dockerfile/instruction';
import { parseDockerfile } from '../../dockerfile/parse';
import type { SourceFile } from '../../diagnostics/range';
import type { StagePlan, Step } from '../../graph/graph';
import type { Operation, TreeSource } from '../../graph/graph';
import { planGraph } from '../../graph/plan';
import { instructionText } from '../../history/instruction-text';
import { hostPlatform, type Platform } from '../../oci/platform';
import { namesOwner } from '../../snapshot/users';
import type { FileQuery } from '../context/select';
import type { Bases, ReplayBase } from './bases';
import { operationForm, type InputForm } from './inputs';
import { ownerSymbol, writesUsers, type TreeBelow } from './owner';

/** How every commit is built. */
export interface BuildSettings {
  readonly target?: string | undefined;
  readonly platform?: Platform | undefined;
  /** `%H` in a value stands for the commit's id, `%ct` for its time. */
  readonly buildArgs: Readonly<Record<string, string>>;
}

/** A Dockerfile, planned: everything of its keys that no commit's files change. */
export interface BuildPlan {
  readonly dockerfile: Dockerfile;
  readonly steps: readonly PlannedRow[];
  /** What is asked of each commit's context. */
  readonly queries: readonly FileQuery[];
}

/** A step of a plan. */
export interface PlannedRow {
  /** As progress shows it. */
  readonly name: string;
  readonly stage: string;
  /** Place among the steps of its stage, from 0. */
  readonly index: number;
  readonly line: number;
  readonly kind: Operation['kind'];
  /** The instruction as written, in one line. */
  readonly text: string;
  /** `COPY --link`. */
  readonly link: boolean;
  /** Index of the step below it; where there is none, `base` is what it starts on. */
  readonly below: number | undefined;
  readonly base: ResultId;
  /** Indexes of the last steps of stages that it takes files from. */
  readonly from: readonly number[];
  /** It takes files from a stage or an image: which ones is not known. */
  readonly takesFiles: boolean;
  /** It is part of the image that comes out. */
  readonly inTarget: boolean;
  /** Its inputs, with holes for what commits bring. */
  readonly form: InputForm;
  /** Hash of the inputs without what fills the holes. */
  readonly fixed: string;
  /** Instructions since the step before it that change the config alone, as history has them. */
  readonly settings: readonly string[];
  /** What its key stands on that is not known, in words. */
  readonly unknown: readonly string[];
}

/** Where a stage ends. */
interface StageEnd extends TreeBelow {
  readonly last: number | undefined;
  readonly result: ResultId;
}

/** A step that is added to a plan. */
interface NextStep {
  readonly stage: StagePlan;
  readonly step: Step;
  readonly index: number;
  readonly settings: readonly string[];
}

/** Plans Dockerfiles; one that was planned is not planned again. */
export class Planner {
  readonly #plans = new Map<string, Promise<BuildPlan>>();

  constructor(
    private readonly bases: Bases,
    private readonly settings: BuildSettings,
  ) {}

  /** @throws MbuildError for what a build of the file would refuse. */
  plan(file: SourceFile, buildArgs: Readonly<Record<string, string>>): Promise<BuildPlan> {
    const name = JSON.stringify([file.name, file.text, buildArgs]);
    const known = this.#plans.get(name);
    if (known !== undefined) return known;
    if (this.#plans.size >= MOST_PLANS) this.#plans.clear();
    const plan = this.#plan(file, buildArgs);
    plan.catch(() => undefined); // thrown to everybody who asks
    this.#plans.set(name, plan);
    return plan;
  }

  async #plan(file: SourceFile, buildArgs: Readonly<Record<string, string>>): Promise<BuildPlan> {
    const dockerfile = parseDockerfile(file);
    const bases = new Map<string, ReplayBase>();
    const graph = await planGraph(dockerfile, {
      target: this.settings.target,
      platform: this.settings.platform ?? hostPlatform(),
      buildPlatform: hostPlatform(),
      buildArgs,
      labels: {},
      network: 'host',
      allowInsecure: true,
      contexts: [],
      findImage: async (name, platform) => {
        const base = await this.bases.find(name, platform, file.text);
        bases.set(name, base);
        return base.image;
      },
      warn: () => undefined,
    });
    const inTarget = new Set<number>();
    for (let at: StagePlan | undefined = graph.target; at !== undefined; at = stageBelow(at))
      inTarget.add(at.index);
    const writer = new PlanWriter(this.bases, bases, inTarget, graph.stages.some(looksUpUsers));
    for (const stage of graph.stages) await writer.stage(stage);
    return { dockerfile, steps: writer.steps, queries: writer.queries };
  }
}

/** Where every commit has arguments of its own, plans are used once. */
const MOST_PLANS = 64;

function stageBelow({ base }: StagePlan): StagePlan | undefined {
  return base.kind === 'stage' ? base.stage : undefined;
}

class PlanWriter {
  readonly steps: PlannedRow[] = [];
  readonly queries: FileQuery[] = [];
  readonly #ends = new Map<number, StageEnd>();

  constructor(
    private readonly finder: Bases,
    private readonly bases: ReadonlyMap<string, ReplayBase>,
    private readonly inTarget: ReadonlySet<number>,
    /** Some owner is given by name. */
    private readonly looksUp: boolean,
  ) {}

  async stage(stage: StagePlan): Promise<void> {
    let end = await this.#start(stage);
    let settings: string[] = [];
    let index = 0;
    for (const { step, createdBy } of stage.history) {
      if (step === undefined) {
        settings.push(createdBy);
        continue;
      }
      end = this.#add({ stage, step, index: index++, settings }, end);
      settings = [];
    }
    this.#ends.set(stage.index, end);
  }

  async #start({ base }: StagePlan): Promise<StageEnd> {
    const nothing = { last: undefined, isEmpty: false, mayHaveUsers: false, view: undefined };
    if (base.kind === 'scratch')
      return { ...nothing, result: sourceResult(undefined), isEmpty: true };
    if (base.kind === 'stage')
      return this.#ends.get(base.stage.index) ?? { ...nothing, result: sourceResult(undefined) };
    const found = this.bases.get(base.image.name);
    if (found === undefined) throw new Error('a base that was not looked for');
    const view = this.looksUp ? await this.finder.view(found) : undefined;
    return { ...nothing, result: found.result, view };
  }

  #add({ stage, step, index, settings }: NextStep, below: StageEnd): StageEnd {
    const { operation } = step;
    const owner = ownerSymbol(operation, below, step);
    const sources = treesOf(operation);
    const form = operationForm(operation, owner.value, {
      query: (query) => this.queries.push(query) - 1,
      tree: (source) => this.#treeOf(source),
    });
    this.steps.push({
      name: step.name,
      stage: stage.name,
      index,
      line: step.range.start.line,
      kind: operation.kind,
      text: instructionText(step),
      link: operation.kind === 'copy' && operation.link,
      below: below.last,
      base: below.result,
      from: [...new Set(sources.flatMap((source) => this.#lastOf(source) ?? []))],
      takesFiles: sources.length > 0,
      inTarget: this.inTarget.has(stage.index),
      form,
      fixed: hashValue([operation.kind, form.shape]),
      settings,
      unknown: owner.unknown === undefined ? [] : [owner.unknown],
    });
    return {
      ...below,
      last: this.steps.length - 1,
      isEmpty: false,
      mayHaveUsers: below.mayHaveUsers || writesUsers(operation),
    };
  }

  #lastOf(source: TreeSource): number | undefined {
    return source.kind === 'stage' ? this.#ends.get(source.stage.index)?.last : undefined;
  }

  /** What a tree holds where no step made it. */
  #treeOf(source: TreeSource): { readonly step: number | undefined; readonly result: KeyValue } {
    if (source.kind === 'image')
      return { step: undefined, result: this.bases.get(source.image.name)?.result };
    if (source.kind === 'context') return { step: undefined, result: undefined };
    const end = this.#ends.get(source.stage.index);
    return { step: end?.last, result: end?.result ?? sourceResult(undefined) };
  }
}

/** The stages and images that a step takes files from. */
function treesOf(operation: Operation): TreeSource[] {
  const sources = operation.kind === 'copy' ? [operation.from] : mountedTrees(operation);
  return sources.filter((source) => source.kind !== 'context');
}

function mountedTrees(operation: Operation): TreeSource[] {
  return operation.kind === 'run'
    ? operation.mounts.flatMap((mount) =>
        'from' in mount && mount.from !== undefined ? [mount.from] : [],
      )
    : [];
}

function looksUpUsers({ steps }: StagePlan): boolean {
  return steps.some(
    ({ operation }) =>
      operation.kind === 'copy' && operation.chown !== undefined && namesOwner(operation.chown),
  );
}
