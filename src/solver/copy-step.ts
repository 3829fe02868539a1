import { hashValue } from '../cache/key';
import { describedSelection } from '../cache/manifest';
import { digestSelection, readFiles, type ReadFiles } from '../context/digest';
import { selectSources } from '../context/selection';
import type { SelectedEntry, Selection } from '../context/selected';
import { sourceTreeOf, type SourceTree } from '../context/source-tree';
import type { CopyOperation, CopySource } from '../graph/graph';
import {
  checkLocalSource,
  planDownload,
  planRepository,
  type OpenedSource,
  type PlannedSource,
} from './add-remote';
import { parseChmod, type CopyInput, type CopyOp } from './copy-op';
import { copyAhead, copyInto, type CopiedAhead } from './copy-into';
import { copyInputs, unpacks } from './key-inputs';
import { planOwner, type PlannedOwner } from './owner';
import type { Tree } from './tree';
import type { PlannedOperation, StepContext } from './planned';

/** A copy, as far as it is known before its sources are looked at. */
interface CopyPlan {
  readonly operation: CopyOperation;
  readonly op: Omit<CopyOp, 'inputs'>;
  readonly from: Awaited<ReturnType<typeof sourceOf>>;
  readonly unpack: boolean;
  readonly context: StepContext;
}

/** A copy: keyed by the content it selects, not by where it comes from or how that came about. */
export async function planCopyStep(
  operation: CopyOperation,
  context: StepContext,
): Promise<PlannedOperation> {
  const planned = await ownerOf(operation, context);
  const owner = planned?.owner;
  const chmod = operation.chmod === undefined ? undefined : parseChmod(operation.chmod);
  const unpack = unpacks(operation);
  const sources: PlannedSource[] = [];
  const op = { dest: operation.dest, owner, chmod };
  const plan: CopyPlan = {
    operation,
    op,
    from: await sourceOf(operation, context),
    unpack,
    context,
  };
  for (const source of operation.sources) sources.push(await planSource(source, plan));
  return {
    inputs: copyInputs(
      operation,
      owner === undefined ? undefined : [owner.uid, owner.gid],
      sources.map((source) => source.content),
    ),
    manifests: sources.flatMap((source) =>
      source.manifest === undefined ? [] : [source.manifest],
    ),
    digests: new Map(
      [planned, ...sources].flatMap((found) =>
        found?.remembered === undefined ? [] : [found.remembered],
      ),
    ),
    done: sources[0]?.copied,
    execute: async (active, { earlier }) => {
      const opened: OpenedSource[] = [];
      await planned?.check();
      try {
        for (const source of sources) opened.push(await openedSource(source));
        await copyInto(active, { ...op, inputs: opened.map(({ input }) => input) }, context, {
          earlier,
        });
        return undefined;
      } finally {
        for (const { close } of opened) close();
      }
    },
  };
}

async function openedSource(source: PlannedSource): Promise<OpenedSource> {
  const opened = await source.open();
  return 'input' in opened ? opened : { input: opened, close: () => undefined };
}

async function ownerOf(
  operation: CopyOperation,
  context: StepContext,
): Promise<PlannedOwner | undefined> {
  if (operation.chown === undefined) return undefined;
  const { services, step } = context;
  const planned = await planOwner(operation.chown, context);
  for (const name of planned.owner.unknown) {
    services.warn({
      severity: 'warning',
      code: 'UnknownOwner',
      message: `--chown=${operation.chown}: the image has no user or group ${name}, so 0 is used`,
      file: step.file,
      range: step.range,
      hint: 'create it in an earlier RUN, or write its number',
    });
  }
  return planned;
}

/** True for a copy that will be made in any case, and is made as a whole by reading one source. */
function mayCopyAhead({ operation, unpack, context }: CopyPlan): boolean {
  return context.mustRun && operation.sources.length === 1 && !unpack;
}

function isMostOf(files: readonly SelectedEntry[], { sources }: Selection): boolean {
  return 2 * files.length > sources.reduce((sum, { entries }) => sum + entries.length, 0);
}

/**
 * The tree of the sources; `result` where it is a tree of the store, whose selections can be
 * remembered.
 */
