import type { Transferred } from '../../api/results';
import { MbuildError } from '../../diagnostics/error';
import { mountSources } from '../../images/transfer/mount-sources';
import { pushExporter } from '../../output/push';
import {
  familiarRepository,
  formatReference,
  parseReference,
  type Reference,
} from '../../oci/reference';
import { PUSH_FLAGS, defineCommand } from '../command';
import { withTransfer } from '../progress';
import { fullName, shortName, withServices } from '../services';

export const command = defineCommand({
  name: 'push',
  summary: 'Upload an image to a registry',
  usage: ['[OPTIONS] NAME[:TAG]'],
  positionals: { min: 1, max: 1 },
  flags: {
    'all-tags': { kind: 'boolean', short: 'a', help: 'Upload all tags of the repository' },
    'disable-content-trust': {
      kind: 'boolean',
      ignored: 'Notary, which it belongs to, no longer exists',
      hidden: true,
      help: 'Skip signing',
    },
    quiet: { kind: 'boolean', short: 'q', help: 'Show no progress' },
    ...PUSH_FLAGS,
  },
  run: ({ flags, positionals: [text = ''] }, host) =>
    withServices(host, flags, async (services) => {
      const wanted = readReference(text);
      const repository = familiarRepository(wanted);
      const tagged = /:[^/]*$/.test(text);
      if (flags['all-tags'] && tagged)
        throw new MbuildError('USAGE', "tag can't be used with --all-tags/-a");
      const known = services.images
        .list()
        .flatMap((image) => image.names)
        .sort();
      const names = flags['all-tags']
        ? known.filter((name) => isOf(name, wanted))
        : [formatReference(wanted)];
      if (names.length === 0 || (!flags['all-tags'] && !known.includes(names[0] ?? '')))
        throw notThere(wanted, known);
      if (!flags.quiet) {
        if (!flags['all-tags'] && !tagged) host.out.write('Using default tag: latest\n');
        host.out.write(`The push refers to repository [${wanted.registry}/${wanted.repository}]\n`);
        await host.out.drain();
      }
      const transferred: Transferred[] = [];
      for (const name of names) {
        // Images for several platforms under one name leave as an index of it.
        const images = services.images.named(name);
        const outgoing = images.map((image) => ({
          image,
          names: [name],
          ...(images.length > 1 ? { group: 0 } : {}),
        }));
        const exporter = pushExporter(
          { mountFrom: mountSources(services) },
          services,
          services.registry,
        );
        const { descriptors, indexes } = await withTransfer(host, 'push', flags.quiet, (scope) =>
          exporter.export(outgoing, 1, scope),
        );
        const descriptor = indexes?.[0] ?? descriptors[0];
        if (descriptor !== undefined)
          transferred.push({ name: shortName(name), descriptor, changed: true });
        if (descriptor !== undefined)
          for (const { id } of images) services.images.addDigest(id, name, descriptor.digest);
        const tag = parseReference(name)?.tag ?? '';
        if (!flags.quiet)
          host.out.write(
            `${tag}: digest: ${descriptor?.digest ?? ''} size: ${descriptor?.size ?? 0}\n`,
          );
      }
      host.result?.(transferred);
      if (flags.quiet) host.out.write(`${flags['all-tags'] ? repository : names.join('')}\n`);
      return 0;
    }),
});

function readReference(text: string): Reference {
  const reference = parseReference(fullName(text));
  if (reference?.digest !== undefined)
    throw new MbuildError('REFERENCE_INVALID', 'cannot push a digest reference', {
      hint: 'give it a tag first: mbuild tag',
    });
  if (reference === undefined)
    throw new MbuildError('REFERENCE_INVALID', `invalid reference format: ${JSON.stringify(text)}`);
  return reference;
}

function isOf(name: string, { registry, repository }: Reference): boolean {
  const reference = parseReference(name);
  return reference?.registry === registry && reference.repository === repository;
}

function notThere(wanted: Reference, known: readonly string[]): MbuildError {
  const tags = known
    .filter((name) => isOf(name, wanted))
    .flatMap((name) => parseReference(name)?.tag ?? []);
  const repository = `${wanted.registry}/${wanted.repository}`;
  if (tags.length > 0)
    return new MbuildError(
      'IMAGE_NOT_FOUND',
      `tag does not exist: ${repository}:${wanted.tag ?? ''}`,
      { hint: `its tags are ${tags.join(', ')}` },
    );
  return new MbuildError(
    'IMAGE_NOT_FOUND',
    `an image does not exist locally with the tag: ${repository}`,
    { hint: "list the images with 'mbuild images'; add a name with 'mbuild tag'" },
  );
}
