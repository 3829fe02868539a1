import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { namesIn, replaceFile, storeError, tempName } from '../../content/files';
import { isAbandoned } from '../../content/presence';
import { errnoOf } from '../../diagnostics/error';
import { whileLocked } from '../../linux/flock';
import { removeFile } from '../../linux/remove-tree';
import type { Digest } from '../../oci/digest';
import type { Descriptor } from '../../oci/image';
import { MediaType } from '../../oci/media-types';
import type { Platform } from '../../oci/platform';

/** An image as `index.json` shows it. */
export interface LayoutImage {
  readonly descriptor: Descriptor;
  readonly platform: Platform;
}

/** The same with its names, asked for when they are needed. */
export interface NamedLayoutImage extends LayoutImage {
  readonly names: () => readonly string[];
}

/** What the index is made of. */
export interface LayoutSource {
  /** The images behind a name whose blobs are all in the store. */
  named(name: string): readonly LayoutImage[];
  /** The image of a manifest if it is there with all its blobs. */
  ofManifest(digest: Digest): NamedLayoutImage | undefined;
  /** All such images. */
  all(): Iterable<NamedLayoutImage>;
}

const HEAD = `{"schemaVersion":2,"mediaType":"${MediaType.ociIndex}","manifests":[\n`;
const TAIL = '\n]}\n';
const SEPARATOR = ',\n';
const REF_NAME = 'org.opencontainers.image.ref.name';
const NAME = /"org\.opencontainers\.image\.ref\.name":"([^"]*)"/;
const DIGEST = /"digest":"([^"]*)"/;
const MARK = 'index';

/**
 * `index.json` of a store, in which other tools read it as an OCI layout: a line for each name of
 * an image whose blobs are all there, and one for such an image without a name. What changes is
 * gathered and written by {@link LayoutIndex.flush}, once and by rename. A process that dies before
 * that leaves a file in `tmp` that says so: the next one then writes the index anew.
 */
export class LayoutIndex {
  readonly #file: string;
  readonly #names = new Set<string>();
  readonly #digests = new Set<Digest>();
  #mark: string | undefined;

  constructor(
    private readonly root: string,
    private readonly source: LayoutSource,
  ) {
    this.#file = path.join(root, 'index.json');
  }

  /** Says that names or images (by their manifests) are about to change, come or go. */
  touch(names: Iterable<string>, manifest?: Digest): void {
    for (const name of names) this.#names.add(name);
    if (manifest !== undefined) this.#digests.add(manifest);
    this.#mark ??= this.#leaveMark();
  }

  /** Writes what has changed; nothing when nothing has. */
  flush(): void {
    if (this.#names.size + this.#digests.size === 0) return;
    whileLocked(path.join(this.root, 'blobs'), () => {
      const left = this.#abandonedMarks();
      const before = readText(this.#file);
      const known = left.length > 0 ? undefined : linesOf(before);
      const lines = known === undefined ? this.#allLines() : this.#changedLines(known);
      const text = `${HEAD}${lines.join(SEPARATOR)}${TAIL}`;
      if (text !== before) replaceFile(this.root, this.#file, text);
      for (const mark of left) removeFile(mark);
    });
    this.#names.clear();
    this.#digests.clear();
    if (this.#mark !== undefined) removeFile(this.#mark);
    this.#mark = undefined;
  }

  /** Whether a process died before it wrote what it had changed. */
  isStale(): boolean {
    return this.#abandonedMarks().length > 0;
  }

  #allLines(): string[] {
    return [...this.source.all()].flatMap(linesFor);
  }

  #changedLines(known: readonly string[]): string[] {
    const affected = new Set(this.#digests);
    const others = known.filter((line) => {
      const name = NAME.exec(line)?.[1];
      if (name === undefined || !this.#names.has(name)) return true;
      affected.add(digestIn(line));
      return false;
    });
    const images = new Map(
      [...affected].flatMap((digest) => {
        const image = this.source.ofManifest(digest);
        return image === undefined ? [] : [[digest, image] as const];
      }),
    );
    const kept = others.filter((line) => {
      const digest = digestIn(line);
      return !affected.has(digest) || (NAME.test(line) && images.has(digest));
    });
    const named = [...this.#names].flatMap((name) =>
      this.source.named(name).map((image) => lineOf(image, name)),
    );
    // One of which nothing is shown yet may have got its last blob only now.
    const shown = new Set(kept.map(digestIn));
    const fresh = [...images].flatMap(([digest, image]) =>
      shown.has(digest) ? [] : linesFor(image),
    );
    return [...new Set([...kept, ...named, ...fresh])];
  }

  #abandonedMarks(): string[] {
    const folder = path.join(this.root, 'tmp');
    return namesIn(folder)
      .filter((name) => name.startsWith(`${MARK}.`) && isAbandoned(this.root, name))
      .map((name) => path.join(folder, name));
  }

  /**
   * Without room for it, a process that dies leaves the index as it was until an image changes
   * again.
   */
  #leaveMark(): string | undefined {
    const mark = tempName(this.root, MARK);
    try {
      writeFileSync(mark, '', { flag: 'wx', mode: 0o600 });
      return mark;
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      return undefined;
    }
  }
}

/** The lines of a text that an index wrote; `undefined` for any other. */
function linesOf(text: string): string[] | undefined {
  if (!text.startsWith(HEAD) || !text.endsWith(TAIL)) return undefined;
  const body = text.slice(HEAD.length, -TAIL.length);
  return body === '' ? [] : body.split(SEPARATOR);
}

function linesFor(image: NamedLayoutImage): string[] {
  const names = image.names();
  return names.length === 0 ? [lineOf(image)] : names.map((name) => lineOf(image, name));
}

function lineOf(
  { descriptor: { mediaType, digest, size }, platform }: LayoutImage,
  name?: string,
): string {
  const annotations = name === undefined ? {} : { annotations: { [REF_NAME]: name } };
  return JSON.stringify({ mediaType, digest, size, platform, ...annotations });
}

function digestIn(line: string): Digest {
  return (DIGEST.exec(line)?.[1] ?? '') as Digest;
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '';
    throw storeError(error, file);
  }
}
