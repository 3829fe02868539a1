import type { Container } from '../containers/container';
import type { Image } from '../images/store/image-store';
import type { ImageUser } from '../images/collect/remove';

/** The containers of a store, the latest first. Their code is only loaded where they are asked for. */
export async function containersOf(root: string): Promise<readonly Container[]> {
  const { ContainerStore } = await import('../containers/store');
  return new ContainerStore(root).list();
}

/** Tells which containers were made of an image, running ones first. */
export async function imageUsers(root: string): Promise<(image: Image) => readonly ImageUser[]> {
  const containers = await containersOf(root);
  return (image) =>
    containers
      .filter(({ record }) => record.image.id === image.id)
      .map(({ record, state }) => ({
        id: record.id.slice(0, 12),
        running: state.status === 'running',
      }))
      .sort((a, b) => Number(b.running) - Number(a.running));
}
