import { isolationOf, type IsolationName } from '../../sandbox/isolations/isolations';
import { storeObstacle } from '../../snapshot/ground';
import type { Ground } from '../../snapshot/ground-file';

/** What is known of the place where the store is or would be. */
export interface StoreFacts {
  readonly root: string;
  readonly fileSystem: string;
  /** How trees are kept; `none` where there can be no store. */
  readonly snapshotter: 'overlay' | 'copy' | 'none';
  readonly why?: string | undefined;
  readonly fix?: string | undefined;
  /** What `--snapshotter=fuse-overlayfs` would need, where something can be mounted. */
  readonly fuse?:
    | { readonly works: boolean; readonly why: string; readonly fix?: string | undefined }
    | undefined;
}

/** A place, and what was found out there. */
export interface StorePlace {
  readonly root: string;
  readonly fileSystem: string;
  /** Of a store that is there already. */
  readonly known: Pick<Ground, 'marks' | 'reason'> | undefined;
  /** Tries it out; asked where there is no store yet. */
  readonly ground: () => Pick<Ground, 'marks' | 'reason'>;
}

/**
 * How a store at a place keeps trees, for who isolates RUN in this way; where not by overlays, why,
 * and what would help.
 */
export function storeFacts(
  { root, fileSystem, known, ground }: StorePlace,
  chosen: IsolationName | undefined,
): StoreFacts {
  const facts = { root, fileSystem };
  const obstacle = known === undefined ? storeObstacle(fileSystem) : undefined;
  if (obstacle !== undefined)
    return {
      ...facts,
      snapshotter: 'none',
      why: obstacle,
      fix: 'put the store on a disk of this machine: --root DIR',
    };
  const { marks, reason } = known ?? ground();
  if (chosen === undefined || !isolationOf(chosen).mounts)
    return { ...facts, snapshotter: 'copy', why: 'nothing can be mounted' };
  if (marks !== 'files' && reason === undefined) return { ...facts, snapshotter: 'overlay' };
  const fix =
    fileSystem === 'overlay'
      ? `put the store on a volume: docker run -v mbuild:${root} …`
      : 'put the store on a local file system: --root DIR';
  return { ...facts, snapshotter: 'copy', why: reason, fix };
}

/** The same for people. */
export function storeText({ root, fileSystem, snapshotter, why, fix, fuse }: StoreFacts): string {
  const use = snapshotter === 'none' ? 'cannot be used' : `trees by ${snapshotter}`;
  const way =
    fix === undefined
      ? ''
      : `   to get ${snapshotter === 'none' ? 'a store' : 'overlays'}: ${fix}\n`;
  return `Store: ${root} on ${fileSystem}, ${use}${why === undefined ? '' : ` (${why})`}\n${way}${fuseText(fuse)}`;
}

function fuseText(fuse: StoreFacts['fuse']): string {
  if (fuse === undefined) return '';
  const way = fuse.fix === undefined ? '' : `   to get fuse-overlayfs: ${fuse.fix}\n`;
  return `   fuse-overlayfs  ${fuse.works ? 'works' : 'no'}  ${fuse.why}\n${way}`;
}
