import type { KeyValue } from '../../cache/key';
import { MbuildError } from '../../diagnostics/error';
import type { Step } from '../../graph/graph';
import type { Operation } from '../../graph/graph';
import { namesOwner, resolveOwner } from '../../snapshot/users';
import type { MergedView } from '../../snapshot/view';

/** What is known of the tree that a step starts on, as far as users in it go. */
export interface TreeBelow {
  /** Nothing was put there: `FROM scratch`. */
  readonly isEmpty: boolean;
  /** A step may have written users since. */
  readonly mayHaveUsers: boolean;
  /** The base's files, where they are at hand. */
  readonly view: MergedView | undefined;
}

/** `--chown` as a key has it. */
export interface OwnerSymbol {
  /** `[uid, gid]`, or the words themselves where the numbers are not known. */
  readonly value: KeyValue;
  /** What is not known, in words. */
  readonly unknown?: string | undefined;
}

/** Numbers need no tree to look names up in. */
const NO_VIEW: MergedView = {
  lstat: () => undefined,
  stat: () => undefined,
  resolve: (path) => path,
  readdir: () => [],
};

/**
 * The owner of a copy. A name that a step made, or that an image has which is not at hand, stands for itself: on one tree one
 * name is one number. @throws MbuildError USER_NOT_FOUND where a build has no tree to look into.
 */
export function ownerSymbol(operation: Operation, below: TreeBelow, step: Step): OwnerSymbol {
  if (operation.kind !== 'copy' || operation.chown === undefined) return { value: undefined };
  const { chown } = operation;
  if (!namesOwner(chown)) return { value: numbersOf(NO_VIEW, chown) };
  if (below.isEmpty)
    throw new MbuildError(
      'USER_NOT_FOUND',
      `${chown} cannot be looked up: the image is still empty`,
      { file: step.file, range: step.range },
    );
  if (below.view !== undefined && !below.mayHaveUsers)
    return { value: numbersOf(below.view, chown) };
  return {
    value: `the owner ${chown}`,
    unknown: `--chown=${chown} stands for itself: ${below.mayHaveUsers ? 'an earlier step makes it' : 'the base image is not at hand'}`,
  };
}

/** Whether a step may change /etc/passwd or /etc/group. */
export function writesUsers(operation: Operation): boolean {
  if (operation.kind === 'run') return true;
  if (operation.kind === 'mkdir') return false;
  return /^\/(?:etc(?:\/|$)|$)/.test(operation.dest);
}

function numbersOf(view: MergedView, chown: string): KeyValue {
  const { uid, gid } = resolveOwner(view, chown);
  return [uid, gid];
}
