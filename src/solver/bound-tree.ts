import type { KeyValue } from '../cache/key';
import { describedSelection, type DescribedSelection } from '../cache/manifest';
import { digestSelection, readFiles } from '../context/digest';
import { selectSources } from '../context/selection';
import type { Selection } from '../context/selected';
import { sourceTreeOf, type SourceTree } from '../context/source-tree';
import { MbuildError } from '../diagnostics/error';
import type { TreeSource } from '../graph/graph';
import { toRaw, toText, type RawPath } from '../linux/paths';
import type { Rootfs } from '../sandbox/sandbox';
import type { MountedTree } from './failed-run';
import type { StepContext } from './planned';

/** A tree that a RUN has mounted. */
export interface BoundTree {
  /** What it holds, for the key. */
  readonly content: KeyValue;
  /** What its digest stands for, where it has one. */
  readonly manifest?: DescribedSelection | undefined;
  /** Makes it ready to be mounted. */
  readonly open: () => Promise<OpenBoundTree>;
}

/** A tree whose writes are thrown away: an overlay over it, or a copy of it. */
export interface OpenBoundTree {
  readonly rootfs: Rootfs;
  /** What of it is mounted: `/`-rooted, without symlinks. */
  readonly subpath: RawPath;
  readonly isDirectory: boolean;
  /** Where its files are. */
  readonly shown: MountedTree;
  readonly close: () => void;
}

/**
 * Finds the `source` of a mount in the context, a stage or an image.
 * @throws MbuildError SOURCE_NOT_FOUND.
 */
export async function bindTree(
  from: TreeSource,
  source: string,
  context: StepContext,
): Promise<BoundTree> {
  return from.kind === 'context'
    ? bindContext(await context.services.options.context(from.name), source, context)
    : bindStage(from, source, context);
}

async function bindStage(
  from: Exclude<TreeSource, { kind: 'context' }>,
  source: string,
  context: StepContext,
): Promise<BoundTree> {
  const { services } = context;
  const tree = await services.tree(from);
  const stack = await tree.stack();
  const view = services.snapshots.view(stack);
  const entry = view.stat(toRaw(source));
  if (entry === undefined)
    throw new MbuildError('SOURCE_NOT_FOUND', `${source} is not in ${titleOf(from)}`, {
      hint: 'source= of a mount is a path in the tree of from=',
    });
  // The whole tree is known by how it came about; a part of it by what it holds.
  const part =
    entry.path === '/'
      ? undefined
      : await digestPart(sourceTreeOf(view, titleOf(from)), source, context);
  return {
    content: [entry.path, part?.digest ?? tree.result],
    manifest: part?.manifest,
    open: async () => {
      const active = services.snapshots.prepare(stack);
      return {
        rootfs: services.snapshots.rootfs(active),
        subpath: entry.path,
        isDirectory: entry.stats.isDirectory(),
        shown: { stack, subpath: toText(entry.path) },
        close: () => services.snapshots.discard(active),
      };
    },
  };
}

/** The context is copied, so that owners and excluded files are as COPY has them. */
async function bindContext(
  tree: SourceTree,
  source: string,
  context: StepContext,
): Promise<BoundTree> {
  const entry = tree.stat(toRaw(source.startsWith('/') ? source : `/${source}`));
  if (entry === undefined)
    throw new MbuildError('SOURCE_NOT_FOUND', `${source} is not in ${tree.title}`);
  const { selection, digest, manifest } = await digestPart(tree, toText(entry.path), context);
  return {
    content: [entry.path, digest],
    manifest,
    open: async () => {
      const { snapshots, threads, xattrs } = context.services;
      const copy = snapshots.prepare([]);
      const writes = snapshots.prepare([]);
      const close = (): void => {
        snapshots.discard(writes);
        snapshots.discard(copy);
      };
      try {
        const input = {
          kind: 'selection' as const,
          selection,
          ownership: tree.ownership,
          unpack: false,
        };
        const { runCopy } = await import('./copy');
        await runCopy(
          { inputs: [input], dest: '/' },
          { parent: snapshots.view([]), dir: toRaw(copy.dir), xattrs },
          { threads, signal: context.scope.signal },
        );
        const rootfs = snapshots.rootfs(writes);
        return {
          rootfs:
            rootfs.kind !== 'directory'
              ? { ...rootfs, lowers: [copy.dir] }
              : { kind: 'directory', path: copy.dir },
          subpath: entry.path,
          isDirectory: entry.stats.isDirectory(),
          shown: { stack: [], subpath: toText(entry.path), copy },
          close,
        };
      } catch (error) {
        close();
        throw error;
      }
    },
  };
}

async function digestPart(
  tree: SourceTree,
  source: string,
  context: StepContext,
): Promise<{
  readonly selection: Selection;
  readonly digest: string;
  readonly manifest: DescribedSelection;
}> {
  const selection = selectSources(tree, [source], { parents: true });
  const {
    services: { threads },
    scope: { signal },
  } = context;
  const digested = await digestSelection(selection, tree, threads, (files) =>
    readFiles(files, threads, signal),
  );
  return {
    selection,
    digest: digested.digest,
    manifest: describedSelection(digested, selection, tree, source),
  };
}

function titleOf(from: Exclude<TreeSource, { kind: 'context' }>): string {
  return from.kind === 'stage' ? `stage ${from.stage.name}` : from.image.name;
}
