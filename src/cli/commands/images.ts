import { noteUnreadableImages } from '../containers-of';
import { defineCommand } from '../command';
import {
  filterImages,
  imageRows,
  imageSummaries,
  imagesShape,
  latestFirst,
  parseImageFilter,
  shownId,
} from '../format/images';
import { renderList } from '../format/list';
import { lookUp, withServices } from '../services';

export const command = defineCommand({
  name: 'images',
  summary: 'List images',
  usage: ['[OPTIONS] [REPOSITORY[:TAG]]'],
  positionals: { min: 0, max: 1 },
  flags: {
    all: {
      kind: 'boolean',
      short: 'a',
      help: 'Show all images (no effect: mbuild has no intermediate images)',
    },
    digests: { kind: 'boolean', help: 'Show digests' },
    filter: {
      kind: 'list',
      short: 'f',
      value: 'NAME=VALUE',
      help: 'Only images with: dangling, label, before, since, reference, until',
    },
    format: {
      kind: 'string',
      value: 'FORMAT',
      help: "'table', 'table TEMPLATE', 'json', or a Go template",
    },
    'no-trunc': { kind: 'boolean', help: "Don't truncate output" },
    quiet: { kind: 'boolean', short: 'q', help: 'Only show image IDs' },
  },
  run: ({ flags, positionals: [pattern] }, host) =>
    withServices(host, flags, (services) => {
      const filters = [
        ...flags.filter,
        ...(pattern === undefined ? [] : [`reference=${pattern}`]),
      ].map(parseImageFilter);
      const all = services.images.list();
      noteUnreadableImages(services.images, all, host);
      const images = filterImages(all, filters, (name) => lookUp(services, name), host.now());
      host.result?.(imageSummaries(images, services.layers));
      if (flags.quiet && flags.format === undefined) {
        host.out.write(
          latestFirst(images)
            .map((image) => `${shownId(image.id, flags['no-trunc'])}\n`)
            .join(''),
        );
      } else {
        host.out.write(
          renderList(
            imagesShape(flags.digests),
            imageRows(images, services.layers, { noTrunc: flags['no-trunc'], now: host.now() }),
            flags.format,
          ),
        );
      }
      return 0;
    }),
});
