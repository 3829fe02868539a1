import { recordsBeyond } from '../../src/pipeline/cache-limit';
import type { EvictionPolicy } from '../../src/cache/eviction';
import { FileCacheStore } from '../../src/cache/file-cache';
import type { CacheKey, ResultId } from '../../src/cache/key';
import type { CacheRecord } from '../../src/cache/record';
import type { BuildRecord } from '../../src/history/build-record';
import { BuildHistory } from '../../src/history/file-history';
import { FileLayerIndex } from '../../src/images/store/file-layer-index';
import { digestOf, type ChainID, type DiffID } from '../../src/oci/digest';
import type { LayerId } from '../../src/snapshot/snapshotter';
import { useTemp } from '../support/temp';

/** When the first of a store's builds was. */
const START = Date.parse('2026-01-01T00:00:00Z');

describe('what goes from a store’s cache beyond a size', () => {
  const temp = useTemp();

  /** A store with results, whose layers have 100 bytes each, and builds that used them. */
  class Store {
    readonly root = temp.dir('limit');
    readonly layers = new FileLayerIndex(this.root);
    readonly cache = new FileCacheStore(this.root);
    #builds = 0;

    result(
      key: string,
      seconds: number,
      layer: string | undefined = key,
      below?: string,
    ): CacheRecord {
      const chainId = chainOf(layer);
      const parent = below === undefined ? undefined : chainOf(below);
      if (layer !== '')
        this.layers.put({
          chainId,
          parent,
          id: layer as LayerId,
          diffId: chainId as string as DiffID,
          size: 1024,
          contentSize: 100,
          blobs: [],
          boot: '',
          synced: true,
        });
      const record: CacheRecord = {
        version: 1,
        key: key as CacheKey,
        input: { kind: 'run', parent: '' as ResultId, inputs: {} },
        result: key as ResultId,
        created: this.#time(0),
        durationMs: seconds * 1000,
        layer:
          layer === ''
            ? undefined
            : { diffId: chainId as string as DiffID, chainId, size: 1024, contentSize: 100 },
      };
      this.cache.put(record);
      return record;
    }

    /**
     * A build that found, or with `made` made, the results of instructions that are called as they
     * are, up to a hyphen.
     */
    build(keys: readonly string[], made = false): void {
      const steps = keys.map((key, index) => ({
        name: key,
        stage: '',
        index,
        line: 1,
        text: key.split('-')[0] ?? '',
        key,
        cached: !made,
        durationMs: 0,
        row: 0,
      }));
      const record: Partial<BuildRecord> = {
        version: 1,
        id: `build${String(this.#builds).padStart(4, '0')}`,
        project: 'p',
        started: this.#time(this.#builds++),
        steps,
      };
      new BuildHistory(this.root).put(record as BuildRecord);
    }

    victims(keepBytes: number, policy: EvictionPolicy): string[] {
      return recordsBeyond(this.cache.list(), keepBytes, policy, this).map(({ key }) => key);
    }

    #time(builds: number): string {
      return new Date(START + builds * 60_000).toISOString();
    }
  }

  it('goes by what results take to make again, and by the builds that used them', () => {
    const store = new Store();
    store.result('tools', 60);
    store.build(['tools'], true);
    store.build(['tools']);
    for (const name of ['sources-1', 'sources-2', 'sources-3']) {
      store.result(name, 1);
      store.build([name], true);
    }
    expect(store.victims(400, 'value')).toEqual([]);
    expect(store.victims(300, 'value')).toEqual(['sources-1']);
    expect(store.victims(100, 'value')).toEqual(['sources-1', 'sources-2', 'sources-3']);
    expect(store.victims(300, 'lru')).toEqual(['tools']);
    expect(store.victims(100, 'lru')).toEqual(['tools', 'sources-1', 'sources-2']);
  });

  it('what no build on record used was last used when it was made', () => {
    const store = new Store();
    store.result('forgotten', 1);
    store.result('used', 1);
    for (let i = 0; i < 3; i++) store.build(['used']);
    expect(store.victims(100, 'lru')).toEqual(['forgotten']);
  });

  it('two results of one layer count once and go together; one without a layer stays', () => {
    const store = new Store();
    for (const key of ['a', 'b']) store.result(key, 1, 'shared');
    store.result('empty', 1, '');
    store.result('other', 9);
    expect(store.victims(200, 'value')).toEqual([]);
    expect(store.victims(100, 'value').sort()).toEqual(['a', 'b']);
    expect(store.victims(0, 'value').sort()).toEqual(['a', 'b', 'other']);
  });

  it('a layer goes with those that stand on it, as they do in the layer index', () => {
    const store = new Store();
    store.result('below', 1);
    store.result('above', 2, 'above', 'below');
    store.result('other', 5);
    for (let i = 0; i < 2; i++) store.build(['other']);
    expect(store.victims(200, 'value')).toEqual(['above', 'below']);
    expect(store.victims(200, 'lru')).toEqual(['above']);
  });
});

function chainOf(layer: string): ChainID {
  return digestOf(layer) as string as ChainID;
}
