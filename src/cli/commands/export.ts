import { containerView } from '../../containers/process-spec';
import { whilePaused } from '../../containers/pause';
import { ContainerStore } from '../../containers/store';
import { MbuildError } from '../../diagnostics/error';
import { writeTo } from '../../output/destination';
import { treeTar } from '../../output/tar';
import { defineCommand } from '../command';
import { withServices } from '../services';

export const command = defineCommand({
  name: 'export',
  summary: 'Write the files of a container as a tar',
  usage: ['[OPTIONS] CONTAINER'],
  positionals: { min: 1, max: 1 },
  flags: {
    output: {
      kind: 'string',
      short: 'o',
      value: 'FILE',
      help: 'Write to a file instead of standard output',
    },
  },
  notes: ['Volumes are left out. A running container is paused meanwhile.'],
  run: ({ flags, positionals: [name = ''] }, host) =>
    withServices(host, flags, async (services) => {
      const store = new ContainerStore(services.root);
      const container = store.get(name);
      const toFile = flags.output !== undefined && flags.output !== '-';
      if (!toFile && host.out.isTTY)
        throw new MbuildError('USAGE', 'refusing to write an archive to a terminal', {
          hint: 'redirect standard output, or use --output FILE',
        });
      const destination = toFile ? { path: flags.output } : { stream: host.stdout() };
      await whilePaused(container, () =>
        writeTo(
          destination,
          treeTar(containerView(container.record, store, services)),
          host.signal,
        ),
      );
      return 0;
    }),
});
