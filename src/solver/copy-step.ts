import { hashValue } from '../cache/key';
import { describedSelection } from '../cache/manifest';
import { digestSelection } from '../context/digest';
import { selectSources, type Selection } from '../context/selection';
import { sourceTreeOf, type SourceTree } from '../context/source-tree';
import type { CopyOperation, CopySource } from '../graph/operation';
import { toRaw } from '../linux/paths';
import type { ActiveSnapshot } from '../snapshot/snapshotter';
import { resolveOwner } from '../snapshot/users';
import { checkLocalSource, planDownload, planRepository, type OpenedSource, type PlannedSource } from './add-remote';
import { parseChmod, type CopyInput } from './copy-op';
import type { CopyTarget } from './copy';
import type { PlannedOperation, StepContext } from './step';
import type { Tree } from './tree';

/** A copy: keyed by the content it selects, not by where it comes from or how that came about. */
export async function planCopyStep(operation: CopyOperation, context: StepContext): Promise<PlannedOperation> {
  const owner = await ownerOf(operation, context);
  const chmod = operation.chmod === undefined ? undefined : parseChmod(operation.chmod);
  const unpack = operation.unpack ?? operation.instruction === 'ADD';
  const sources: PlannedSource[] = [];
  const from = await sourceOf(operation, context);
  for (const source of operation.sources) sources.push(await planSource(source, operation, from, unpack, context));
  return {
    inputs: {
      dest: operation.dest, owner: owner === undefined ? undefined : [owner.uid, owner.gid], chmod: operation.chmod, link: operation.link, unpack,
      sources: sources.map((source) => source.content),
    },
    manifests: sources.flatMap((source) => (source.manifest === undefined ? [] : [source.manifest])),
    digests: new Map(sources.flatMap((source) => (source.remembered === undefined ? [] : [source.remembered]))),
    execute: async (active) => {
      const { runCopy } = await import('./copy');
      const opened: OpenedSource[] = [];
      try {
        for (const source of sources) opened.push(await openedSource(source));
        await runCopy({ inputs: opened.map(({ input }) => input), dest: operation.dest, owner, chmod }, await targetOf(active, context), {
          now: context.services.options.sourceDateEpoch, threads: context.services.threads, signal: context.scope.signal,
        });
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

/** `--link` leaves what a plain copy leaves: directories that are there keep their attributes, links on the way are followed. */
async function targetOf(active: ActiveSnapshot, { services, parent }: StepContext): Promise<CopyTarget> {
  return { parent: services.snapshots.view(await parent.stack()), dir: toRaw(active.dir), xattrs: services.xattrs };
}

async function ownerOf(operation: CopyOperation, context: StepContext): Promise<{ readonly uid: number; readonly gid: number } | undefined> {
  if (operation.chown === undefined) return undefined;
  const { services, parent, step } = context;
  const owner = resolveOwner(services.snapshots.view(await parent.stack()), operation.chown);
  for (const name of owner.unknown) {
    services.warn({
      severity: 'warning', code: 'UnknownOwner', message: `--chown=${operation.chown}: the image has no user or group ${name}, so 0 is taken`,
      file: step.file, range: step.range, hint: 'create it in an earlier RUN, or give its number',
    });
  }
  return owner;
}

/** The tree of the sources; `result` where it is a tree of the store, whose selections can be remembered. */
async function sourceOf(operation: CopyOperation, { services }: StepContext): Promise<{ readonly tree: () => Promise<SourceTree>; readonly result?: Tree['result'] | undefined }> {
  const { from } = operation;
  if (from.kind === 'context') return { tree: () => services.options.context(from.name) };
  const { stack, result } = await services.tree(from);
  return { tree: async () => sourceTreeOf(services.snapshots.view(await stack()), from.kind === 'stage' ? `stage ${from.stage.name}` : `image ${from.image.name}`), result };
}

async function planSource(source: CopySource, operation: CopyOperation, from: Awaited<ReturnType<typeof sourceOf>>, unpack: boolean, context: StepContext): Promise<PlannedSource> {
  if (operation.sources.length > 1 || source.kind === 'inline' || source.kind === 'path') checkLocalSource(operation);
  switch (source.kind) {
    case 'inline': {
      const content = Buffer.from(source.content, 'utf8');
      return { content: ['inline', source.name, source.content], open: () => ({ kind: 'inline', name: source.name, content }) };
    }
    case 'path':
      return planPath(source.path, operation, from, unpack, context);
    case 'http':
      return planDownload(source.url, operation, context);
    case 'git':
      return planRepository(source.url, operation, context);
  }
}

async function planPath(path: string, operation: CopyOperation, from: Awaited<ReturnType<typeof sourceOf>>, unpack: boolean, context: StepContext): Promise<PlannedSource> {
  const { cache, remote, threads } = context.services;
  const select = (tree: SourceTree): Selection => selectSources(tree, [path], { parents: operation.parents, exclude: operation.exclude });
  const input = (selection: Selection, { ownership }: SourceTree): CopyInput => ({ kind: 'selection', selection, ownership, unpack });
  const memo = from.result === undefined ? undefined : hashValue(['selection', from.result, path, operation.parents, operation.exclude]);
  const known = memo === undefined ? undefined : cache.recall(memo);
  if (memo !== undefined && known !== undefined) return { content: known, remembered: [memo, known], open: () => from.tree().then((tree) => input(select(tree), tree)) };
  const told = memo === undefined ? undefined : remote?.recall(memo);
  if (memo !== undefined && told !== undefined && remote !== undefined) {
    return { content: told, remembered: [memo, told], open: async () => {
      // Said elsewhere: where it matters what the files are, they are looked at.
      const tree = await from.tree();
      const selection = select(tree);
      if ((await digestSelection(selection, tree, threads)).digest !== told) throw remote.refuseDigest(memo);
      return input(selection, tree);
    } };
  }
  const tree = await from.tree();
  const selection = select(tree);
  const digested = await digestSelection(selection, tree, threads);
  const { digest } = digested;
  if (memo !== undefined) cache.remember(memo, digest);
  return {
    content: digest, open: () => input(selection, tree), manifest: describedSelection(digested, selection, tree, path),
    ...(memo === undefined ? {} : { remembered: [memo, digest] }),
  };
}
