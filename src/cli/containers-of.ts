import type { Container } from '../containers/container';
import type { Digest } from '../oci/digest';
import { note, type Host } from './host';
import type { Image } from '../images/store/image-store';
import type { ImageUser } from '../images/collect/remove';

/**
 * The containers of a store, the latest first; those that cannot be read are named in notes. Their
 * code is only loaded where they are asked for.
 */
export async function containersOf(root: string, host: Host): Promise<readonly Container[]> {
  const { ContainerStore } = await import('../containers/store');
  return new ContainerStore(root).list((id, why) => noteUnreadable(host, `container ${id}`, why));
}

/** Names an entry that a list leaves out. */
export function noteUnreadable(host: Host, entry: string, why: Error | undefined): void {
  const reason = why === undefined ? '' : ` (${why.message})`;
  note(
    host,
    `${entry} cannot be read and is left out${reason}; to learn more, run 'mbuild system check'`,
  );
}

/** Names the images whose records or blobs cannot be read. */
export function noteUnreadableImages(
  images: { readonly ids: () => readonly Digest[] },
  list: readonly Image[],
  host: Host,
): void {
  const readable = new Set(list.map(({ id }) => id));
  for (const id of images.ids())
    if (!readable.has(id))
      noteUnreadable(host, `image ${id.slice('sha256:'.length, 19)}`, undefined);
}

/** Tells which containers were made of an image, running ones first. */
export async function imageUsers(
  root: string,
  host: Host,
): Promise<(image: Image) => readonly ImageUser[]> {
  const containers = await containersOf(root, host);
  return (image) =>
    containers
      .filter(({ record }) => record.image.id === image.id)
      .map(({ record, state }) => ({
        id: record.id.slice(0, 12),
        running: state.status === 'running',
      }))
      .sort((a, b) => Number(b.running) - Number(a.running));
}
