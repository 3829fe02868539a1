import { CACHE_CONFIG_TYPE } from '../../src/cache/remote/format';
import type { CachePlace, OutgoingCache } from '../../src/cache/remote/place';
import { digestOf } from '../../src/oci/digest';
import type { Descriptor } from '../../src/oci/image';
import { MediaType } from '../../src/oci/media-types';
import type { BlobSource } from '../../src/registry/registry';
import { bytesOf, chunksOf } from '../support/memory-registry';

/** Places of one kind: those of one `tag` are the same, others are beside it. */
export interface Places {
  readonly place: (tag: string) => CachePlace;
  readonly dispose: () => void | Promise<void>;
}

/** What every place for caches promises. `make` gives places in which nothing is yet. */
export function cachePlaceContract(name: string, make: () => Places | Promise<Places>): void {
  describe(`${name} keeps the contract of places for caches`, () => {
    const { signal } = new AbortController();
    let places: Places;
    beforeEach(async () => {
      places = await make();
    });
    afterEach(() => places.dispose());

    const write = async (place: CachePlace, cache: OutgoingCache): Promise<string[]> => {
      const notes: string[] = [];
      await place.write(cache, signal, (text) => notes.push(text));
      return notes;
    };

    test('nothing is there before something was written', async () =>
      expect(await places.place('main').read(signal)).toEqual([]));

    test('what was written is there, byte by byte, for whoever opens the place', async () => {
      const cache = cacheOf('one');
      const notes = await write(places.place('main'), cache);
      expect(notes.join('\n')).toContain(`manifest ${cache.manifest.descriptor.digest}`);
      const place = places.place('main');
      const [stored, ...more] = await place.read(signal);
      expect(more).toEqual([]);
      expect(stored?.manifest.equals(cache.manifest.bytes)).toBe(true);
      expect(stored?.config.toString()).toBe('{"config":"one"}');
      for (const { descriptor, open } of cache.blobs) {
        const whole = await bytesOf(open(0));
        for (const start of [0, 1, 1500]) {
          const body = await place.blob(descriptor, start, signal);
          const bytes = await bytesOf(body.bytes);
          expect(bytes.equals(whole.subarray(body.start))).toBe(true);
          expect(body.start).toBeLessThanOrEqual(start);
        }
      }
    });

    test('a cache replaces the one of its name, and leaves others alone', async () => {
      await write(places.place('main'), cacheOf('one'));
      await write(places.place('other'), cacheOf('beside'));
      await write(places.place('main'), cacheOf('two'));
      const configs = async (tag: string): Promise<string[]> =>
        (await places.place(tag).read(signal)).map(({ config }) => config.toString());
      expect(await configs('main')).toEqual(['{"config":"two"}']);
      expect(await configs('other')).toEqual(['{"config":"beside"}']);
    });

    test('the same cache can be written again', async () => {
      await write(places.place('main'), cacheOf('one'));
      await write(places.place('main'), cacheOf('one'));
      expect(await places.place('main').read(signal)).toHaveLength(1);
    });

    test('a blob that cannot be read leaves the cache that was there', async () => {
      await write(places.place('main'), cacheOf('one'));
      const broken = cacheOf('two', {
        // oxlint-disable-next-line require-yield -- it fails before there is a byte
        async *open() {
          throw new Error('the disk is gone');
        },
      });
      await expect(write(places.place('main'), broken)).rejects.toThrow('the disk is gone');
      const stored = await places.place('main').read(signal);
      expect(stored.map(({ config }) => config.toString())).toEqual(['{"config":"one"}']);
    });

    test('a write that was called off leaves the cache that was there', async () => {
      await write(places.place('main'), cacheOf('one'));
      const off = AbortSignal.abort(new Error('called off'));
      await expect(
        places.place('main').write(cacheOf('two'), off, () => undefined),
      ).rejects.toThrow();
      const stored = await places.place('main').read(signal);
      expect(stored.map(({ config }) => config.toString())).toEqual(['{"config":"one"}']);
    });

    test('a blob that is missing is an error of its own', async () => {
      await write(places.place('main'), cacheOf('one'));
      const missing = blobOf(Buffer.from('never written')).descriptor;
      await expect(
        (async () => places.place('main').blob(missing, 0, signal))(),
      ).rejects.toMatchObject({
        code: expect.stringMatching(/^(CACHE_INVALID|IMAGE_NOT_FOUND)$/),
        message: expect.stringContaining(missing.digest),
      });
    });
  });
}

function cacheOf(text: string, layer: Partial<BlobSource> = {}): OutgoingCache {
  const config = blobOf(Buffer.from(JSON.stringify({ config: text })), CACHE_CONFIG_TYPE);
  const blobs = [{ ...blobOf(Buffer.from(text.repeat(1000))), ...layer }, config];
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MediaType.ociManifest,
      config: config.descriptor,
      layers: blobs.slice(0, -1).map(({ descriptor }) => descriptor),
    }),
  );
  return {
    blobs,
    manifest: {
      descriptor: {
        mediaType: MediaType.ociManifest,
        digest: digestOf(bytes),
        size: bytes.length,
      },
      bytes,
    },
  };
}

function blobOf(bytes: Buffer, mediaType: string = MediaType.ociLayerGzip): BlobSource {
  const descriptor: Descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  return { descriptor, open: (start) => chunksOf(bytes.subarray(start)) };
}
