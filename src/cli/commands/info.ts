import { arch, availableParallelism, release, totalmem } from 'node:os';
import packageJson from '../../../package.json';
import { humanSize } from '../../progress/units';
import { defineCommand } from '../command';
import { parseTemplate } from '../format/go-template';
import { goJson } from '../format/go-value';
import { withServices } from '../services';

export const command = defineCommand({
  name: 'info',
  summary: 'Show the store and what this machine can do',
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 0 },
  flags: {
    format: { kind: 'string', short: 'f', value: 'FORMAT', help: "'json', or a Go template" },
  },
  run: ({ flags }, host) =>
    withServices(host, flags, (services) => {
      const facts = {
        ServerVersion: packageJson.version,
        Root: services.root,
        Images: services.images.list().length,
        Layers: services.layers.list().length,
        NCPU: availableParallelism(),
        MemTotal: totalmem(),
        OSType: process.platform,
        Architecture: arch(),
        KernelVersion: release(),
        NodeVersion: process.version,
      };
      if (flags.format !== undefined) {
        host.out.write(
          `${flags.format === 'json' ? goJson(facts) : parseTemplate(flags.format).execute(facts)}\n`,
        );
        return 0;
      }
      const lines = Object.entries({
        Version: facts.ServerVersion,
        Store: facts.Root,
        Images: facts.Images,
        Layers: facts.Layers,
        CPUs: facts.NCPU,
        'Total Memory': humanSize(facts.MemTotal),
        'OS/Arch': `${facts.OSType}/${facts.Architecture}`,
        'Kernel Version': facts.KernelVersion,
        'Node.js': facts.NodeVersion,
      });
      host.out.write(lines.map(([name, value]) => `${name}: ${value}\n`).join(''));
      return 0;
    }),
});
