import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { tempName } from '../content/files';
import { extractArchive } from '../context/extract';
import { MbuildError } from '../diagnostics/error';
import { toRaw, toText, type RawPath } from '../linux/paths';
import { removeTree } from '../linux/remove-tree';
import { writeTo } from '../output/destination';
import { treeTar } from '../output/tar';
import { EMPTY_VIEW, LayeredView } from '../snapshot/merged-view';
import { cleanPath, splitPath } from '../snapshot/resolve';
import { TreeWriter } from '../snapshot/tree-writer';
import type { MergedView, ViewEntry } from '../snapshot/view';
import { firstProcess, type Container } from './container';
import { copyContents, copyEntry, type CopyOptions } from './copy-tree';
import { whilePaused } from './pause';
import { containerView } from './process-spec';
import type { ContainerServices } from './services';
import type { ContainerStore } from './store';
import { writtenLayer } from './written-layer';

/** How files are copied. */
export interface CpOptions {
  /** Owners stay as they are; else whoever copies owns what comes out, and root what goes in. */
  readonly archive: boolean;
  /** Of a symlink as the source, what it leads to is copied. */
  readonly follow: boolean;
}

/** A tree to read from and to write to; paths are resolved inside of it, and no symlink in it leads out. */
interface Tree {
  readonly view: MergedView;
  readonly writer: () => TreeWriter;
}

/**
 * Copies out of a container, to a path of the host or as a tar to a stream, by docker's rules for what the destination's name means.
 * The container stands still meanwhile. @throws MbuildError SOURCE_NOT_FOUND, COPY_FAILED.
 */
export async function copyFromContainer(
  container: Container,
  from: string,
  to: { readonly path: string } | { readonly stream: NodeJS.WritableStream },
  options: CpOptions,
  store: ContainerStore,
  services: ContainerServices,
  signal: AbortSignal,
): Promise<void> {
  await whilePaused(container, async () => {
    const { tree, inner } = containerTree(container, from, store, services);
    const source = findSource(tree.view, inner, options, `${container.record.name}:${from}`);
    if ('path' in to) {
      const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
      copyBetween(
        tree.view,
        source,
        inner,
        hostTree(),
        toRaw(path.resolve(to.path) + (/\/\.?$/.test(to.path) ? '/' : '')),
        options.archive ? {} : { owner },
      );
      return;
    }
    const folder = tempName(services.root, 'cp');
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      const writer = new TreeWriter(EMPTY_VIEW, toRaw(folder));
      copyEntry(tree.view, source, writer, writer.root, splitPath(source.path).name || '.root');
      writer.finish();
      await writeTo({ stream: to.stream }, treeTar(new LayeredView([toRaw(folder)])), signal);
    } finally {
      removeTree(folder);
    }
  });
}

/** Copies into a container, from a path of the host or a tar out of a stream, which is unpacked into a directory. */
export async function copyToContainer(
  container: Container,
  from: { readonly path: string } | { readonly stream: AsyncIterable<Uint8Array> },
  to: string,
  options: CpOptions,
  store: ContainerStore,
  services: ContainerServices,
): Promise<void> {
  await whilePaused(container, async () => {
    const { tree, inner } = containerTree(container, to, store, services);
    if ('path' in from) {
      const { view } = hostTree();
      const raw = toRaw(from.path.startsWith('/') ? from.path : `${process.cwd()}/${from.path}`);
      const source = findSource(view, raw, options, from.path);
      copyBetween(
        view,
        source,
        raw,
        tree,
        inner,
        options.archive ? {} : { owner: { uid: 0, gid: 0 } },
      );
      return;
    }
    const writer = tree.writer();
    const directory = writer.directory(inner);
    if (directory === undefined)
      throw new MbuildError('COPY_FAILED', `${container.record.name}:${to} is no directory`, {
        hint: 'an archive is unpacked into a directory',
      });
    await extractArchive(Readable.from(from.stream, { objectMode: false }), writer, directory);
    writer.finish();
  });
}

