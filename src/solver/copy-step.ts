import { hashValue } from '../cache/key';
import { manifestOf } from '../cache/manifest';
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
  const owner = ownerOf(operation, context);
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
    execute: async (active) => {
      const { runCopy } = await import('./copy');
      const opened: OpenedSource[] = [];
      try {
        for (const source of sources) opened.push(await openedSource(source));
        await runCopy({ inputs: opened.map(({ input }) => input), dest: operation.dest, owner, chmod }, targetOf(active, context), {
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
function targetOf(active: ActiveSnapshot, { services, parent }: StepContext): CopyTarget {
  return { parent: services.snapshots.view(parent.stack), dir: toRaw(active.dir), xattrs: services.xattrs };
}

function ownerOf(operation: CopyOperation, context: StepContext): { readonly uid: number; readonly gid: number } | undefined {
  if (operation.chown === undefined) return undefined;
  const { services, parent, step } = context;
  const owner = resolveOwner(services.snapshots.view(parent.stack), operation.chown);
  for (const name of owner.unknown) {
    services.warn({
      severity: 'warning', code: 'UnknownOwner', message: `--chown=${operation.chown}: the image has no user or group ${name}, so 0 is taken`,
      file: step.file, range: step.range, hint: 'create it in an earlier RUN, or give its number',
    });
  }
  return owner;
}

/** The tree of the sources; `result` where it is a tree of the store, whose selections can be remembered. */
async function sourceOf(operation: CopyOperation, { services }: StepContext): Promise<{ readonly tree: SourceTree; readonly result?: Tree['result'] | undefined }> {
  const { from } = operation;
  if (from.kind === 'context') return { tree: await services.options.context(from.name) };
  const { stack, result } = await services.tree(from);
  return { tree: sourceTreeOf(services.snapshots.view(stack), from.kind === 'stage' ? `stage ${from.stage.name}` : `image ${from.image.name}`), result };
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
  const { cache, threads } = context.services;
  const select = (): Selection => selectSources(from.tree, [path], { parents: operation.parents, exclude: operation.exclude });
  const input = (selection: Selection): CopyInput => ({ kind: 'selection', selection, ownership: from.tree.ownership, unpack });
  const memo = from.result === undefined ? undefined : hashValue(['selection', from.result, path, operation.parents, operation.exclude]);
  const known = memo === undefined ? undefined : cache.recall(memo);
  if (known !== undefined) return { content: known, open: () => input(select()) };
  const selection = select();
  const { digest, entries } = await digestSelection(selection, from.tree, threads);
  if (memo !== undefined) cache.remember(memo, digest);
  return { content: digest, open: () => input(selection), manifest: [digest, async () => manifestOf(digest, await entries(), selection, from.tree, path)] };
}
