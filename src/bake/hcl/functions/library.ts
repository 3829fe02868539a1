import { COLLECTIONS } from './collections';
import type { Library } from './define';
import { ENCODING } from './encoding';
import { NETWORK } from './network';
import { NUMBERS } from './numbers';
import { PATHS } from './paths';
import { STRINGS } from './strings';
import { TIME } from './time';
import { VERSIONS } from './versions';

/**
 * The functions that bake files have (buildx's standard library), but for `try`, `can` and
 * `convert`, which do not evaluate their arguments as others do.
 */
export const LIBRARY: Library = {
  ...COLLECTIONS,
  ...ENCODING,
  ...NETWORK,
  ...NUMBERS,
  ...PATHS,
  ...STRINGS,
  ...TIME,
  ...VERSIONS,
};
