import { digestOf, type DiffID } from '../oci/digest';
import type { Descriptor } from '../oci/image';
import type { Repository } from '../registry/registry';

/** A blob that can be written wherever it is wanted. */
export interface OutgoingBlob {
  readonly descriptor: Descriptor;
  /** Of a layer: its name in progress, however it is compressed. */
  readonly diffId?: DiffID | undefined;
  /** A repository that has it, where it was not taken from the store. */
  readonly repository?: Repository | undefined;
  open(): AsyncIterable<Uint8Array>;
}

/** A blob whose bytes are at hand. */
export function inMemory(bytes: Buffer, mediaType: string): OutgoingBlob {
  return {
    descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length },
    open: async function* open() {
      yield bytes;
    },
  };
}
