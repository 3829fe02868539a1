import { MbuildError } from '../diagnostics/error';
import { namesOwner, resolveOwner, type ResolvedOwner } from '../snapshot/users';
import type { StepContext } from './planned';

/**
 * Who owns what COPY, ADD or WORKDIR makes, as the tree below defines the names.
 * @throws MbuildError USER_NOT_FOUND for a name where there is no tree yet: behind FROM scratch.
 */
export async function findOwner(
  spec: string,
  { services, parent }: StepContext,
): Promise<ResolvedOwner> {
  const stack = await parent.stack();
  if (stack.length === 0 && namesOwner(spec)) {
    throw new MbuildError('USER_NOT_FOUND', `cannot find ${spec}: the image is still empty`, {
      hint: 'write numbers, or copy an /etc/passwd first',
    });
  }
  return resolveOwner(services.snapshots.view(stack), spec);
}
