import { MbuildError } from '../../diagnostics/error';
import { defineCommand } from '../command';

export const command = defineCommand({
  name: 'push',
  summary: 'Upload an image to a registry',
  usage: ['[OPTIONS] NAME[:TAG]'],
  positionals: { min: 1, max: 1 },
  flags: {},
  run: async () => {
    throw new MbuildError('UNSUPPORTED', "'mbuild push' comes with a later version");
  },
});
