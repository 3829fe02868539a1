import { commitContainer } from '../../containers/commit';
import { ContainerStore } from '../../containers/store';
import { defineCommand } from '../command';
import { newName, withServices } from '../services';

export const command = defineCommand({
  name: 'commit',
  summary: 'Make an image from the changes of a container',
  usage: ['[OPTIONS] CONTAINER [REPOSITORY[:TAG]]'],
  positionals: { min: 1, max: 2 },
  flags: {
    author: {
      kind: 'string',
      short: 'a',
      value: 'TEXT',
      help: 'Author, e.g. "Ada Lovelace <ada@example.org>"',
    },
    change: {
      kind: 'list',
      short: 'c',
      value: 'INSTRUCTION',
      help: 'Apply a Dockerfile instruction to the image',
    },
    message: { kind: 'string', short: 'm', value: 'TEXT', help: 'Comment for the history entry' },
    'no-pause': { kind: 'boolean', help: 'Do not pause the container meanwhile' },
    pause: {
      kind: 'optional',
      short: 'p',
      value: 'BOOL',
      implied: 'true',
      choices: ['true', 'false'],
      help: 'Pause the container meanwhile (the default)',
    },
  },
  run: ({ flags, positionals: [container = '', name] }, host) =>
    withServices(host, flags, async (services) => {
      const store = new ContainerStore(services.root);
      const image = await commitContainer(
        { container: store.get(container), store, services },
        {
          names: name === undefined ? [] : [newName(name)],
          message: flags.message,
          author: flags.author,
          changes: flags.change,
          pause: !flags['no-pause'] && flags.pause !== 'false',
        },
      );
      host.out.write(`${image.id}\n`);
      return 0;
    }),
});
