import type { LoadSource } from '../../images/transfer/image-files';
import { loadImages } from '../../images/transfer/load';
import { MbuildError } from '../../diagnostics/error';
import { withRow } from '../../progress/events';
import { defineCommand } from '../command';
import type { Host } from '../host';
import { withProgress } from '../progress';
import { readPlatformFlag, shortName, withServices } from '../services';

export const command = defineCommand({
  name: 'load',
  summary: 'Load images from an archive or standard input',
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 0 },
  flags: {
    input: {
      kind: 'string',
      short: 'i',
      value: 'PATH',
      help: 'Read a docker or OCI archive, or the directory of an OCI layout, instead of standard input',
    },
    platform: {
      kind: 'string',
      value: 'OS/ARCH',
      help: 'The platform to load, of an image for several platforms',
    },
    quiet: { kind: 'boolean', short: 'q', help: 'Show no progress' },
  },
  run: ({ flags }, host) =>
    withServices(host, flags, async (services) => {
      const source = sourceOf(flags.input, host);
      const platform = readPlatformFlag(flags.platform);
      const loaded = await withProgress(
        host,
        flags.quiet || !host.err.isTTY ? 'quiet' : 'auto',
        (scope) =>
          withRow(`loading ${flags.input ?? 'standard input'}`, 1, scope, (id) =>
            loadImages(source, platform, { services, vertex: id, scope }),
          ),
      );
      host.result?.(
        loaded.map(({ image, names }) => ({ id: image.id, names: names.map(shortName) })),
      );
      for (const { image, names } of loaded) {
        if (names.length === 0) host.out.write(`Loaded image ID: ${image.id}\n`);
        for (const name of names) host.out.write(`Loaded image: ${shortName(name)}\n`);
      }
      return 0;
    }),
});

function sourceOf(input: string | undefined, host: Host): LoadSource {
  if (input !== undefined && input !== '-') return { path: input };
  const stream = host.stdin();
  if (stream.isTTY)
    throw new MbuildError('USAGE', 'expected an archive on standard input, but it is a terminal', {
      hint: 'use --input FILE',
    });
  return { stream };
}
