import { MbuildError } from '../../diagnostics/error';
import { Lease } from '../../images/store/lease';
import type { Destination } from '../../output/destination';
import { dockerExporter } from '../../output/docker';
import type { Outgoing } from '../../output/exporter';
import { ociExporter } from '../../output/oci';
import { formatReference, parseReference } from '../../oci/reference';
import { withRow } from '../../progress/events';
import { defineCommand } from '../command';
import type { Host } from '../host';
import { withProgress } from '../progress';
import { findImage, withServices } from '../services';

export const command = defineCommand({
  name: 'save',
  summary: 'Save one or more images to an archive',
  usage: ['[OPTIONS] IMAGE [IMAGE...]'],
  positionals: { min: 1, max: Infinity },
  flags: {
    format: {
      kind: 'string',
      value: 'FORMAT',
      choices: ['docker', 'oci'],
      fallback: 'docker',
      help: 'Format of the archive',
    },
    output: {
      kind: 'string',
      short: 'o',
      value: 'FILE',
      help: 'Write to a file instead of standard output',
    },
  },
  run: ({ flags, positionals }, host) =>
    withServices(host, flags, async (services) => {
      const destination = destinationOf(flags.output, host);
      const images = outgoing(
        positionals.map((text) => ({ image: findImage(services, text), text })),
      );
      const exporter =
        flags.format === 'oci'
          ? ociExporter({ destination }, services)
          : dockerExporter({ destination }, services);
      const lease = new Lease(services.root);
      try {
        for (const { image } of images)
          lease.hold({
            layers: image.stack,
            blobs: [
              image.id,
              image.descriptor.digest,
              ...image.manifest.layers.map((layer) => layer.digest),
            ],
          });
        await withProgress(host, host.err.isTTY ? 'auto' : 'quiet', (scope) =>
          withRow(`saving ${positionals.join(', ')}`, 1, scope, (id) =>
            exporter.export(images, id, scope),
          ),
        );
        return 0;
      } finally {
        lease.release();
      }
    }),
});

function destinationOf(output: string | undefined, host: Host): Destination {
  if (output !== undefined && output !== '-') return { path: output };
  if (host.out.isTTY)
    throw new MbuildError('USAGE', 'refusing to write an archive to a terminal', {
      hint: 'redirect standard output, or use --output FILE',
    });
  return { stream: host.stdout() };
}

/**
 * Each image once, under the names by which it was asked for; one asked for by its id has none, as
 * with docker.
 */
function outgoing(
  asked: readonly { readonly image: Outgoing['image']; readonly text: string }[],
): Outgoing[] {
  const byId = new Map<string, Outgoing>();
  for (const { image, text } of asked) {
    const reference = parseReference(text);
    const name =
      reference === undefined
        ? undefined
        : image.names.find((known) => known === formatReference(reference));
    const names = byId.get(image.id)?.names ?? [];
    byId.set(image.id, {
      image,
      names: name === undefined || names.includes(name) ? names : [...names, name],
    });
  }
  return [...byId.values()];
}
