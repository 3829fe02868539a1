import { createReadStream } from 'node:fs';
import { MbuildError } from '../diagnostics/error';
import { paddingOf } from '../layer/tar/entry';
import { END_OF_ARCHIVE } from '../layer/tar/write';
import { fsPath, toText } from '../linux/paths';
import type { MergedView } from '../snapshot/view';
import { headerOf } from './archive-writer';
import { writeTo, type Destination } from './destination';
import type { Exporter, ExportServices } from './exporter';
import { treeEntries } from './tree';

/** `--output type=tar`: the root file system of one image as a tar. */
export function tarExporter(destination: Destination, services: Pick<ExportServices, 'snapshots'>): Exporter {
  return {
    async export(images, _vertex, scope) {
      const [only, ...others] = images;
      if (only === undefined || others.length > 0) throw new MbuildError('USAGE', 'a tar holds the files of one image', { hint: 'save several images with type=oci or type=docker' });
      await writeTo(destination, treeTar(services.snapshots.view(only.image.stack)), scope.signal);
      return { descriptors: [] };
    },
  };
}

/** A tree as a tar, with owners, modes, links, devices and attributes: also what `export` of a container writes. */
export async function* treeTar(view: MergedView): AsyncGenerator<Uint8Array> {
  for (const { entry, source } of treeEntries(view)) {
    yield* headerOf(entry);
    if (entry.size === 0) continue;
    let size = 0;
    for await (const chunk of createReadStream(fsPath(source), { highWaterMark: 1 << 20, end: entry.size - 1 })) {
      size += (chunk as Buffer).length;
      yield chunk as Buffer;
    }
    if (size !== entry.size) throw new MbuildError('STORE_CORRUPT', `${toText(source)} became shorter while it was read`);
    yield Buffer.alloc(paddingOf(size));
  }
  yield END_OF_ARCHIVE;
}
