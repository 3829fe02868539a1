import { ContainerStore } from '../../containers/store';
import { superviseDetached } from '../attach';
import { defineCommand } from '../command';
import { withServices } from '../services';

export const command = defineCommand({
  name: 'container supervise',
  hidden: true,
  summary: 'Watch over a detached container; mbuild starts this itself',
  usage: ['CONTAINER'],
  positionals: { min: 1, max: 1 },
  flags: {},
  run: ({ flags, positionals: [id = ''] }, host) =>
    withServices(host, flags, async (services) => {
      const store = new ContainerStore(services.root);
      await superviseDetached(store.get(id).record, store, services, host);
      return 0;
    }),
});
