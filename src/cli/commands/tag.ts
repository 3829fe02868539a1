import { defineCommand } from '../command';
import { findImage, newName, withServices } from '../services';

export const command = defineCommand({
  name: 'tag',
  summary: 'Give an image one or more additional names',
  usage: ['SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG] [TARGET_IMAGE[:TAG]...]'],
  positionals: { min: 2, max: Infinity },
  flags: {},
  run: ({ flags, positionals: [source = '', ...targets] }, host) =>
    withServices(host, flags, (services) => {
      const names = targets.map(newName);
      const { id } = findImage(services, source);
      for (const name of names) services.images.tag(id, name);
      return 0;
    }),
});
