import type { Transferred } from '../../api/results';
import { MbuildError } from '../../diagnostics/error';
import { didYouMean } from '../../diagnostics/suggest';
import { pullImage, type Pulled } from '../../images/transfer/pull';
import {
  familiarName,
  familiarRepository,
  formatReference,
  parseReference,
  type Reference,
} from '../../oci/reference';
import type { Registry } from '../../registry/registry';
import { RETRY_FLAGS, defineCommand } from '../command';
import { note, type Host } from '../host';
import { withTransfer } from '../progress';
import { readPlatformFlag, withServices, fullName } from '../services';

export const command = defineCommand({
  name: 'pull',
  summary: 'Download an image from a registry',
  usage: ['[OPTIONS] NAME[:TAG|@DIGEST]'],
  positionals: { min: 1, max: 1 },
  flags: {
    'all-tags': { kind: 'boolean', short: 'a', help: 'Download all tags of the repository' },
    'disable-content-trust': {
      kind: 'boolean',
      ignored: 'Notary, which it belongs to, no longer exists',
      hidden: true,
      help: 'Skip verification',
    },
    platform: {
      kind: 'string',
      value: 'OS/ARCH',
      env: ['DOCKER_DEFAULT_PLATFORM'],
      help: 'Platform for the image',
    },
    quiet: { kind: 'boolean', short: 'q', help: 'Show no progress' },
    ...RETRY_FLAGS,
  },
  run: ({ flags, positionals: [text = ''] }, host) =>
    withServices(host, flags, async (services) => {
      const reference = readReference(text);
      const all = flags['all-tags'];
      const platform = readPlatformFlag(flags.platform);
      const say = (line: string): void => {
        if (!flags.quiet) host.out.write(`${line}\n`);
      };
      if (all && (reference.digest !== undefined || isTagged(text)))
        throw new MbuildError('USAGE', "tag can't be used with --all-tags/-a");
      if (!all && reference.digest === undefined && !isTagged(text))
        say('Using default tag: latest');
      const name = all ? familiarRepository(reference) : familiarName(reference);
      const transferred: Transferred[] = [];
      for (const ref of all ? await everyTag(reference, services.registry, host) : [reference]) {
        say(`${ref.digest ?? ref.tag ?? ''}: Pulling from ${ref.repository}`);
        await host.out.drain();
        const pulled: Pulled = await withTransfer(host, 'pull', flags.quiet, (scope) =>
          pullImage({ ref, platform }, services.registry, { services, vertex: 1, scope }),
        );
        say(`Digest: ${pulled.descriptor.digest}`);
        transferred.push({
          name: familiarName(ref),
          descriptor: pulled.descriptor,
          changed: pulled.changed,
        });
      }
      host.result?.(transferred);
      const changed = transferred.some((one) => one.changed);
      say(`Status: ${changed ? 'Downloaded newer image' : 'Image is up to date'} for ${name}`);
      host.out.write(
        `${all ? formatReference({ ...reference, tag: undefined }) : formatReference(reference)}\n`,
      );
      return 0;
    }),
});

function readReference(text: string): Reference {
  const reference = parseReference(fullName(text));
  if (reference === undefined)
    throw new MbuildError('REFERENCE_INVALID', `invalid reference format: ${JSON.stringify(text)}`);
  return reference;
}

function isTagged(text: string): boolean {
  return /:[^/]*$/.test(text.split('@')[0] ?? '');
}

async function everyTag(
  { registry: server, repository }: Reference,
  registry: Registry,
  host: Host,
): Promise<Reference[]> {
  const tags = await registry.tags({ registry: server, repository }, host.signal);
  if (tags === undefined || tags.length === 0) {
    const others = await registry.repositories(server, host.signal).catch(() => []);
    throw new MbuildError('IMAGE_NOT_FOUND', `${server} has no repository ${repository}`, {
      hint: didYouMean(repository, others),
    });
  }
  if (tags.length > 100) note(host, `${repository} has ${tags.length} tags`);
  return tags.sort().map((tag) => ({ registry: server, repository, tag }));
}
