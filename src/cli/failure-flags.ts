import type { FlagTable } from './args';

/** What a build does where a RUN fails. */
export const FAILURE_FLAGS = {
  'keep-failed': {
    kind: 'string',
    value: 'BYTES',
    fallback: '2gb',
    help: 'Keep the trees of failed steps for a day, up to this size, for mbuild debug; 0 for none',
  },
  'on-error': {
    kind: 'string',
    value: 'ACTION',
    choices: ['stop', 'shell'],
    fallback: 'stop',
    help: "What a RUN that fails leads to: 'stop', or on a terminal a 'shell' in the step, then retry, continue or abort",
  },
} as const satisfies FlagTable;
