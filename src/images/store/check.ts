import { asForeseen, isMbuildError, type MbuildError } from '../../diagnostics/error';
import { chainIds, digestOf, type ChainID, type Digest } from '../../oci/digest';
import type { ImageConfig, Manifest } from '../../oci/image';
import type { LayerId } from '../../snapshot/snapshotter';
import { findStrays, type CollectableStore, type Roots } from '../collect/gc';
import type { FileImageStore } from './file-image-store';
import type { LayerRecord } from './layer-index';
import { findLeftovers } from '../collect/leftovers';
import type { ImageServices } from './services';
import { isIntact } from './trust';

/** A store that can be verified. */
export interface CheckedStore extends ImageServices {
  readonly images: FileImageStore;
  readonly snapshots: ImageServices['snapshots'] & CollectableStore['snapshots'];
}

/** Something in a store that is not as it should be. */
export interface Problem {
  /** What it is about: `layer sha256:…`, `image app:latest`. */
  readonly subject: string;
  /** What is wrong with it, as the rest of a sentence. */
  readonly message: string;
  /**
   * Puts it right where that is possible, and takes it away where it is not; then it returns what
   * has to be done to have it again.
   */
  readonly repair: () => Promise<string | undefined> | string | undefined;
}

/** Something that could not be looked at, so that nothing is known of it. */
export interface Unread {
  readonly subject: string;
  /** Why: NO_SPACE, IO_FAILED and the like. */
  readonly error: MbuildError;
}

/** What was looked at, and what was found. */
export interface CheckResult {
  readonly counts: { readonly blobs: number; readonly layers: number; readonly images: number };
  readonly problems: readonly Problem[];
  /** What could not be looked at. It is not repaired, and neither is what needs it. */
  readonly unread: readonly Unread[];
  /**
   * Layers that are what their DiffIDs say, with all that are below them; and those of which
   * nothing is known.
   */
  readonly sound: ReadonlySet<ChainID>;
}

/**
 * Verifies a store by its bytes: every blob's digest; that every layer is the tree that its DiffID
 * names, and stands on one that is; that every image has its manifest, its config and its layers,
 * and every name an image. Nothing is changed before `repair` of a problem is called; they are to
 * be repaired in order. What cannot be read is no problem of the store's: it is told in `unread`.
 */
export async function checkStore(store: CheckedStore, signal: AbortSignal): Promise<CheckResult> {
  const look = new Look();
  const blobs = await checkBlobs(store, look, signal);
  const damaged = new Set(blobs.map(({ digest }) => digest));
  const { problems: layers, sound } = await checkLayers(store, look, signal);
  const images = await checkImages(store, damaged, sound, look);
  const names = checkNames(store, images.broken);
  return {
    counts: {
      blobs: store.content.list().length,
      layers: store.layers.list().length,
      images: store.images.ids().length,
    },
    problems: [...blobs, ...layers, ...images.problems, ...names],
    unread: look.unread,
    sound,
  };
}

/** Looks at one thing after another, and keeps what could not be looked at. */
class Look {
  readonly unread: Unread[] = [];

  /** @returns what was found, or `otherwise`. @throws what is no refusal of the system's. */
  async at<T>(subject: string, otherwise: T, find: () => T | Promise<T>): Promise<T> {
    try {
      return await find();
    } catch (thrown) {
      const error = asForeseen(thrown);
      if (!isMbuildError(error) || error.code === 'CANCELED') throw thrown;
      this.unread.push({ subject, error });
      return otherwise;
    }
  }
}

/**
 * Files and directories that ended processes left, and layers that were never recorded. They are
 * harmless, and go with the next collection.
 */
export function findOrphans(store: CheckedStore, roots: Roots): string[] {
  return [
    ...findLeftovers(store.root),
    ...findStrays(store, roots).map((id: LayerId) => store.snapshots.layerDir(id)),
  ];
}

async function checkBlobs(
  { content }: CheckedStore,
  look: Look,
  signal: AbortSignal,
): Promise<(Problem & { readonly digest: Digest })[]> {
  const problems: (Problem & { readonly digest: Digest })[] = [];
  for (const digest of content.list()) {
    signal.throwIfAborted();
    const subject = `blob ${digest}`;
    // Gone again counts as sound: another process has collected it.
    const isSound = await look.at(
      subject,
      true,
      async () => (await content.isIntact(digest)) || content.size(digest) === undefined,
    );
    if (isSound) continue;
    problems.push({
      digest,
      subject,
      message: 'has changed on disk',
      repair: () => void content.setAside(digest),
    });
  }
  return problems;
}

