import { createHash, type Hash } from 'node:crypto';

/**
 * Hash of stored bytes, `sha256:<64 hex>`: how blobs, manifests and configs are named. OCI
 * image-spec, descriptor.md.
 */
export type Digest = `sha256:${string}` & { readonly __brand?: 'Digest' };

/** Hash of a layer's uncompressed tar: what the image config lists under `rootfs.diff_ids`. */
export type DiffID = `sha256:${string}` & { readonly __brand: 'DiffID' };

/**
 * Hash of a stack of DiffIDs, the name of the tree that they unpack to. OCI image-spec, config.md,
 * "Layer ChainID".
 */
export type ChainID = `sha256:${string}` & { readonly __brand: 'ChainID' };

const DIGEST = /^sha256:[0-9a-f]{64}$/;

/**
 * True for a well-formed `sha256:` digest; other algorithms are not accepted anywhere in mbuild.
 */
export function isDigest(text: string): text is Digest {
  return DIGEST.test(text);
}

/** The sha256 digest of bytes held in memory. */
export function digestOf(bytes: Uint8Array | string): Digest {
  return toDigest(createHash('sha256').update(bytes));
}

/** Finishes a running sha256 hash into a digest. */
export function toDigest(hash: Hash): Digest {
  return `sha256:${hash.digest('hex')}` as Digest;
}

/** The 64 hex characters of a digest: a file name in `blobs/sha256/`. */
export function hexOf(digest: Digest | DiffID | ChainID): string {
  return digest.slice('sha256:'.length);
}

/**
 * The ChainIDs of each prefix of a stack, bottom layer first: `chainIds([a,b])` is
 * `[a, sha256(a + ' ' + b)]`.
 */
export function chainIds(diffIds: readonly DiffID[]): ChainID[] {
  const chains: ChainID[] = [];
  for (const diffId of diffIds) {
    const parent = chains.at(-1);
    chains.push(
      (parent === undefined ? diffId : digestOf(`${parent} ${diffId}`)) as unknown as ChainID,
    );
  }
  return chains;
}
