import { MbuildError } from '../../diagnostics/error';
import type { Image } from '../../images/image-store';
import { formatReference, parseReference } from '../../oci/reference';
import type { Engine } from '../../engine';
import { defineCommand } from '../command';
import { shownId } from '../format/images';
import { showError } from '../show-error';
import { collectGarbage, findImage, shortName, withServices } from '../services';

export const command = defineCommand({
  name: 'rmi',
  summary: 'Remove one or more images',
  usage: ['[OPTIONS] IMAGE [IMAGE...]'],
  positionals: { min: 1, max: Infinity },
  flags: {
    force: { kind: 'boolean', short: 'f', help: 'Remove an image with several names, and take no offence at one that is not there' },
    'no-prune': { kind: 'boolean', hidden: true, ignored: 'there are no untagged parents', help: 'Keep untagged parents' },
  },
  run: ({ flags, positionals }, host) => withServices(host, flags, async (services) => {
    let code = 0;
    for (const name of positionals) {
      try {
        host.out.write((await removeImage(services, name, flags.force)).map((line) => `${line}\n`).join(''));
      } catch (error) {
        await showError(error, host);
        if (!flags.force) code = 1;
      }
    }
    return code;
  }),
});

/**
 * By name: the name goes, and the image with its last one. By id: the image goes with its only name, with more than one only
 * by force. Returns docker's lines.
 */
async function removeImage(services: Engine, text: string, force: boolean): Promise<string[]> {
  const image = findImage(services, text);
  const name = nameMeant(image, text);
  if (name !== undefined && image.names.length > 1) {
    services.images.untag(name);
    return [`Untagged: ${shortName(name)}`];
  }
  if (name === undefined && image.names.length > 1 && !force) {
    const names = image.names.map(shortName).join(', ');
    throw new MbuildError('IMAGE_IN_USE', `unable to delete ${shownId(image.id, false)} (must be forced): it has the names ${names}`, { hint: 'remove the names one by one, or use --force' });
  }
  // An image tells its names as they are now: after this it has none.
  const untagged = image.names.map((known) => `Untagged: ${shortName(known)}`);
  services.images.remove(image.id);
  const { layers } = await collectGarbage(services);
  return [...untagged, `Deleted: ${image.id}`, ...layers.map(({ chainId }) => `Deleted: ${chainId}`)];
}

/** The name of the image that the text is, if it is one and not an id. */
function nameMeant(image: Image, text: string): string | undefined {
  const reference = parseReference(text);
  const full = reference === undefined ? undefined : formatReference(reference);
  return image.names.find((name) => name === full);
}
