import { mistake } from '../state';

/** Bytes of a name; linux/limits.h, NAME_MAX. */
const MAX_NAME = 255;
/** The last id: the one behind it means "as it is" to chown(2). */
const MAX_ID = 0xfffffffe;

/**
 * A path that a file system can have.
 * @throws MbuildError DOCKERFILE_SEMANTIC for a NUL, or a name that is too long.
 */
export function checkedPath(path: string): string {
  if (path.includes('\0'))
    throw mistake('DOCKERFILE_SEMANTIC', `the path ${shown(path)} holds a NUL`, 'remove it');
  const long = path.split('/').find((name) => Buffer.byteLength(name) > MAX_NAME);
  if (long !== undefined)
    throw mistake(
      'DOCKERFILE_SEMANTIC',
      `the name ${shown(long)} has ${Buffer.byteLength(long)} bytes`,
      `a name in a path may have at most ${MAX_NAME}`,
    );
  return path;
}

/** The owner of --chown. @throws MbuildError DOCKERFILE_SEMANTIC for a number that is no id. */
export function checkedOwner(owner: string | undefined): string | undefined {
  for (const part of owner?.split(':') ?? []) {
    if (!/^\d+$/.test(part) || Number(part) <= MAX_ID) continue;
    throw mistake(
      'DOCKERFILE_SEMANTIC',
      `${part} in --chown=${owner ?? ''} is not a user or group id`,
      `the largest id is ${MAX_ID}`,
    );
  }
  return owner;
}

function shown(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