async function sourceOf(
  operation: CopyOperation,
  { services }: StepContext,
): Promise<{
  readonly tree: () => Promise<SourceTree>;
  readonly result?: Tree['result'] | undefined;
}> {
  const { from } = operation;
  if (from.kind === 'context') return { tree: () => services.options.context(from.name) };
  const { stack, result } = await services.tree(from);
  return {
    tree: async () =>
      sourceTreeOf(
        services.snapshots.view(await stack()),
        from.kind === 'stage' ? `stage ${from.stage.name}` : `image ${from.image.name}`,
      ),
    result,
  };
}

async function planSource(source: CopySource, plan: CopyPlan): Promise<PlannedSource> {
  const { operation, context } = plan;
  if (operation.sources.length > 1 || source.kind === 'inline' || source.kind === 'path')
    checkLocalSource(operation);
  switch (source.kind) {
    case 'inline': {
      const content = Buffer.from(source.content, 'utf8');
      return {
        content: ['inline', source.name, source.content],
        open: () => ({ kind: 'inline', name: source.name, content }),
      };
    }
    case 'path':
      return planPath(source.path, plan);
    case 'http':
      return planDownload(source.url, operation, context);
    case 'git':
      return planRepository(source.url, operation, context);
  }
}

/**
 * What selects the files of one source, and the name under which the digest of the selection is
 * remembered.
 */
interface PathPlan extends CopyPlan {
  readonly path: string;
  /** Absent where the tree is no tree of the store. */
  readonly memo: string | undefined;
}

async function planPath(path: string, plan: CopyPlan): Promise<PlannedSource> {
  const { operation, from, context } = plan;
  const { cache, remote } = context.services;
  if (from.result === undefined) return planSelection({ ...plan, path, memo: undefined });
  const { parents, exclude } = operation;
  const memo = hashValue(['selection', from.result, path, parents, exclude]);
  const pathPlan: PathPlan = { ...plan, path, memo };
  const known = cache.recall(memo);
  if (known !== undefined)
    return {
      content: known,
      remembered: [memo, known],
      open: async () => {
        const tree = await from.tree();
        return inputOf(select(tree, pathPlan), tree, plan);
      },
    };
  const told = remote?.recall(memo);
  return told === undefined ? planSelection(pathPlan) : planTold(told, memo, pathPlan);
}

/**
 * A selection whose digest a cache elsewhere tells. Where it matters what the files are, they are
 * looked at.
 */
function planTold(told: string, memo: string, plan: PathPlan): PlannedSource {
  const { remote, threads } = plan.context.services;
  const { signal } = plan.context.scope;
  return {
    content: told,
    remembered: [memo, told],
    open: async () => {
      const tree = await plan.from.tree();
      const selection = select(tree, plan);
      const { digest } = await digestSelection(selection, tree, threads, (files) =>
        readFiles(files, threads, signal),
      );
      if (digest === told) return inputOf(selection, tree, plan);
      throw remote?.refuseDigest(memo) ?? new Error('told by nobody');
    },
  };
}

/** A selection whose files are read, and copied on the way where they must be. */
async function planSelection(plan: PathPlan): Promise<PlannedSource> {
  const { op, from, context, path, memo } = plan;
  const { cache, threads, snapshots } = context.services;
  const tree = await from.tree();
  const selection = select(tree, plan);
  const input = inputOf(selection, tree, plan);
  let copied: CopiedAhead | undefined;
  const read: ReadFiles = async (files) => {
    if (!mayCopyAhead(plan) || !isMostOf(files, selection))
      return readFiles(files, threads, context.scope.signal);
    copied = await copyAhead({ ...op, inputs: [input] }, files, context);
    return copied.read(files);
  };
  const digested = await digestSelection(selection, tree, threads, read).catch((error: unknown) => {
    if (copied !== undefined) snapshots.discard(copied.active);
    throw error;
  });
  const { digest } = digested;
  if (memo !== undefined) cache.remember(memo, digest);
  return {
    content: digest,
    copied,
    open: () => input,
    manifest: describedSelection(digested, selection, tree, path),
    ...(memo === undefined ? {} : { remembered: [memo, digest] }),
  };
}

function select(tree: SourceTree, { operation, path }: PathPlan): Selection {
  const { parents, exclude } = operation;
  return selectSources(tree, [path], { parents, exclude });
}

function inputOf(selection: Selection, { ownership }: SourceTree, { unpack }: CopyPlan): CopyInput {
  return { kind: 'selection', selection, ownership, unpack };
}
