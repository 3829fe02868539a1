import {
  hashValue,
  sourceResult,
  type CacheKey,
  type KeyInput,
  type KeyValue,
  type ResultId,
} from '../cache/key';
import type { SelectionManifest } from '../cache/manifest';
import type { CacheStore } from '../cache/record';
import { parseIgnoreFile, type IgnoreRules } from '../context/ignore';
import type { RemoteSources } from '../context/remote';
import type { SourceTree } from '../context/source-tree';
import { MbuildError, isMbuildError } from '../diagnostics/error';
import type { Dockerfile } from '../dockerfile/instruction';
import { parseDockerfile } from '../dockerfile/parse';
import type { Engine } from '../engine';
import type { BaseImage, Graph, Operation, StagePlan } from '../graph/graph';
import { planGraph } from '../graph/plan';
import { instructionText } from '../history/instruction-text';
import { Lease } from '../images/store/lease';
import { toText } from '../linux/paths';
import { chainIds, digestOf } from '../oci/digest';
import { hostPlatform, type Platform } from '../oci/platform';
import { planStep } from '../solver/step';
import type { Tree } from '../solver/tree';
import type { GitCommit, GitEntry, GitObjects } from './git-objects';
import { GitTree } from './git-tree';
import type { StepServices } from '../solver/services';

/** A Dockerfile to be tried on a history. */
export interface Variant {
  /** For reports. */
  readonly name: string;
  /** Its path in the context of each commit; or its text, the same for all. */
  readonly source: { readonly path: string } | { readonly text: string };
}

/** How every commit is built. */
export interface ReplayBuild {
  /** The context's folder in the repository; empty for its root. */
  readonly folder: string;
  readonly target?: string | undefined;
  readonly platform?: Platform | undefined;
  /** `%H` in a value stands for the commit's id, `%ct` for its time. */
  readonly buildArgs: Readonly<Record<string, string>>;
}

/** What one commit's build would do, by the keys of its steps. */
export interface CommitKeys {
  readonly commit: GitCommit;
  readonly dockerfile?: Dockerfile | undefined;
  readonly steps: readonly KeyedStep[];
  /** Why the build would fail, or why it cannot be told: the steps before it are there. */
  readonly problem?: string | undefined;
}

/** A step with its key, as it is when every step leaves something new. */
export interface KeyedStep {
  readonly name: string;
  readonly stage: string;
  readonly index: number;
  readonly line: number;
  readonly kind: Operation['kind'];
  readonly text: string;
  readonly key: CacheKey;
  readonly input: KeyInput;
  /** Hash of what the step does itself: its inputs without the trees of other steps. */
  readonly own: string;
  /** Indexes of the steps whose trees it needs: the one before it, and those of stages it takes files from. */
  readonly needs: readonly number[];
  /** It takes files from a stage: what of it they hold is not known. */
  readonly fromStage: boolean;
  /** It is part of the image that comes out. */
  readonly inTarget: boolean;
  /** Of its files, where they come from the context. */
  readonly bytes?: number | undefined;
  readonly manifests: ReadonlyMap<string, () => Promise<SelectionManifest>>;
}

/** Computes keys from git's objects. What cannot be known from them is said in `notes`. */
export class KeyReader {
  readonly notes = new Set<string>();
  readonly #images = new Map<string, BaseImage>();
  readonly #rules = new Map<string, IgnoreRules>();

  constructor(
    private readonly git: GitObjects,
    private readonly build: ReplayBuild,
    private readonly engine: Engine,
    private readonly signal: AbortSignal,
  ) {}

  /** The steps of a commit's build. What keeps it from being built is its `problem`, not an error. */
  async read(commit: GitCommit, variant: Variant): Promise<CommitKeys> {
    let dockerfile: Dockerfile | undefined;
    const steps: KeyedStep[] = [];
    try {
      await this.git.load(commit.tree);
      const root = this.#folder(commit.tree);
      const found = await this.#dockerfile(root, variant);
      dockerfile = parseDockerfile(found);
      const context = new GitTree(
        this.git,
        root,
        await this.#ignoreRules(root, variant),
        (path) => {
          this.notes.add(
            `${toText(path.slice(1))} is a submodule: its files are in another repository, and it is taken as an empty folder`,
          );
        },
      );
      const graph = await this.#plan(dockerfile, commit);
      await this.#keys(graph, context, steps);
      return { commit, dockerfile, steps };
    } catch (error) {
      if (!isMbuildError(error) || error.code === 'CANCELED') throw error;
      return { commit, dockerfile, steps, problem: error.message };
    }
  }

