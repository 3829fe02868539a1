import { MbuildError } from '../../diagnostics/error';
import { defineCommand } from '../command';

export const command = defineCommand({
  name: 'run',
  summary: 'Run a command in a new container from an image',
  usage: ['[OPTIONS] IMAGE [COMMAND] [ARG...]'],
  positionals: { min: 1, max: Infinity },
  flags: {},
  run: async () => {
    throw new MbuildError('UNSUPPORTED', "'mbuild run' comes with a later version");
  },
});
