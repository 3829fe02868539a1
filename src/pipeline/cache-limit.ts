import type { CacheRecord, RecordedLayer } from '../cache/record';
import {
  chooseVictims,
  foundRatioOf,
  NEVER_SEEN,
  type EvictionPolicy,
  type Reuse,
  type Weighed,
} from '../cache/eviction';
import type { Engine } from '../engine';
import { BuildHistory } from '../history/file-history';
import type { ChainID } from '../oci/digest';

/** A record with a layer. */
type LayerResult = CacheRecord & { readonly layer: RecordedLayer };

/**
 * The records to delete so that the layers of the rest have no more than `keepBytes`; those of one
 * layer go together, and none of a layer below one that is kept.
 * @param records those that may go, and no others count. Steps that left nothing stay: they take no
 * space.
 */
export function recordsBeyond(
  records: readonly CacheRecord[],
  keepBytes: number,
  policy: EvictionPolicy,
  { root, layers }: Pick<Engine, 'root' | 'layers'>,
): CacheRecord[] {
  const results = records.filter((record): record is LayerResult => record.layer !== undefined);
  const ofLayer = new Map<ChainID, LayerResult[]>();
  for (const result of results)
    ofLayer.set(result.layer.chainId, [...(ofLayer.get(result.layer.chainId) ?? []), result]);
  const bytes = [...ofLayer.values()].reduce(
    (sum, [first]) => sum + (first?.layer.contentSize ?? 0),
    0,
  );
  if (bytes <= keepBytes) return [];
  const uses = readUses(new BuildHistory(root));
  const items = [...ofLayer].map(([chainId, made]): Weighed => ({
    key: chainId,
    parent: layers.get(chainId)?.parent,
    bytes: made[0]?.layer.contentSize ?? 0,
    seconds: Math.max(...made.map(({ durationMs }) => durationMs)) / 1000,
    idle: Math.min(...made.map((record) => uses.idle(record))),
    foundRatio: Math.max(...made.map(({ key }) => uses.foundRatio(key))),
  }));
  return chooseVictims(items, keepBytes, policy).flatMap(
    ({ key }) => ofLayer.get(key as ChainID) ?? [],
  );
}

/** What the builds on record say of results. */
interface Uses {
  /** Builds since the last one that made or found it. */
  idle(record: CacheRecord): number;
  /** Of the times that its instruction came up, the share in which it was found in the cache. */
  foundRatio(key: string): number;
}

function readUses(history: BuildHistory): Uses {
  const idle = new Map<string, number>();
  const instructionOf = new Map<string, string>();
  const counts = new Map<string, Reuse>();
  const started: string[] = [];
  for (const build of history.all()) {
    for (const { key, text, cached } of build.steps) {
      if (!idle.has(key)) idle.set(key, started.length);
      instructionOf.set(key, text);
      const count = counts.get(text) ?? NEVER_SEEN;
      counts.set(text, { times: count.times + 1, found: count.found + (cached ? 1 : 0) });
    }
    started.push(build.started);
  }
  return {
    // What no build on record used was used no later than it was made.
    idle: ({ key, created }) => idle.get(key) ?? started.filter((time) => time > created).length,
    foundRatio: (key) => foundRatioOf(counts.get(instructionOf.get(key) ?? '') ?? NEVER_SEEN),
  };
}
