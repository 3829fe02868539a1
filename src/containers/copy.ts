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
import type { TreeDirectory } from '../snapshot/tree-entry';
import { TreeWriter } from '../snapshot/tree-writer';
import type { MergedView, ViewEntry } from '../snapshot/view';
import { firstProcess } from './container';
import { TreeCopier, type CopyOptions } from './copy-tree';
import { whilePaused } from './pause';
import { containerView } from './process-spec';
import type { OpenContainer } from './services';
import { writtenLayer } from './written-layer';

/** How files are copied. */
export interface CpOptions {
  /** Owners stay as they are; else whoever copies owns what comes out, and root what goes in. */
  readonly archive: boolean;
  /** Of a symlink as the source, what it leads to is copied. */
  readonly follow: boolean;
}

/**
 * A tree to read from and to write to; paths are resolved inside of it, and no symlink in it leads
 * out.
 */
interface Tree {
  readonly view: MergedView;
  readonly writer: () => TreeWriter;
}

/**
 * Copies out of a container, to a path of the host or as a tar to a stream, by docker's rules for
 * what the destination's name means. The container stands still meanwhile.
 * @throws MbuildError SOURCE_NOT_FOUND, COPY_FAILED.
 */
export async function copyFromContainer(
  open: OpenContainer,
  from: string,
  to: { readonly path: string } | { readonly stream: NodeJS.WritableStream },
  { signal, ...options }: CpOptions & { readonly signal: AbortSignal },
): Promise<void> {
  const { container, services } = open;
  await whilePaused(container, async () => {
    const { tree, inner } = containerTree(open, from);
    const source = findSource(tree.view, inner, options, `${container.record.name}:${from}`);
    if ('path' in to) {
      const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
      const place = toRaw(path.resolve(to.path) + (/\/\.?$/.test(to.path) ? '/' : ''));
      copyBetween(
        { view: tree.view, entry: source, asked: inner },
        { tree: hostTree(), path: place },
        options.archive ? {} : { owner },
      );
      return;
    }
    const folder = tempName(services.root, 'cp');
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      const writer = new TreeWriter(EMPTY_VIEW, toRaw(folder));
      new TreeCopier(tree.view, writer).entry(
        source,
        writer.root,
        splitPath(source.path).name || '.root',
      );
      writer.finish();
      await writeTo({ stream: to.stream }, treeTar(new LayeredView([toRaw(folder)])), signal);
    } finally {
      removeTree(folder);
    }
  });
}

/**
 * Copies into a container, from a path of the host or a tar out of a stream, which is unpacked into
 * a directory.
 */
export async function copyToContainer(
  open: OpenContainer,
  from: { readonly path: string } | { readonly stream: AsyncIterable<Uint8Array> },
  to: string,
  options: CpOptions,
): Promise<void> {
  const { container } = open;
  await whilePaused(container, async () => {
    const { tree, inner } = containerTree(open, to);
    if ('path' in from) {
      const { view } = hostTree();
      const raw = toRaw(from.path.startsWith('/') ? from.path : `${process.cwd()}/${from.path}`);
      const source = findSource(view, raw, options, from.path);
      copyBetween(
        { view, entry: source, asked: raw },
        { tree, path: inner },
        options.archive ? {} : { owner: { uid: 0, gid: 0 } },
      );
      return;
    }
    const writer = tree.writer();
    const directory = writer.directory(inner);
    if (directory === undefined)
      throw new MbuildError('COPY_FAILED', `${container.record.name}:${to} is not a directory`, {
        hint: 'an archive is unpacked into a directory',
      });
    await extractArchive(Readable.from(from.stream, { objectMode: false }), writer, directory);
    writer.finish();
  });
}

/**
 * The container's tree: through its own mounts while it runs, else its layers; or the volume that
 * the path is in.
 */
function containerTree(
  { container, store, services }: OpenContainer,
  given: string,
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
    throw new MbuildError('COPY_FAILED', `${label} is not a directory`);
  return source;
}

/** What is copied, by the name that was asked for. */
interface Source {
  readonly view: MergedView;
  readonly entry: ViewEntry;
  readonly asked: RawPath;
}

/** Where it goes. */
interface Destination {
  readonly tree: Tree;
  readonly path: RawPath;
}

/**
 * docker cp's table: a file goes to the given name, or under its own into a directory; a directory
 * becomes the given name, or goes into it as a whole where that is there; of `DIR/.` only the
 * contents go.
 */
function copyBetween(
  { view, entry, asked }: Source,
  { tree, path: to }: Destination,
  options: CopyOptions,
): void {
  const writer = tree.writer();
  const copier = new TreeCopier(view, writer, options);
  const bare = to.replace(/\/+\.?$/, '') || '/';
  const directory = writer.directory(bare);
  if (entry.stats.isDirectory() && (/(^|\/)\.$/.test(asked) || entry.path === '/')) {
    copier.contents(entry.path, directory ?? makeTarget(writer, bare, entry));
  } else if (directory !== undefined) {
    copier.entry(entry, directory, splitPath(cleanPath(asked)).name || splitPath(entry.path).name);
  } else {
    if (bare !== to && !entry.stats.isDirectory())
      throw new MbuildError('COPY_FAILED', `${toText(to)}: no such directory`);
    const { parent, name } = targetOf(writer, bare);
    copier.entry(entry, parent, name);
  }
  writer.finish();
}

/**
 * A name that is not there yet.
 * @throws MbuildError COPY_FAILED when its directory is not there either.
 */
function targetOf(
  writer: TreeWriter,
  bare: RawPath,
): { readonly parent: TreeDirectory; readonly name: RawPath } {
  const { dir, name } = splitPath(writer.resolve(bare));
  const parent = writer.directory(dir);
  if (parent === undefined)
    throw new MbuildError('COPY_FAILED', `${toText(dir)}: no such directory`, {
      hint: 'create the directory first',
    });
  return { parent, name };
}

function makeTarget(writer: TreeWriter, bare: RawPath, { stats }: ViewEntry): TreeDirectory {
  const { parent, name } = targetOf(writer, bare);
  return writer.makeDirectory(parent, name, { mode: stats.mode & 0o7777, uid: 0, gid: 0 })
    .directory;
}
