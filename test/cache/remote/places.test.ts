import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HttpPlace } from '../../../src/cache/remote/http-place';
import { LocalPlace } from '../../../src/cache/remote/local-place';
import { RegistryPlace } from '../../../src/cache/remote/registry-place';
import type { BlobBody } from '../../../src/registry/registry';
import type { WebFolder } from '../../../src/registry/web-folder';
import { cachePlaceContract } from '../../contract/cache-place';
import { MemoryRegistry, bytesOf, chunksOf } from '../../support/memory-registry';

cachePlaceContract('a directory', () => {
  const dir = mkdtempSync(join(tmpdir(), 'mb-place-'));
  return {
    place: (tag) => new LocalPlace(join(dir, 'cache'), tag),
    dispose: () => rmSync(dir, { recursive: true }),
  };
});

cachePlaceContract('a directory of a web server', () => {
  const folder = new MemoryFolder();
  return {
    place: (tag) => new HttpPlace(new URL('http://cache.test/builds'), tag, folder),
    dispose: () => undefined,
  };
});

cachePlaceContract('a tag in a registry', () => {
  const registry = new MemoryRegistry();
  return {
    place: (tag) => new RegistryPlace(`registry.test/cache:${tag}`, registry),
    dispose: () => undefined,
  };
});

/** A folder of a web server without a network. */
class MemoryFolder implements WebFolder {
  readonly #files = new Map<string, Buffer>();

  async read(name: string, _limit: number, signal: AbortSignal): Promise<Buffer | undefined> {
    signal.throwIfAborted();
    return this.#files.get(name);
  }

  async open(name: string, start: number, signal: AbortSignal): Promise<BlobBody | undefined> {
    signal.throwIfAborted();
    const bytes = this.#files.get(name);
    return bytes === undefined ? undefined : { start, bytes: chunksOf(bytes.subarray(start)) };
  }

  async size(name: string): Promise<number | undefined> {
    return this.#files.get(name)?.length;
  }

  async put(
    name: string,
    size: number,
    open: () => AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted();
    const bytes = await bytesOf(open());
    expect(bytes).toHaveLength(size);
    this.#files.set(name, bytes);
  }
}