/** The container's tree: through its own mounts while it runs, else its layers; or the volume that the path is in. */
function containerTree(
  container: Container,
  given: string,
  store: ContainerStore,
  services: ContainerServices,
): { readonly tree: Tree; readonly inner: RawPath } {
  const { record, state } = container;
  const wanted = toRaw(given.startsWith('/') ? given : `/${given}`);
  if (state.status === 'running')
    return { tree: directoryTree(`/proc/${firstProcess(container).pid}/root`), inner: wanted };
  const layer = toRaw(writtenLayer(container, store, services));
  const view = containerView(record, store, services);
  const resolved = view.resolve(wanted);
  const volume = record.volumes
    .filter(({ target }) => resolved === toRaw(target) || resolved.startsWith(`${toRaw(target)}/`))
    .sort((a, b) => b.target.length - a.target.length)[0];
  if (volume !== undefined) {
    const rest = `${resolved.slice(toRaw(volume.target).length) || '/'}${/\/\.?$/.test(wanted) ? '/' : ''}`;
    return { tree: directoryTree(toRaw(volume.source)), inner: rest };
  }
  return {
    tree: {
      view,
      writer: () => new TreeWriter(services.snapshots.view(record.image.stack), layer, services),
    },
    inner: wanted,
  };
}

function hostTree(): Tree {
  return directoryTree('/');
}

function directoryTree(dir: RawPath): Tree {
  return { view: new LayeredView([dir]), writer: () => new TreeWriter(EMPTY_VIEW, dir) };
}

function findSource(
  view: MergedView,
  from: RawPath,
  { follow }: CpOptions,
  label: string,
): ViewEntry {
  const bare = from.replace(/\/+\.?$/, '') || '/';
  const source = follow || bare !== from ? view.stat(bare) : view.lstat(bare);
  if (source === undefined)
    throw new MbuildError('SOURCE_NOT_FOUND', `${label}: no such file or directory`);
  if (bare !== from && bare !== '/' && !source.stats.isDirectory())
    throw new MbuildError('COPY_FAILED', `${label} is no directory`);
  return source;
}

/**
 * docker cp's table: a file goes to the given name, or under its own into a directory; a directory becomes the given name, or goes
 * into it as a whole where that is there; of `DIR/.` only the contents go.
 */
function copyBetween(
  view: MergedView,
  source: ViewEntry,
  asked: RawPath,
  target: Tree,
  to: RawPath,
  options: CopyOptions,
): void {
  const writer = target.writer();
  const bare = to.replace(/\/+\.?$/, '') || '/';
  const directory = writer.directory(bare);
  if (source.stats.isDirectory() && (/(^|\/)\.$/.test(asked) || source.path === '/')) {
    const into = directory ?? makeTarget(writer, bare, source);
    copyContents(view, source.path, writer, into, options);
  } else if (directory !== undefined) {
    copyEntry(
      view,
      source,
      writer,
      directory,
      splitPath(cleanPath(asked)).name || splitPath(source.path).name,
      options,
    );
  } else {
    if (bare !== to && !source.stats.isDirectory())
      throw new MbuildError('COPY_FAILED', `${toText(to)}: no such directory`);
    const resolved = writer.resolve(bare);
    const { dir, name } = splitPath(resolved);
    const parent = writer.directory(dir);
    if (parent === undefined)
      throw new MbuildError('COPY_FAILED', `${toText(dir)}: no such directory`, {
        hint: 'the folder that a copy goes into must be there',
      });
    copyEntry(view, source, writer, parent, name, options);
  }
  writer.finish();
}

function makeTarget(writer: TreeWriter, bare: RawPath, { stats }: ViewEntry) {
  const { dir, name } = splitPath(writer.resolve(bare));
  const parent = writer.directory(dir);
  if (parent === undefined)
    throw new MbuildError('COPY_FAILED', `${toText(dir)}: no such directory`, {
      hint: 'the folder that a copy goes into must be there',
    });
  return writer.makeDirectory(parent, name, { mode: stats.mode & 0o7777, uid: 0, gid: 0 })
    .directory;
}
