import { applyChanges } from '../../containers/apply-changes';
import { importImage } from '../../images/transfer/import';
import { withRow } from '../../progress/events';
import { defineCommand } from '../command';
import { withProgress } from '../progress';
import { newName, readPlatformFlag, withServices } from '../services';

export const command = defineCommand({
  name: 'import',
  summary: 'Make an image from a tar of a root file system',
  usage: ['[OPTIONS] FILE|- [REPOSITORY[:TAG]]'],
  positionals: { min: 1, max: 2 },
  flags: {
    change: {
      kind: 'list',
      short: 'c',
      value: 'INSTRUCTION',
      help: 'Apply a Dockerfile instruction to the image',
    },
    message: { kind: 'string', short: 'm', value: 'TEXT', help: 'Comment for the history entry' },
    platform: { kind: 'string', value: 'OS/ARCH', help: 'Platform for the image' },
  },
  run: ({ flags, positionals: [file = '-', name] }, host) =>
    withServices(host, flags, async (services) => {
      const image = await withProgress(host, host.err.isTTY ? 'auto' : 'quiet', (scope) =>
        withRow(`importing ${file}`, 1, scope, async () =>
          importImage(
            {
              source: file === '-' ? { stream: host.stdin() } : { path: file },
              label: file,
              name: name === undefined ? undefined : newName(name),
              config: await applyChanges({}, flags.change),
              message: flags.message,
              platform: readPlatformFlag(flags.platform),
            },
            services,
            scope,
          ),
        ),
      );
      host.out.write(`${image.id}\n`);
      return 0;
    }),
});