  /** The tree object of the context. */
  #folder(tree: string): string {
    return this.build.folder
      .split('/')
      .filter((part) => part !== '')
      .reduce((at, name) => {
        const entry = this.git.entries(at).find((candidate) => candidate.name === name);
        if (entry?.kind !== 'directory')
          throw new MbuildError(
            'CONTEXT_NOT_FOUND',
            `there is no folder ${this.build.folder} in this commit`,
          );
        return entry.id;
      }, tree);
  }

  async #dockerfile(
    root: string,
    { name, source }: Variant,
  ): Promise<{ name: string; text: string }> {
    if ('text' in source) return { name, text: source.text };
    const text = await this.#file(root, source.path);
    if (text === undefined)
      throw new MbuildError('DOCKERFILE_NOT_FOUND', `there is no ${source.path} in this commit`);
    return { name: source.path, text };
  }

  async #ignoreRules(root: string, { source }: Variant): Promise<IgnoreRules | undefined> {
    const own =
      'path' in source ? await this.#file(root, `${source.path}.dockerignore`) : undefined;
    const text = own ?? (await this.#file(root, '.dockerignore'));
    if (text === undefined) return undefined;
    const rules = this.#rules.get(text) ?? parseIgnoreFile({ name: '.dockerignore', text });
    this.#rules.set(text, rules);
    return rules.isEmpty ? undefined : rules;
  }

  async #file(root: string, path: string): Promise<string | undefined> {
    const parts = path.split('/').filter((part) => part !== '' && part !== '.');
    const name = parts.pop();
    let at = root;
    for (const part of parts) {
      const entry: GitEntry | undefined = this.git
        .entries(at)
        .find((candidate) => candidate.name === part);
      if (entry?.kind !== 'directory') return undefined;
      at = entry.id;
    }
    const entry = this.git.entries(at).find((candidate) => candidate.name === name);
    return entry?.kind === 'file' || entry?.kind === 'executable'
      ? this.git.text(entry.id)
      : undefined;
  }

  #plan(dockerfile: Dockerfile, commit: GitCommit): Promise<Graph> {
    const platform = this.build.platform ?? hostPlatform();
    const buildArgs = Object.fromEntries(
      Object.entries(this.build.buildArgs).map(([name, value]) => [
        name,
        value.replace(/%H/g, commit.id).replace(/%ct/g, String(commit.time)),
      ]),
    );
    return planGraph(dockerfile, {
      target: this.build.target,
      platform,
      buildPlatform: hostPlatform(),
      buildArgs,
      labels: {},
      network: 'host',
      allowInsecure: true,
      contexts: [],
      findImage: (name, wanted) => Promise.resolve(this.#image(name, wanted)),
      warn: () => undefined,
    });
  }

  /** An image of the store; one that is not there is empty, and never moves. */
  #image(name: string, platform: Platform): BaseImage {
    const known = this.#images.get(name);
    if (known !== undefined) return known;
    const found = this.engine.images.find(name, platform) ?? this.engine.images.find(name);
    if (found === undefined)
      this.notes.add(
        `the image ${name} is not in the store: its variables and users are not known`,
      );
    this.notes.add(
      'base images are taken as they are now: whether they moved is not in the history',
    );
    const config = found?.config ?? {
      os: platform.os,
      architecture: platform.architecture,
      rootfs: { type: 'layers' as const, diff_ids: [] },
    };
    const image: BaseImage = {
      name,
      config,
      descriptor: found?.descriptor ?? { mediaType: '', digest: digestOf(name), size: 0 },
      stack: () => Promise.resolve(found?.stack ?? []),
    };
    this.#images.set(name, image);
    return image;
  }

  async #keys(graph: Graph, context: SourceTree, steps: KeyedStep[]): Promise<void> {
    const ends = new Map<number, { readonly tree: Tree; readonly last: number | undefined }>();
    const inTarget = new Set<number>();
    for (
      let at: StagePlan | undefined = graph.target;
      at !== undefined;
      at = at.base.kind === 'stage' ? at.base.stage : undefined
    )
      inTarget.add(at.index);
    const services = this.#services(context, (stage) => ends.get(stage.index)?.tree);
    for (const stage of graph.stages) {
      const below = stage.base.kind === 'stage' ? ends.get(stage.base.stage.index) : undefined;
      let tree = below?.tree ?? (await this.#baseTree(stage));
      let last = below?.last;
      for (const [index, step] of stage.steps.entries()) {
        const sources = stagesOf(step.operation);
        const operation = withoutStageMounts(
          step.operation,
          (other) => ends.get(other.index)?.tree.result ?? '',
        );
        const planned = await planStep({
          step: { ...step, operation },
          parent: tree,
          services,
          scope: { signal: this.signal, events: () => undefined },
          vertex: 0,
          mustRun: false,
        });
        const needs = [last, ...sources.map((source) => ends.get(source.index)?.last)].filter(
          (need): need is number => need !== undefined,
        );
        last = steps.length;
        steps.push({
          name: step.name,
          stage: stage.name,
          index,
          line: step.range.start.line,
          kind: step.operation.kind,
          text: instructionText(step),
          key: planned.key,
          input: planned.input,
          own: ownHash(planned.input.inputs, sources.length > 0),
          needs: [...new Set(needs)],
          fromStage: sources.length > 0,
          inTarget: inTarget.has(stage.index),
          bytes: await bytesOf(planned.manifests),
          manifests: planned.manifests,
        });
        tree = { ...tree, result: planned.key as string as ResultId };
      }
      ends.set(stage.index, { tree, last });
    }
  }

  async #baseTree({ base }: StagePlan): Promise<Tree> {
    if (base.kind !== 'image')
      return {
        result: sourceResult(undefined),
        stack: () => Promise.resolve([]),
        layers: Promise.resolve([]),
      };
    return imageTree(base.image);
  }

  /** What steps are planned with: nothing of it can run or store anything. */
  #services(context: SourceTree, stageTree: (stage: StagePlan) => Tree | undefined): StepServices {
    const { root, content, layers, aside, snapshots, sandbox, threads, xattrs } = this.engine;
    return {
      root,
      content,
      layers,
      aside,
      snapshots,
      sandbox,
      threads,
      xattrs,
      cache: new NoCache(),
      lease: new Lease(root),
      warn: () => undefined,
      tree: (source) => {
        const tree = source.kind === 'stage' ? stageTree(source.stage) : undefined;
        if (tree !== undefined) return Promise.resolve(tree);
        if (source.kind === 'image') return imageTree(source.image);
        throw new Error('a context or a later stage is no tree');
      },
      options: {
        noCache: false,
        noCacheStages: [],
        cacheMounts: this.engine.root,
        jobs: 1,
        proxies: {},
        extraHosts: [],
        resolver: {},
        ulimits: [],
        limits: {},
        secrets: new Map(),
        knownSecrets: () => [],
        ssh: new Map(),
        devices: { allowed: [], folders: [] },
        remote: this.#remote(),
        context: (name) => {
          if (name !== undefined)
            throw new MbuildError(
              'CONTEXT_NOT_FOUND',
              `the build context ${name} is not part of the history`,
            );
          return Promise.resolve(context);
        },
      },
    };
  }

  /** What is fetched from elsewhere is taken as never changing. */
  #remote(): RemoteSources {
    const refuse = (): never => {
      throw new Error('nothing is fetched');
    };
    const note = (url: string): void => {
      this.notes.add(`${url} is taken as never changing`);
    };
    return {
      file: (url, checksum) => {
        note(url);
        return Promise.resolve({ name: url, digest: digestOf(checksum ?? url), fetch: refuse });
      },
      repository: (url, { keepGitDir }) => {
        note(url);
        return Promise.resolve({
          commit: url,
          subdir: undefined,
          submodules: true,
          keepGitDir: keepGitDir === true,
          origin: [url, undefined],
          checkout: refuse,
        });
      },
    };
  }
}

