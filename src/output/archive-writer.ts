import { NO_DEVICE, NO_XATTRS, paddingOf, BLOCK, type TarEntry } from '../layer/tar/entry';
import { END_OF_ARCHIVE, encodePax, writeHeader } from '../layer/tar/write';

/** A file of an archive, or a folder when it has no bytes. */
export interface ArchiveFile {
  readonly name: string;
  readonly size: number;
  readonly open?: (() => AsyncIterable<Uint8Array>) | undefined;
}

/**
 * A tar of plain files that is the same for the same files: no times, no owners.
 * @throws Error when a file has other than its `size` bytes.
 */
export async function* archiveOf(files: Iterable<ArchiveFile>): AsyncGenerator<Uint8Array> {
  for (const file of files) {
    yield* headerOf({
      type: file.open === undefined ? 'directory' : 'file',
      path: file.name,
      mode: file.open === undefined ? 0o755 : 0o644,
      uid: 0,
      gid: 0,
      mtime: 0,
      size: file.open === undefined ? 0 : file.size,
      linkPath: '',
      device: NO_DEVICE,
      xattrs: NO_XATTRS,
    });
    if (file.open === undefined) continue;
    let size = 0;
    for await (const chunk of file.open()) {
      size += chunk.length;
      yield chunk;
    }
    if (size !== file.size)
      throw new Error(`${file.name} has ${size} bytes instead of ${file.size}`);
    yield Buffer.alloc(paddingOf(size));
  }
  yield END_OF_ARCHIVE;
}

/** The blocks before an entry's content. */
export function* headerOf(entry: TarEntry): Generator<Uint8Array> {
  const pax = encodePax(entry);
  if (pax !== undefined) yield pax;
  const header = Buffer.alloc(BLOCK);
  writeHeader(entry, header, 0);
  yield header;
}

/** A file whose bytes are at hand. */
export function textFile(name: string, text: string | Buffer): ArchiveFile {
  const bytes = Buffer.from(text);
  return {
    name,
    size: bytes.length,
    open: async function* open() {
      yield bytes;
    },
  };
}
