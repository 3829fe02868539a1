import { copy } from './copy';
import { fuseOverlayfs } from './fuse-overlayfs';
import type { SnapshotterKind, SnapshotterPlace } from './kind';
import { overlay } from './overlay';

/** The ways to keep trees, from the best to the least. */
const TABLE = [overlay, fuseOverlayfs, copy] as const;

export type SnapshotterName = (typeof TABLE)[number]['name'];

export const SNAPSHOTTERS: readonly SnapshotterKind<SnapshotterName>[] = TABLE;

/**
 * The snapshotter of a name; the best one for a place when none is named.
 * @param canMount whether trees can be mounted.
 */
export function snapshotterFor(
  name: SnapshotterName | undefined,
  ground: SnapshotterPlace['ground'],
  canMount: boolean,
): SnapshotterKind<SnapshotterName> {
  const kind =
    name === undefined
      ? SNAPSHOTTERS.find(
          ({ mounts, isChosen }) => (canMount || !mounts) && isChosen?.(ground) === true,
        )
      : SNAPSHOTTERS.find((candidate) => candidate.name === name);
  return kind ?? copy;
}
