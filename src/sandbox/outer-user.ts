import { readFileSync } from 'node:fs';

/** The variable by which mbuild in a user namespace knows who it is outside. */
export const OUTER_UID = 'MBUILD_OUTER_UID';

/** The user that mbuild runs as outside of the user namespace that it made itself; `undefined` when it made none. */
export function outerUid(env: NodeJS.ProcessEnv): number | undefined {
  const text = env[OUTER_UID];
  return text !== undefined && /^[0-9]{1,10}$/.test(text) && isInUserNamespace() ? Number(text) : undefined;
}

/** True when ids here are not the machine's. */
export function isInUserNamespace(): boolean {
  return !/^\s*0\s+0\s+4294967295\s*$/.test(idMap());
}

/** How many ids there are here. */
export function mappedIds(): number {
  return idMap().trim().split('\n').reduce((sum, line) => sum + Number(line.trim().split(/\s+/)[2]), 0);
}

/** user_namespaces(7) */
function idMap(): string {
  return readFileSync('/proc/self/uid_map', 'latin1');
}
