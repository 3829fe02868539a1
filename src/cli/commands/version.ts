import { arch, release } from 'node:os';
import packageJson from '../../../package.json';
import { defineCommand } from '../command';
import { parseTemplate } from '../format/go-template';
import { goJson } from '../format/go-value';

export const command = defineCommand({
  name: 'version',
  summary: 'Show the version',
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 0 },
  flags: {
    format: { kind: 'string', short: 'f', value: 'FORMAT', help: "'json', or a Go template" },
  },
  run: async ({ flags: { format } }, { out }) => {
    const facts = {
      Version: packageJson.version,
      NodeVersion: process.version,
      Os: process.platform,
      Arch: arch(),
      KernelVersion: release(),
    };
    const view = { ...facts, Client: facts, Server: facts };
    if (format === undefined) out.write(`mbuild version ${facts.Version}\n`);
    else out.write(`${format === 'json' ? goJson(facts) : parseTemplate(format).execute(view)}\n`);
    return 0;
  },
});