/** Answers for the selections of stages and images, whose files are not known: by where they come from. */
class NoCache implements CacheStore {
  get(): undefined {
    return undefined;
  }

  recall(name: string): string {
    return `unknown ${name}`;
  }

  put(): void {}
  candidates(): [] {
    return [];
  }

  knowsCopyOnto(): false {
    return false;
  }

  list(): [] {
    return [];
  }

  delete(): void {}
  isForeign(): false {
    return false;
  }

  evictedAt(): undefined {
    return undefined;
  }

  remember(): void {}
  forget(): void {}
}

async function imageTree(image: BaseImage): Promise<Tree> {
  const chains = chainIds(image.config.rootfs.diff_ids);
  return {
    result: sourceResult(
      chains.at(-1) ?? (image.descriptor.mediaType === '' ? image.name : undefined),
    ),
    stack: image.stack,
    layers: Promise.resolve([]),
  };
}

function stagesOf(operation: Operation): StagePlan[] {
  const sources =
    operation.kind === 'copy'
      ? [operation.from]
      : operation.kind === 'run'
        ? operation.mounts.flatMap((mount) =>
            'from' in mount && mount.from !== undefined ? [mount.from] : [],
          )
        : [];
  return sources.flatMap((source) => (source.kind === 'stage' ? [source.stage] : []));
}

/** Mounts of stages and images become a word for them: there is no tree that could be looked into. */
function withoutStageMounts(
  operation: Operation,
  resultOf: (stage: StagePlan) => string,
): Operation {
  if (operation.kind !== 'run') return operation;
  return {
    ...operation,
    mounts: operation.mounts.map((mount) => {
      if (!('from' in mount) || mount.from === undefined || mount.from.kind === 'context')
        return mount;
      const content =
        mount.from.kind === 'stage' ? resultOf(mount.from.stage) : mount.from.image.name;
      return { kind: 'script', target: mount.target, content: `${content} ${mount.source}` };
    }),
  };
}

/** What a step does by itself. Files of stages change with the stage, which is a need. */
function ownHash(inputs: Readonly<Record<string, KeyValue>>, fromStage: boolean): string {
  if (!fromStage) return hashValue(inputs);
  const { sources: _sources, mounts: _mounts, ...rest } = inputs;
  return hashValue(rest);
}

async function bytesOf(manifests: KeyedStep['manifests']): Promise<number | undefined> {
  if (manifests.size === 0) return undefined;
  let bytes = 0;
  for (const describe of manifests.values()) bytes += (await describe()).entries.bytes;
  return bytes;
}
