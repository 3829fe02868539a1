import { changesOf } from '../../containers/changes';
import { ContainerStore } from '../../containers/store';
import { writtenLayer } from '../../containers/written-layer';
import { visible } from '../../diagnostics/visible';
import { toText } from '../../linux/paths';
import { defineCommand } from '../command';
import { withServices } from '../services';

export const command = defineCommand({
  name: 'diff',
  summary: 'Show what a container changed in its files',
  usage: ['CONTAINER'],
  positionals: { min: 1, max: 1 },
  flags: {},
  notes: ['A added, C changed, D deleted.'],
  run: ({ flags, positionals: [name = ''] }, host) =>
    withServices(host, flags, (services) => {
      const store = new ContainerStore(services.root);
      const container = store.get(name);
      const changes = changesOf(
        writtenLayer(container, store, services),
        services.snapshots.view(container.record.image.stack),
        services.xattrs,
      );
      host.out.write(
        changes.map(({ kind, path }) => `${kind} ${visible(toText(path))}\n`).join(''),
      );
      return 0;
    }),
});
