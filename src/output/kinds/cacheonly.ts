import type { KeyTable } from '../../diagnostics/structured-option';
import { defineOutput, ELSEWHERE, type AnyOutput } from './kind';

/** `type=cacheonly`: the steps are done and cached, and no image comes of them. */
export interface CacheOnlyOutput extends AnyOutput {
  readonly type: 'cacheonly';
}

const NO_KEYS = {} as const satisfies KeyTable;

export const cacheonly = defineOutput<CacheOnlyOutput, typeof NO_KEYS>({
  type: 'cacheonly',
  keys: NO_KEYS,
  read: () => ({ type: 'cacheonly' }),
  traits: () => ({
    result: 'nothing',
    ...ELSEWHERE,
    takesBlobs: true,
    indexes: false,
    layers: 'none',
  }),
  export: () => Promise.resolve(undefined),
});
