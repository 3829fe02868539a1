import { existsSync } from 'node:fs';
import { sourceResult } from '../cache/key';
import { MbuildError } from '../diagnostics/error';
import type { Engine } from '../engine';
import type { RunMount, RunOperation, Step, TreeSource } from '../graph/graph';
import { Lease } from '../images/store/lease';
import type { BuildScope } from '../progress/events';
import { CDI_FOLDERS } from '../sandbox/devices/cdi';
import type { ProcessSpec } from '../sandbox/sandbox';
import type { ActiveSnapshot, Stack } from '../snapshot/snapshotter';
import type { ResolvedUser } from '../snapshot/users';
import type { MergedView } from '../snapshot/view';
import type { SolveOptions } from '../solver/options';
import type { StepContext } from '../solver/planned';
import { prepareRun } from '../solver/run';
import { planMounts, type PreparedMounts } from '../solver/run-mounts';
import type { Tree } from '../solver/tree';
import type { KeptMount, KeptRun, KeptTree } from './kept-step';

/** A step to stand in: the tree that it is on, and what it is run with. */
export interface StepPlace {
  readonly stack: Stack;
  readonly run: KeptRun;
}

/** What a store does not have of a step, and is given anew. */
export interface Given {
  readonly secrets: ReadonlyMap<string, () => Buffer>;
  /** Sockets of SSH agents, by id. */
  readonly ssh: ReadonlyMap<string, string>;
  readonly proxies: Readonly<Record<string, string>>;
}

/** A step whose tree and mounts are there. What is written to the tree goes when it is closed. */
export interface OpenStep {
  readonly spec: ProcessSpec;
  readonly view: MergedView;
  readonly user: ResolvedUser;
  readonly active: ActiveSnapshot;
  /** Secrets and agents that were not given. */
  readonly missing: readonly string[];
  readonly close: () => Promise<void>;
}

/** What a step is opened with. */
export interface Opening {
  readonly engine: Engine;
  readonly given: Given;
  readonly scope: BuildScope;
}

/**
 * Opens a step of an earlier build on a fresh layer over its tree, with its mounts.
 * @throws MbuildError BUILD_NOT_FOUND when layers are gone, and as a RUN does.
 */
export async function openStep(
  { stack, run }: StepPlace,
  { engine, given, scope }: Opening,
): Promise<OpenStep> {
  const lease = new Lease(engine.root);
  const prepared: PreparedMounts[] = [];
  let active: ActiveSnapshot | undefined;
  const close = async (): Promise<void> => {
    for (const mount of prepared) await mount.release();
    if (active !== undefined) engine.snapshots.discard(active);
    lease.release();
  };
  try {
    holdAll([...stack, ...run.mounts.flatMap(treeOf)], engine, lease);
    const operation = operationOf(run);
    const context = contextOf(stack, run, { engine, given, scope }, lease);
    active = engine.snapshots.prepare(stack);
    for (const mount of await planMounts(operation.mounts, context))
      prepared.push(await mount.prepare());
    const opened = await prepareRun(operation, active, prepared, context);
    return { ...opened, missing: missingOf(run, given), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** @throws MbuildError BUILD_NOT_FOUND. */
function holdAll(layers: Stack, { snapshots }: Engine, lease: Lease): void {
  lease.hold({ layers });
  const gone = layers.find((id) => !existsSync(snapshots.layerDir(id)));
  if (gone === undefined) return;
  throw new MbuildError('BUILD_NOT_FOUND', `the tree of this step is gone: layer ${gone}`, {
    hint: 'a prune took it; build again, and what is missing is made anew',
  });
}

function treeOf(mount: KeptMount): KeptTree {
  return 'tree' in mount ? (mount.tree ?? []) : [];
}

function missingOf({ mounts }: KeptRun, { secrets, ssh }: Given): string[] {
  return mounts.flatMap((mount) => {
    if (mount.kind === 'secret' && !secrets.has(mount.id)) return [`the secret ${mount.id}`];
    if (mount.kind === 'ssh' && !ssh.has(mount.id)) return [`the SSH agent ${mount.id}`];
    return [];
  });
}

function operationOf({ settings: _settings, ...run }: KeptRun): RunOperation {
  return { ...run, kind: 'run', mounts: run.mounts.map(mountOf) };
}

/** What is not given is gone without; whoever stands in the step is told of it. */
function mountOf(mount: KeptMount): RunMount {
  switch (mount.kind) {
    case 'secret':
    case 'ssh':
      return { ...mount, required: false };
    case 'bind': {
      const { tree, ...rest } = mount;
      return { ...rest, from: layersSource(tree) };
    }
    case 'cache': {
      const { tree, ...rest } = mount;
      return tree === undefined ? rest : { ...rest, from: layersSource(tree) };
    }
    default:
      return mount;
  }
}

/** Layers that are known by their directories, as an image to take files from. */
function layersSource(stack: Stack): TreeSource {
  return {
    kind: 'image',
    image: {
      name: 'the kept tree of a mount',
      config: { os: 'linux', architecture: '', rootfs: { type: 'layers', diff_ids: [] } },
      descriptor: { mediaType: '', digest: 'sha256:' as never, size: 0 },
      stack: () => Promise.resolve(stack),
    },
  };
}

function contextOf(
  stack: Stack,
  run: KeptRun,
  { engine, given, scope }: Opening,
  lease: Lease,
): StepContext {
  const operation = operationOf(run);
  return {
    step: stepOf(operation),
    parent: treeOn(stack),
    scope,
    vertex: 0,
    mustRun: true,
    services: {
      ...engine,
      lease,
      remote: undefined,
      options: optionsOf(run, engine, given),
      tree: async (source) => treeOn(source.kind === 'image' ? await source.image.stack() : []),
      warn: (diagnostic) => scope.events({ kind: 'warning', diagnostic }),
    },
  };
}

function treeOn(stack: Stack): Tree {
  return {
    result: sourceResult(undefined),
    stack: () => Promise.resolve(stack),
    layers: Promise.resolve([]),
  };
}

function stepOf(operation: RunOperation): Step {
  const start = { line: 1, column: 1 };
  const file = { name: '', text: '' };
  return { id: 0, name: '', stage: '', file, range: { start, end: start }, operation };
}

function optionsOf({ settings }: KeptRun, { root }: Engine, given: Given): SolveOptions {
  const nothing = (): never => {
    throw new Error('a step of an earlier build has neither context nor sources');
  };
  return {
    ...settings,
    noCache: false,
    noCacheStages: [],
    cacheMounts: root,
    jobs: 1,
    proxies: given.proxies,
    secrets: given.secrets,
    knownSecrets: () => [],
    ssh: given.ssh,
    devices: { allowed: ['*'], folders: CDI_FOLDERS },
    context: nothing,
    remote: { file: nothing, repository: nothing },
  };
}
