import { hashValue, type KeyValue } from '../cache/key';
import { digestSelection } from '../context/digest';
import { selectSources, type Selection } from '../context/selection';
import { sourceTreeOf, type SourceTree } from '../context/source-tree';
import { MbuildError } from '../diagnostics/error';
import type { CopyOperation, CopySource } from '../graph/operation';
import { toRaw } from '../linux/paths';
import type { ActiveSnapshot } from '../snapshot/snapshotter';
import { resolveOwner } from '../snapshot/users';
import { parseChmod, type CopyInput } from './copy-op';
import type { CopyTarget } from './copy';
import type { PlannedOperation, StepContext } from './step';
import type { Tree } from './tree';

/** What one source brings: its part of the key, and what is copied when the step runs. */
interface PlannedSource {
  readonly content: KeyValue;
  readonly input: () => CopyInput;
}

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
    execute: async (active) => (await import('./copy')).runCopy({ inputs: sources.map((source) => source.input()), dest: operation.dest, owner, chmod }, targetOf(active, context), {
      now: context.services.options.sourceDateEpoch, threads: context.services.threads, signal: context.scope.signal,
    }),
  };
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
  switch (source.kind) {
    case 'inline': {
      const content = Buffer.from(source.content, 'utf8');
      return { content: ['inline', source.name, source.content], input: () => ({ kind: 'inline', name: source.name, content }) };
    }
    case 'path':
      return planPath(source.path, operation, from, unpack, context);
    case 'http':
    case 'git':
      throw new MbuildError('UNSUPPORTED', `ADD ${source.url}: fetching is not supported yet`, { hint: 'fetch it in a RUN, or beforehand into the context' });
  }
}

async function planPath(path: string, operation: CopyOperation, from: Awaited<ReturnType<typeof sourceOf>>, unpack: boolean, context: StepContext): Promise<PlannedSource> {
  const { cache, threads } = context.services;
  const select = (): Selection => selectSources(from.tree, [path], { parents: operation.parents, exclude: operation.exclude });
  const input = (selection: Selection): CopyInput => ({ kind: 'selection', selection, ownership: from.tree.ownership, unpack });
  const memo = from.result === undefined ? undefined : hashValue(['selection', from.result, path, operation.parents, operation.exclude]);
  const known = memo === undefined ? undefined : cache.recall(memo);
  if (known !== undefined) return { content: known, input: () => input(select()) };
  const selection = select();
  const { digest } = await digestSelection(selection, from.tree, threads);
  if (memo !== undefined) cache.remember(memo, digest);
  return { content: digest, input: () => input(selection) };
}
