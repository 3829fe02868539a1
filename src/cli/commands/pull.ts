import { MbuildError } from '../../diagnostics/error';
import { pullImage } from '../../images/pull';
import { formatReference, parseReference, type Reference } from '../../oci/reference';
import type { Registry } from '../../registry/registry';
import { withRow } from '../../progress/events';
import { defineCommand } from '../command';
import { withProgress } from '../progress';
import { readPlatformFlag, withServices, fullName, shortName } from '../services';

export const command = defineCommand({
  name: 'pull',
  summary: 'Download an image from a registry',
  usage: ['[OPTIONS] NAME[:TAG|@DIGEST]'],
  positionals: { min: 1, max: 1 },
  flags: {
    'all-tags': { kind: 'boolean', short: 'a', help: 'Download all tags of the repository' },
    platform: { kind: 'string', value: 'OS/ARCH', env: ['DOCKER_DEFAULT_PLATFORM'], help: 'Platform of the image' },
    quiet: { kind: 'boolean', short: 'q', help: 'Show no progress' },
  },
  run: ({ flags, positionals: [text = ''] }, host) => withServices(host, flags, async (services) => {
    const reference = readReference(text);
    const platform = readPlatformFlag(flags.platform);
    for (const ref of flags['all-tags'] ? await everyTag(reference, services.registry, host.signal) : [reference]) {
      const name = shortName(formatReference(ref));
      const pulled = await withProgress(host, flags.quiet ? 'quiet' : 'auto', (scope) =>
        withRow(`pulling ${name}`, 1, scope, (id) => pullImage({ ref, platform }, services, services.registry, id, scope)));
      if (!flags.quiet) {
        host.out.write(`Digest: ${pulled.descriptor.digest}\nStatus: ${pulled.changed ? 'Downloaded newer image' : 'Image is up to date'} for ${name}\n`);
      }
      host.out.write(`${formatReference(ref)}\n`);
    }
    return 0;
  }),
});

function readReference(text: string): Reference {
  const reference = parseReference(fullName(text));
  if (reference === undefined) throw new MbuildError('REFERENCE_INVALID', `invalid reference format: ${JSON.stringify(text)}`);
  return reference;
}

async function everyTag({ registry: host, repository }: Reference, registry: Registry, signal: AbortSignal): Promise<Reference[]> {
  const tags = await registry.tags({ registry: host, repository }, signal);
  if (tags === undefined) throw new MbuildError('IMAGE_NOT_FOUND', `${host} has no repository ${repository}`);
  return tags.map((tag) => ({ registry: host, repository, tag }));
}
