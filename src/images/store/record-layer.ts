import { bootId } from '../../linux/process';
import type { LayerIndex, LayerRecord } from './layer-index';
import type { Lease } from './lease';

/**
 * Records a committed layer that the lease holds. When another process was first, its record is
 * returned, and the caller's directory is surplus; unless a loss of power may have damaged the
 * other's, whose place the caller's then takes. What is returned stays for as long as the lease.
 */
export function recordLayer(
  record: LayerRecord,
  layers: Pick<LayerIndex, 'get' | 'put' | 'replace'>,
  lease: Lease,
): LayerRecord {
  for (;;) {
    const kept = layers.put(record);
    lease.hold({ layers: [kept.id] });
    if (!isTrusted(kept))
      layers.replace({
        ...record,
        blobs: [
          ...kept.blobs,
          ...record.blobs.filter(
            ({ digest }) => !kept.blobs.some((known) => known.digest === digest),
          ),
        ],
      });
    // The other's may have been collected before it was held.
    else if (layers.get(record.chainId)?.id === kept.id) return kept;
  }
}

/**
 * Whether a layer's directory is what it was when it was recorded: it was synced, or the machine
 * has run ever since.
 */
export function isTrusted({ synced, boot }: LayerRecord): boolean {
  return synced || boot === bootId();
}
