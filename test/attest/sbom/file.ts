import type { LayerFile } from '../../../src/attest/sbom/package';

/** A file of a layer, out of memory. */
export function layerFile(
  path: string,
  content: string | Uint8Array,
  executable = false,
): LayerFile {
  const bytes = Buffer.from(content as Uint8Array);
  return {
    path,
    size: bytes.length,
    executable,
    read: () => bytes,
    readAt: (position, length) => bytes.subarray(position, position + length),
  };
}
