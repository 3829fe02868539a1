import { MbuildError } from '../../diagnostics/error';
import { defineCommand } from '../command';

export const command = defineCommand({
  name: 'prune',
  summary: 'Remove what nothing needs',
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 0 },
  flags: {},
  run: async () => {
    throw new MbuildError('UNSUPPORTED', "'mbuild prune' comes with a later version");
  },
});
