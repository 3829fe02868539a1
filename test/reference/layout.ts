import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { gunzipSync } from 'node:zlib';
import { extract, type Header } from 'tar-stream';

/** What is at a path of a flattened image. */
export interface Inode {
  readonly type: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly sha256: string;
  readonly link: string;
  readonly device: string;
  readonly xattrs: Readonly<Record<string, string>>;
  /** Seconds since the epoch. */
  readonly mtime: number;
  /** Paths that are hard links of one another have the same number. */
  readonly inode: number;
}

/** An image taken apart, as plain data. */
export interface ImageContent {
  readonly config: Readonly<Record<string, unknown>>;
  readonly tree: Readonly<Record<string, Inode>>;
  /** The paths of each layer's tar, sorted; whiteouts as they are named there. */
  readonly layers: readonly (readonly string[])[];
}

interface TarEntry {
  readonly path: string;
  readonly header: Header;
  readonly sha256: string;
}

/** Reads the only image of an OCI layout archive. */
export async function readLayout(archive: string): Promise<ImageContent> {
  const files = new Map<string, Buffer>();
  await readTar(readFileSync(archive), (header, content) => void files.set(header.name, content));
  const json = (name: string): Record<string, unknown> =>
    JSON.parse(fileOf(files, name).toString('utf8'));
  let manifest = json('index.json') as unknown as {
    manifests?: { digest: string }[];
    config?: { digest: string };
    layers?: { digest: string }[];
  };
  while (manifest.manifests?.[0] !== undefined)
    manifest = json(blobName(manifest.manifests[0].digest)) as typeof manifest;
  const config = json(blobName(manifest.config?.digest ?? ''));
  const layers = await Promise.all(
    (manifest.layers ?? []).map((layer) => readLayer(fileOf(files, blobName(layer.digest)))),
  );
  return {
    config,
    tree: flatten(layers),
    layers: layers.map((entries) => entries.map((entry) => entry.path).sort()),
  };
}

function blobName(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`;
}

function fileOf(files: ReadonlyMap<string, Buffer>, name: string): Buffer {
  const file = files.get(name);
  if (file === undefined) throw new Error(`the layout has no ${name}`);
  return file;
}

async function readLayer(blob: Buffer): Promise<TarEntry[]> {
  const entries: TarEntry[] = [];
  const tar = blob[0] === 0x1f && blob[1] === 0x8b ? gunzipSync(blob) : blob;
  await readTar(tar, (header, content) => {
    entries.push({
      path: cleaned(header.name),
      header,
      sha256: header.type === 'file' ? createHash('sha256').update(content).digest('hex') : '',
    });
  });
  return entries;
}

async function readTar(
  tar: Buffer,
  each: (header: Header, content: Buffer) => void,
): Promise<void> {
  const reader = extract();
  reader.on('entry', (header, stream, next) => {
    const chunks: Buffer[] = [];
    stream.on('data', (chunk) => chunks.push(chunk as Buffer));
    stream.on('end', () => {
      each(header, Buffer.concat(chunks));
      next();
    });
  });
  await pipeline(Readable.from([tar]), reader);
}

function cleaned(name: string): string {
  return `/${name
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/')}`;
}

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';

/**
 * OCI image-spec, layer.md: whiteouts hide what lies below, then the layer's own entries are laid
 * over it.
 */
function flatten(layers: readonly (readonly TarEntry[])[]): Record<string, Inode> {
  const tree = new Map<string, Inode>();
  let inodes = 0;
  for (const entries of layers) {
    for (const { path } of entries) hide(tree, path);
    for (const { path, header, sha256 } of entries) {
      if (baseName(path).startsWith(WHITEOUT)) continue;
      const old = tree.get(path);
      if (old !== undefined && (old.type !== 'directory' || header.type !== 'directory'))
        removeTree(tree, path);
      const linked = header.type === 'link' ? tree.get(cleaned(header.linkname ?? '')) : undefined;
      tree.set(path, linked ?? inodeOf(header, sha256, ++inodes));
    }
  }
  return Object.fromEntries([...tree].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function hide(tree: Map<string, Inode>, path: string): void {
  const name = baseName(path);
  const parent = path.slice(0, -name.length - 1);
  if (name === OPAQUE) removeBelow(tree, parent);
  else if (name.startsWith(WHITEOUT)) removeTree(tree, `${parent}/${name.slice(WHITEOUT.length)}`);
}

function removeTree(tree: Map<string, Inode>, path: string): void {
  tree.delete(path);
  removeBelow(tree, path);
}

function removeBelow(tree: Map<string, Inode>, path: string): void {
  for (const other of tree.keys())
    if (other.startsWith(`${path}/`) && other !== '/') tree.delete(other);
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function inodeOf(header: Header, sha256: string, inode: number): Inode {
  const pax = (header as { pax?: Record<string, string> | null }).pax ?? {};
  const xattrs = Object.entries(pax).flatMap(([key, value]) =>
    key.startsWith('SCHILY.xattr.') ? [[key.slice('SCHILY.xattr.'.length), value] as const] : [],
  );
  const isDevice = header.type === 'character-device' || header.type === 'block-device';
  return {
    type: header.type ?? 'file',
    mode: (header.mode ?? 0) & 0o7777,
    uid: header.uid ?? 0,
    gid: header.gid ?? 0,
    size: header.size ?? 0,
    sha256,
    link: header.linkname ?? '',
    device: isDevice ? `${header.devmajor}:${header.devminor}` : '',
    xattrs: Object.fromEntries(xattrs.sort(([a], [b]) => (a < b ? -1 : 1))),
    mtime: Math.floor((header.mtime?.getTime() ?? 0) / 1000),
    inode,
  };
}