/** Bottom layers first, for those above are verified on top of them. */
async function checkLayers(
  store: CheckedStore,
  look: Look,
  signal: AbortSignal,
): Promise<{ readonly problems: readonly Problem[]; readonly sound: ReadonlySet<ChainID> }> {
  const problems: Problem[] = [];
  const sound = new Set<ChainID>();
  for (const record of bottomUp(store.layers.list())) {
    signal.throwIfAborted();
    const subject = `layer ${record.diffId}`;
    const message = await look.at(subject, undefined, () => faultOf(record, sound, store));
    if (message === undefined || store.layers.get(record.chainId) === undefined) {
      sound.add(record.chainId);
      continue;
    }
    problems.push({ subject, message, repair: () => repairLayer(record, store) });
  }
  return { problems, sound };
}

async function repairLayer(record: LayerRecord, store: CheckedStore): Promise<undefined> {
  const parentIsThere =
    record.parent === undefined || store.layers.get(record.parent) !== undefined;
  if (!parentIsThere || !(await isIntact(record, store, { repair: true })))
    store.layers.setAside(record.chainId);
}

async function faultOf(
  record: LayerRecord,
  sound: ReadonlySet<ChainID>,
  store: CheckedStore,
): Promise<string | undefined> {
  const { parent, diffId, chainId } = record;
  if (chainId !== ((parent === undefined ? diffId : digestOf(`${parent} ${diffId}`)) as string))
    return 'is recorded under a wrong name';
  if (parent !== undefined && !sound.has(parent))
    return 'is based on a layer that is missing or damaged';
  return (await isIntact(record, store, { repair: false }))
    ? undefined
    : 'is damaged: its files have changed on disk, or are gone';
}

function bottomUp(records: readonly LayerRecord[]): LayerRecord[] {
  const byChain = new Map(records.map((record) => [record.chainId, record]));
  const depth = (record: LayerRecord): number => {
    let below = 0;
    for (
      let at = record.parent;
      at !== undefined && below <= records.length;
      at = byChain.get(at)?.parent
    )
      below++;
    return below;
  };
  return records
    .map((record) => ({ record, depth: depth(record) }))
    .sort((a, b) => a.depth - b.depth)
    .map(({ record }) => record);
}

async function checkImages(
  store: CheckedStore,
  damaged: ReadonlySet<Digest>,
  sound: ReadonlySet<ChainID>,
  look: Look,
): Promise<{ readonly problems: readonly Problem[]; readonly broken: ReadonlySet<Digest> }> {
  const problems: Problem[] = [];
  const broken = new Set<Digest>();
  for (const id of store.images.ids()) {
    const fault = await look.at(`image ${id}`, undefined, () =>
      faultOfImage(id, store, damaged, sound),
    );
    if (fault === undefined) continue;
    broken.add(id);
    const names = [...store.images.namesOf(id)].filter((name) => !name.includes('@'));
    problems.push({
      subject: `image ${names.length === 0 ? id : names.join(', ')}`,
      message: fault,
      repair: () => {
        // Its layers may have been unpacked again since.
        if (faultOfImage(id, store, new Set(), undefined) === undefined) return undefined;
        store.images.setAside(id);
        return 'it was set aside; pull or build it again';
      },
    });
  }
  return { problems, broken };
}

/** @param sound the layers that can be relied on; those that are recorded when absent. */
function faultOfImage(
  id: Digest,
  { content, images, layers }: CheckedStore,
  damaged: ReadonlySet<Digest>,
  sound: ReadonlySet<ChainID> | undefined,
): string | undefined {
  const manifestId = images.manifestOf(id);
  if (manifestId === undefined) return 'has a record that cannot be read';
  const lacks = (digest: Digest): boolean =>
    damaged.has(digest) || content.size(digest) === undefined;
  if (lacks(manifestId)) return `lacks its manifest ${manifestId}`;
  if (lacks(id)) return `lacks its config ${id}`;
  const manifest = JSON.parse(content.read(manifestId).toString('utf8')) as Manifest;
  if (manifest.config.digest !== id) return 'has the manifest of another image';
  const { rootfs } = JSON.parse(content.read(id).toString('utf8')) as ImageConfig;
  const at = chainIds(rootfs.diff_ids).findIndex((chain) =>
    sound === undefined ? layers.get(chain) === undefined : !sound.has(chain),
  );
  return at < 0 ? undefined : `lacks its layer ${rootfs.diff_ids[at] ?? at}, or it is damaged`;
}

function checkNames({ images }: CheckedStore, broken: ReadonlySet<Digest>): Problem[] {
  const known = new Set(images.ids());
  return images.nameFiles().flatMap(({ file, record, setAside }): Problem[] => {
    const remove = (remedy: string): string => {
      setAside();
      return remedy;
    };
    if (record === undefined)
      return [
        {
          subject: `the name in ${file}`,
          message: 'cannot be read',
          repair: () => remove('it was set aside; name the image again'),
        },
      ];
    if (known.has(record.id) || broken.has(record.id)) return [];
    return [
      {
        subject: `name ${record.name}`,
        message: `stands for ${record.id}, which is not in the store`,
        repair: () => remove('it was set aside; pull or build the image again'),
      },
    ];
  });
}
