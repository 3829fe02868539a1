import { isInUserNamespace } from '../../linux/id-map';

/** The variable by which mbuild in a user namespace knows who it is outside. */
export const OUTER_UID = 'MBUILD_OUTER_UID';

/**
 * The user that mbuild runs as outside of the user namespace that it made itself; `undefined` when
 * it made none.
 */
export function outerUid(env: NodeJS.ProcessEnv): number | undefined {
  const text = env[OUTER_UID];
  return text !== undefined && /^[0-9]{1,10}$/.test(text) && isInUserNamespace()
    ? Number(text)
    : undefined;
}
