import { jsonText } from '../../diagnostics/visible';
import { findWaste } from '../../report/waste';
import { compareTrees } from '../../verify/compare-trees';
import { defineCommand } from '../command';
import { showChanges, showWaste } from '../format/image-changes';
import { withImages } from '../placed-images';
import { findImage, withServices } from '../services';

const FORMAT = {
  kind: 'string',
  value: 'FORMAT',
  choices: ['text', 'json'],
  fallback: 'text',
  help: "'text' or 'json'",
} as const;

export const waste = defineCommand({
  name: 'image waste',
  summary:
    'Show the wasted space of an image: files that are overwritten or deleted later, or stored several times',
  usage: ['[OPTIONS] IMAGE'],
  positionals: { min: 1, max: 1 },
  flags: { format: FORMAT },
  notes: [
    'Lines refer to the Dockerfile of the build that made the image, if the store has its record.',
  ],
  run: ({ flags, positionals: [name = ''] }, host) =>
    withServices(host, flags, (services) => {
      const found = findWaste(findImage(services, name), services);
      host.out.write(flags.format === 'json' ? `${jsonText(found, 2)}\n` : showWaste(found));
      return 0;
    }),
});

export const diff = defineCommand({
  name: 'image diff',
  summary: 'Show how the files of two images differ',
  usage: ['[OPTIONS] IMAGE|ARCHIVE IMAGE|ARCHIVE'],
  positionals: { min: 2, max: 2 },
  flags: {
    format: FORMAT,
    times: { kind: 'boolean', help: 'Also show files that differ only in their time' },
  },
  notes: [
    'A added, C changed, D deleted, as a container sees the files. To compare layer by layer: mbuild verify.',
  ],
  run: ({ flags, positionals: [first = '', second = ''] }, host) =>
    withImages([first, second], host, flags, (one, other) => {
      const [from, to] = [one, other].map(({ image, services }) =>
        services.snapshots.view(image.stack),
      );
      const differences =
        from === undefined || to === undefined
          ? []
          : [...compareTrees(from, to, { ignoreTimes: !flags.times })];
      host.out.write(
        flags.format === 'json' ? `${jsonText(differences, 2)}\n` : showChanges(differences),
      );
      return Promise.resolve(0);
    }),
});
