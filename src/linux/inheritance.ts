import { chmodSync, lstatSync } from 'node:fs';
import { errnoOf } from '../diagnostics/error';
import { toRaw } from './paths';
import { removeXattr } from './xattr';

const S_ISGID = 0o2000;
const PERMISSIONS = 0o7777;

/**
 * Takes away what a directory gives to all that is made in it: the group of a setgid directory
 * (inode(7)) and a default access control list (acl(5)). Where that may not be done, the directory
 * stays as it is.
 */
export function stopInheritance(directory: string): void {
  try {
    const mode = lstatSync(directory).mode & PERMISSIONS;
    if ((mode & S_ISGID) !== 0) chmodSync(directory, mode & ~S_ISGID);
    removeXattr(toRaw(directory), 'system.posix_acl_default');
  } catch (error) {
    if (!['EPERM', 'EACCES', 'EROFS', 'ENOTSUP', 'EOPNOTSUPP'].includes(errnoOf(error) ?? ''))
      throw error;
  }
}
