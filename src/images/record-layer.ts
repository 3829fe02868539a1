import type { LayerIndex, LayerRecord } from './layer-index';
import type { Lease } from './lease';

/**
 * Records a committed layer that the lease holds. When another process was first, its record is returned, and the caller's directory is
 * surplus. What is returned stays for as long as the lease.
 */
export function recordLayer(record: LayerRecord, layers: Pick<LayerIndex, 'get' | 'put'>, lease: Lease): LayerRecord {
  for (;;) {
    const kept = layers.put(record);
    lease.hold({ layers: [kept.id] });
    // The other's may have been collected before it was held.
    if (layers.get(record.chainId)?.id === kept.id) return kept;
  }
}
