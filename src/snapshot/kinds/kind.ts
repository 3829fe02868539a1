import type { DirectorySnapshotter } from '../directory';
import type { Ground } from '../ground-file';

/** What a snapshotter is opened on. */
export interface SnapshotterPlace {
  /** The store's directory. */
  readonly root: string;
  readonly ground: Pick<Ground, 'marks' | 'reason'>;
}

/**
 * One way to keep trees. Every start of mbuild loads all of them: the snapshotter itself stands in
 * another file, which {@link open} imports.
 */
export interface SnapshotterKind<Name extends string = string> {
  /** As `--snapshotter` names it. */
  readonly name: Name;
  /** Whether its trees are mounted: an isolation that mounts nothing can't use it. */
  readonly mounts: boolean;
  /**
   * Whether it is taken when none is asked for, where the isolation can use it; missing for one
   * that has to be asked for.
   */
  readonly isChosen?: ((ground: SnapshotterPlace['ground']) => boolean) | undefined;
  /**
   * @throws MbuildError STORE_UNUSABLE or SANDBOX_UNAVAILABLE where trees cannot be kept in this
   * way.
   */
  open(place: SnapshotterPlace): Promise<DirectorySnapshotter>;
}
