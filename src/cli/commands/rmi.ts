import type { Image } from '../../images/store/image-store';
import { removeImage, type Removal, type Removed } from '../../images/collect/remove';
import { chainIds } from '../../oci/digest';
import type { LayerRecord } from '../../images/store/layer-index';
import { imageUsers } from '../containers-of';
import { defineCommand } from '../command';
import { showError } from '../show-error';
import { collectGarbage, findImage, withServices } from '../services';

export const command = defineCommand({
  name: 'rmi',
  summary: 'Remove one or more images',
  usage: ['[OPTIONS] IMAGE [IMAGE...]'],
  positionals: { min: 1, max: Infinity },
  flags: {
    force: {
      kind: 'boolean',
      short: 'f',
      help: 'Also remove images with several names or a stopped container, and ignore missing images',
    },
    'no-prune': {
      kind: 'boolean',
      hidden: true,
      ignored: 'mbuild keeps no untagged parents',
      help: 'Keep untagged parents',
    },
  },
  run: ({ flags, positionals }, host) =>
    withServices(host, flags, async (services) => {
      const users = await imageUsers(services.root, host);
      const removals: Removal[] = [];
      let failed = false;
      for (const text of positionals) {
        try {
          removals.push(
            removeImage(text, findImage(services, text), services.images, {
              force: flags.force,
              users,
            }),
          );
        } catch (error) {
          await showError(error, host);
          failed ||= !flags.force || !isMissing(error);
        }
      }
      if (removals.some(({ deleted }) => deleted.length > 0)) {
        const { layers } = await collectGarbage(services);
        host.out.write(linesOf(withLayers(removals, layers)).join(''));
      } else {
        host.out.write(linesOf(removals.flatMap(({ removed }) => removed)).join(''));
      }
      return failed ? 1 : 0;
    }),
});

function isMissing(error: unknown): boolean {
  return (error as { code?: unknown }).code === 'IMAGE_NOT_FOUND';
}

/** A layer goes with the last of the images that stood on it; from the top down. */
function withLayers(removals: readonly Removal[], layers: readonly LayerRecord[]): Removed[] {
  const stands = (image: Image): ReadonlySet<string> =>
    new Set(chainIds(image.config.rootfs.diff_ids));
  const stacks = removals.map(({ deleted }) => deleted.map(stands));
  const lastWith = (chainId: string): number =>
    stacks.findLastIndex((sets) => sets.some((set) => set.has(chainId)));
  return removals.flatMap(({ removed }, i) => [
    ...removed,
    ...layers
      .filter(({ chainId }) => lastWith(chainId) === i)
      .map(({ chainId }): Removed => ({ kind: 'deleted', digest: chainId })),
  ]);
}

function linesOf(removed: readonly Removed[]): string[] {
  return removed.map((item) =>
    item.kind === 'untagged' ? `Untagged: ${item.name}\n` : `Deleted: ${item.digest}\n`,
  );
}
