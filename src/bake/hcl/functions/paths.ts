import { homedir } from 'node:os';
import { posix } from 'node:path';
import { define, type Library } from './define';

/** Functions on paths, as Go's path package has them. */
export const PATHS: Library = {
  basename: define(['string'], (path) => (path === '' ? '.' : posix.basename(path) || '/')),
  dirname: define(['string'], (path) => posix.normalize(posix.dirname(path))),
  homedir: define([], () => homedir()),
};
