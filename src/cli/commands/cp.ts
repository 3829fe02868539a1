import { copyFromContainer, copyToContainer } from '../../containers/copy';
import { ContainerStore } from '../../containers/store';
import { usageError } from '../args';
import { defineCommand } from '../command';
import { withServices } from '../services';

/** A place of `cp`: in a container, or on the host; `-` is a stream. */
interface Place {
  readonly container?: string | undefined;
  readonly path: string;
}

export const command = defineCommand({
  name: 'cp',
  summary: 'Copy files between a container and the host',
  usage: ['[OPTIONS] CONTAINER:SOURCE TARGET|-', '[OPTIONS] SOURCE|- CONTAINER:TARGET'],
  positionals: { min: 2, max: 2 },
  flags: {
    archive: { kind: 'boolean', short: 'a', help: 'Keep owners' },
    'follow-link': {
      kind: 'boolean',
      short: 'L',
      help: 'Follow a symlink given as the source',
    },
    quiet: {
      kind: 'boolean',
      short: 'q',
      hidden: true,
      ignored: 'nothing is shown',
      help: 'Not needed',
    },
  },
  notes: ['"-" is a tar on standard output or input.'],
  run: ({ flags, positionals: [from = '', to = ''] }, host) =>
    withServices(host, flags, async (services) => {
      const store = new ContainerStore(services.root);
      const [source, target] = [readPlace(from), readPlace(to)];
      const options = { archive: flags.archive, follow: flags['follow-link'] };
      if (source.container !== undefined && target.container === undefined) {
        const destination = target.path === '-' ? { stream: host.stdout() } : { path: target.path };
        await copyFromContainer(
          { container: store.get(source.container), store, services },
          source.path,
          destination,
          { ...options, signal: host.signal },
        );
      } else if (source.container === undefined && target.container !== undefined) {
        const origin = source.path === '-' ? { stream: host.stdin() } : { path: source.path };
        await copyToContainer(
          { container: store.get(target.container), store, services },
          origin,
          target.path,
          options,
        );
      } else {
        throw usageError(
          'mbuild cp',
          source.container === undefined
            ? 'one of the two must be CONTAINER:PATH'
            : 'copying between containers is not supported',
          'usage: mbuild cp CONTAINER:SOURCE TARGET',
        );
      }
      return 0;
    }),
});

/** A colon makes a container's, unless the text begins like a path. */
function readPlace(text: string): Place {
  const colon = text.indexOf(':');
  if (colon < 1 || /^[./]/.test(text)) return { path: text };
  return { container: text.slice(0, colon), path: text.slice(colon + 1) };
}
