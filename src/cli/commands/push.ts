import { MbuildError } from '../../diagnostics/error';
import { pushExporter } from '../../output/push';
import { formatReference, parseReference } from '../../oci/reference';
import { withRow } from '../../progress/events';
import { defineCommand } from '../command';
import { withProgress } from '../progress';
import { findImage, fullName, shortName, withServices } from '../services';

export const command = defineCommand({
  name: 'push',
  summary: 'Upload an image to a registry',
  usage: ['[OPTIONS] NAME[:TAG]'],
  positionals: { min: 1, max: 1 },
  flags: {
    'all-tags': { kind: 'boolean', short: 'a', help: 'Upload all tags of the repository' },
    quiet: { kind: 'boolean', short: 'q', help: 'Show no progress' },
  },
  run: ({ flags, positionals: [text = ''] }, host) => withServices(host, flags, async (services) => {
    const names = flags['all-tags'] ? tagsOf(text, services.images.list().flatMap((image) => image.names)) : [fullName(text)];
    for (const name of names) {
      const image = findImage(services, name);
      const exporter = pushExporter({ mountFrom: [...image.names, ...image.repoDigests] }, services, services.registry);
      const { descriptors: [descriptor] } = await withProgress(host, flags.quiet ? 'quiet' : 'auto', (scope) =>
        withRow(`pushing ${shortName(name)}`, 1, scope, (id) => exporter.export([{ image, names: [name] }], id, scope)));
      if (flags.quiet) host.out.write(`${name}\n`);
      else host.out.write(`${parseReference(name)?.tag ?? shortName(name)}: digest: ${descriptor?.digest ?? ''} size: ${descriptor?.size ?? 0}\n`);
    }
    return 0;
  }),
});

/** The store's names in the repository that was given. */
function tagsOf(text: string, names: readonly string[]): string[] {
  const wanted = parseReference(fullName(text));
  const found = names.filter((name) => {
    const reference = parseReference(name);
    return reference?.registry === wanted?.registry && reference?.repository === wanted?.repository;
  });
  if (found.length === 0) throw new MbuildError('IMAGE_NOT_FOUND', `no such image: ${wanted === undefined ? text : formatReference({ ...wanted, tag: undefined })}`);
  return found;
}
