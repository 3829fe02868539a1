import packageJson from '../../../package.json';
import { defineCommand } from '../command';
import { parseTemplate } from '../format/go-template';
import { goJson } from '../format/go-value';
import { API_VERSION, MIN_API_VERSION, goArch, kernel } from '../format/machine';

export const command = defineCommand({
  name: 'version',
  summary: 'Show the version',
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 0 },
  flags: {
    format: { kind: 'string', short: 'f', value: 'FORMAT', help: "'json', or a Go template" },
  },
  notes: [
    "Templates have docker's keys: .Client.Version, .Server.APIVersion, .Server.Os, .Server.Arch and others.",
    'Client and server are one program; the API version is that of docker 28.5, whose commands mbuild has.',
  ],
  run: async ({ flags: { format } }, { out }) => {
    const facts = {
      Version: packageJson.version,
      ApiVersion: API_VERSION,
      APIVersion: API_VERSION,
      MinAPIVersion: MIN_API_VERSION,
      Os: process.platform,
      Arch: goArch(),
      KernelVersion: kernel(),
      NodeVersion: process.version,
    };
    const client = { ...facts, DefaultAPIVersion: API_VERSION, Context: 'default' };
    const server = {
      ...facts,
      Platform: { Name: 'mbuild' },
      Components: [{ Name: 'mbuild', Version: facts.Version }],
    };
    const view = { ...facts, Client: client, Server: server };
    if (format === undefined) out.write(`mbuild version ${facts.Version}\n`);
    else out.write(`${format === 'json' ? goJson(view) : parseTemplate(format).execute(view)}\n`);
    return 0;
  },
});
