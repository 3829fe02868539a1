import { existsSync } from 'node:fs';
import { tempName } from '../content/files';
import { MbuildError } from '../diagnostics/error';
import { openEngine, type Engine } from '../engine';
import type { Image } from '../images/store/image-store';
import { loadImages } from '../images/transfer/load';
import { removeTree } from '../linux/remove-tree';
import { withRow } from '../progress/events';
import type { PlacedImage } from '../verify/compare-images';
import type { Host } from './host';
import { withProgress } from './progress';
import { engineOptions, findImage, lookUp, withServices, type StoreFlags } from './services';

/**
 * Lets a command use two images, each named as the store has it, or by the path of an archive or
 * layout.
 */
export function withImages<T>(
  [first, second]: readonly [string, string],
  host: Host,
  flags: StoreFlags,
  use: (first: PlacedImage, second: PlacedImage) => Promise<T>,
): Promise<T> {
  return withServices(host, flags, (services) =>
    withImage(first, { services, host, flags }, (one) =>
      withImage(second, { services, host, flags }, (other) => use(one, other)),
    ),
  );
}

/** Where images are looked up, and how further stores are opened. */
interface Place {
  readonly services: Engine;
  readonly host: Host;
  readonly flags: StoreFlags;
}

/**
 * An image of the store by its name or id; of an archive or layout by its path, unpacked into a
 * store that goes when `use` is done.
 */
async function withImage<T>(
  text: string,
  { services, host, flags }: Place,
  use: (image: PlacedImage) => Promise<T>,
): Promise<T> {
  const known = lookUp(services, text);
  if (known !== undefined || !existsSync(text))
    return use({ image: known ?? findImage(services, text), services });
  const root = tempName(services.root, 'verify');
  const store = await openEngine({ ...engineOptions(host, flags), root });
  try {
    return await use({ image: await onlyImage(text, store, host), services: store });
  } finally {
    await store.close();
    removeTree(root);
  }
}

/** @throws MbuildError USAGE for an archive with several. */
async function onlyImage(file: string, store: Engine, host: Host): Promise<Image> {
  const loaded = await withProgress(host, 'quiet', (scope) =>
    withRow(`loading ${file}`, 1, scope, (id) =>
      loadImages({ path: file }, undefined, { services: store, vertex: id, scope }),
    ),
  );
  const images = new Map(loaded.map(({ image }) => [image.id, image]));
  const [only] = images.values();
  if (only !== undefined && images.size === 1) return only;
  throw new MbuildError('USAGE', `${file} holds ${images.size} images`, {
    hint: `load it with: mbuild load -i ${file}; then compare by name`,
  });
}
