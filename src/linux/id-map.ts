import { readFileSync } from 'node:fs';

/** True when ids here are not the machine's. */
export function isInUserNamespace(): boolean {
  return !/^\s*0\s+0\s+4294967295\s*$/.test(idMap());
}

/** How many ids there are here. */
export function mappedIds(): number {
  return idMap()
    .trim()
    .split('\n')
    .reduce((sum, line) => sum + Number(line.trim().split(/\s+/)[2]), 0);
}

/** user_namespaces(7) */
function idMap(): string {
  return readFileSync('/proc/self/uid_map', 'latin1');
}
