import { hashValue } from '../cache/key';
import { MbuildError } from '../diagnostics/error';
import { namesOwner, resolveOwner, type ResolvedOwner } from '../snapshot/users';
import { EMPTY_VIEW } from '../snapshot/merged-view';
import type { StepContext } from './planned';

/**
 * Who owns what COPY, ADD or WORKDIR makes, as the tree below defines the names.
 * @throws MbuildError USER_NOT_FOUND for a name where there is no tree yet: behind FROM scratch.
 */
export async function findOwner(
  spec: string,
  { services, parent }: StepContext,
): Promise<ResolvedOwner> {
  // Numbers are looked up nowhere: the tree need not be fetched for them.
  if (!namesOwner(spec)) return resolveOwner(EMPTY_VIEW, spec);
  const stack = await parent.stack();
  if (stack.length === 0) {
    throw new MbuildError('USER_NOT_FOUND', `cannot find ${spec}: the image is still empty`, {
      hint: 'write numbers, or copy an /etc/passwd first',
    });
  }
  return resolveOwner(services.snapshots.view(stack), spec);
}

/** An owner as a step's key has it. */
export interface PlannedOwner {
  readonly owner: ResolvedOwner;
  /** The name under which it is remembered, and the text that is. Absent for numbers. */
  readonly remembered?: readonly [name: string, text: string] | undefined;
  /** Looks where it matters. @throws MbuildError CACHE_INVALID for one that a cache told wrongly. */
  readonly check: () => Promise<void>;
}

/**
 * The same for a step's key: what the names stand for in a tree is remembered, here and in caches
 * elsewhere, so that no tree is fetched to find a step in the cache.
 * @throws MbuildError as {@link findOwner}.
 */
export async function planOwner(spec: string, context: StepContext): Promise<PlannedOwner> {
  const { parent, services } = context;
  const check = (): Promise<void> => Promise.resolve();
  if (!namesOwner(spec)) return { owner: await findOwner(spec, context), check };
  const memo = hashValue(['owner', parent.result, spec]);
  const own = services.cache.recall(memo);
  const known = readOwner(own);
  if (own !== undefined && known !== undefined)
    return { owner: known, remembered: [memo, own], check };
  const text = services.remote?.recall(memo);
  const told = readOwner(text);
  if (text !== undefined && told !== undefined)
    return { owner: told, remembered: [memo, text], check: () => checkTold(text, memo) };
  const owner = await findOwner(spec, context);
  // One that is not there is told of each time: that is a warning.
  if (owner.unknown.length > 0) return { owner, check };
  services.cache.remember(memo, textOf(owner));
  return { owner, remembered: [memo, textOf(owner)], check };

  async function checkTold(wanted: string, name: string): Promise<void> {
    const there = await findOwner(spec, context);
    if (there.unknown.length === 0 && textOf(there) === wanted) return;
    throw services.remote?.refuseDigest(name) ?? new Error('told by nobody');
  }
}

function textOf({ uid, gid }: ResolvedOwner): string {
  return `${uid}:${gid}`;
}

/** `undefined` for what is not two ids. */
function readOwner(text: string | undefined): ResolvedOwner | undefined {
  const [, uid, gid] = /^(\d{1,10}):(\d{1,10})$/.exec(text ?? '') ?? [];
  return uid === undefined ? undefined : { uid: Number(uid), gid: Number(gid), unknown: [] };
}
