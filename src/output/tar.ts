import { createReadStream } from 'node:fs';
import { MbuildError } from '../diagnostics/error';
import { NO_DEVICE, NO_XATTRS, paddingOf } from '../layer/tar/entry';
import { END_OF_ARCHIVE } from '../layer/tar/write';
import { fsPath, toText, type RawPath } from '../linux/paths';
import type { MergedView } from '../snapshot/view';
import { headerOf } from './archive-writer';
import { writeTo, type Destination } from './destination';
import type { Exporter, ExportServices } from './exporter';
import { treeEntries } from './tree';

/** `--output type=tar`: the root file system of one image as a tar. */
export function tarExporter(
  destination: Destination,
  services: Pick<ExportServices, 'snapshots'>,
): Exporter {
  return {
    async export(images, _vertex, scope) {
      const [only, ...others] = images;
      if (only === undefined || others.length > 0)
        throw new MbuildError('USAGE', 'a tar holds the files of one image', {
          hint: 'save several images with type=oci or type=docker',
        });
      await writeTo(destination, treeTar(services.snapshots.view(only.image.stack)), scope.signal);
      return { descriptors: [] };
    },
  };
}

/** A tree, and the folder of a tar that it goes into: a path without a slash at its ends. */
export interface FolderTree {
  readonly folder: RawPath;
  readonly view: MergedView;
}

/** Several trees as one tar. */
export async function* foldersTar(trees: readonly FolderTree[]): AsyncGenerator<Uint8Array> {
  const made = new Set<RawPath>();
  for (const { folder, view } of trees) {
    for (let end = folder.indexOf('/'); ; end = folder.indexOf('/', end + 1)) {
      const path = end < 0 ? folder : folder.slice(0, end);
      if (!made.has(path))
        yield* headerOf({
          type: 'directory',
          path,
          mode: 0o755,
          uid: 0,
          gid: 0,
          mtime: 0,
          size: 0,
          linkPath: '',
          device: NO_DEVICE,
          xattrs: NO_XATTRS,
        });
      made.add(path);
      if (end < 0) break;
    }
    yield* treeEntriesTar(view, `${folder}/`);
  }
  yield END_OF_ARCHIVE;
}

/** A tree as a tar, with owners, modes, links, devices and attributes: also what `export` of a container writes. */
export async function* treeTar(view: MergedView): AsyncGenerator<Uint8Array> {
  yield* treeEntriesTar(view, '');
  yield END_OF_ARCHIVE;
}

async function* treeEntriesTar(view: MergedView, prefix: RawPath): AsyncGenerator<Uint8Array> {
  for (const { entry, source } of treeEntries(view)) {
    yield* headerOf({
      ...entry,
      path: `${prefix}${entry.path}`,
      linkPath: entry.type === 'link' ? `${prefix}${entry.linkPath}` : entry.linkPath,
    });
    if (entry.size === 0) continue;
    let size = 0;
    for await (const chunk of createReadStream(fsPath(source), {
      highWaterMark: 1 << 20,
      end: entry.size - 1,
    })) {
      size += (chunk as Buffer).length;
      yield chunk as Buffer;
    }
    if (size !== entry.size)
      throw new MbuildError('STORE_CORRUPT', `${toText(source)} became shorter while it was read`);
    yield Buffer.alloc(paddingOf(size));
  }
}
