import { MbuildError } from '../../diagnostics/error';
import { defineCommand } from '../command';

export const command = defineCommand({
  name: 'save',
  summary: 'Save one or more images to an archive',
  usage: ['[OPTIONS] IMAGE [IMAGE...]'],
  positionals: { min: 1, max: Infinity },
  flags: {},
  run: async () => {
    throw new MbuildError('UNSUPPORTED', "'mbuild save' comes with a later version");
  },
});
