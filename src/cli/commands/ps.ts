import { ContainerStore } from '../../containers/store';
import { treeSize } from '../../containers/changes';
import { noteUnreadable } from '../containers-of';
import { defineCommand } from '../command';
import {
  containerRows,
  containersShape,
  filterContainers,
  shownContainerId,
} from '../format/containers';
import { renderList } from '../format/list';
import { withServices } from '../services';
import { chainIds } from '../../oci/digest';

export const command = defineCommand({
  name: 'ps',
  summary: 'List containers',
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 0 },
  flags: {
    all: { kind: 'boolean', short: 'a', help: 'Also list stopped containers' },
    filter: {
      kind: 'list',
      short: 'f',
      value: 'NAME=VALUE',
      help: 'Only containers with: id, name, label, status, exited, ancestor, before, since, volume, network',
    },
    format: {
      kind: 'string',
      value: 'FORMAT',
      help: "'table', 'table TEMPLATE', 'json', or a Go template",
    },
    last: {
      kind: 'number',
      short: 'n',
      value: 'NUMBER',
      help: 'The last N created containers, also stopped ones',
    },
    latest: {
      kind: 'boolean',
      short: 'l',
      help: 'The last created container, also a stopped one',
    },
    'no-trunc': { kind: 'boolean', help: "Don't truncate output" },
    quiet: { kind: 'boolean', short: 'q', help: 'Only show container IDs' },
    size: { kind: 'boolean', short: 's', help: 'Show sizes' },
  },
  run: ({ flags }, host) =>
    withServices(host, flags, (services) => {
      const store = new ContainerStore(services.root);
      const found = store.list((id, why) => noteUnreadable(host, `container ${id}`, why));
      const last = flags.latest ? 1 : flags.last;
      // A filter by state looks at all.
      const all =
        flags.all ||
        last !== undefined ||
        flags.filter.some((filter) => /^(status|exited)=/.test(filter));
      const containers = filterContainers(found, flags.filter, (name) => store.get(name))
        .filter(({ state }) => all || state.status === 'running')
        .slice(0, last);
      if (flags.quiet && flags.format === undefined) {
        host.out.write(
          containers
            .map(({ record }) => `${shownContainerId(record.id, flags['no-trunc'])}\n`)
            .join(''),
        );
        return 0;
      }
      const rows = containerRows(containers, {
        noTrunc: flags['no-trunc'],
        now: host.now(),
        ...(flags.size || flags.format?.includes('.Size') === true
          ? {
              sizeOf: ({ record }) => {
                const own = treeSize(store.writableLayer(record).dir);
                const below = chainIds(record.image.config.rootfs.diff_ids).reduce(
                  (sum, chain) => sum + (services.layers.get(chain)?.contentSize ?? 0),
                  0,
                );
                return { own, total: own + below };
              },
            }
          : {}),
      });
      host.out.write(renderList(containersShape(flags.size), rows, flags.format));
      return 0;
    }),
});
