import { MbuildError } from '../../diagnostics/error';
import { defineCommand } from '../command';
import { parseTemplate } from '../format/go-template';
import { renderList, type ListShape } from '../format/list';

/** The networks that containers can have, by docker's names. An id says nothing here: it is made of the name. */
const NETWORKS = [
  { Name: 'bridge', Driver: 'bridge', Id: '0'.repeat(63) + '1' },
  { Name: 'host', Driver: 'host', Id: '0'.repeat(63) + '2' },
  { Name: 'none', Driver: 'null', Id: '0'.repeat(63) + '3' },
] as const;

const SHAPE: ListShape = {
  fields: { ID: 'NETWORK ID', Name: 'NAME', Driver: 'DRIVER', Scope: 'SCOPE' },
  columns: ['ID', 'Name', 'Driver', 'Scope'],
};

export const ls = defineCommand({
  name: 'network ls',
  summary: 'List the networks that containers can have',
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 0 },
  flags: {
    format: { kind: 'string', value: 'FORMAT', help: "'table', 'json', or a Go template" },
    'no-trunc': { kind: 'boolean', help: 'Show whole ids' },
    quiet: { kind: 'boolean', short: 'q', help: 'Print ids only' },
  },
  notes: ["bridge is mbuild's private network: behind pasta or slirp4netns, each container alone."],
  run: ({ flags }, host) => {
    const rows = NETWORKS.map(({ Name, Driver, Id }) => ({
      ID: flags['no-trunc'] ? Id : Id.slice(-12),
      Name,
      Driver,
      Scope: 'local',
    }));
    const ids = rows.map(({ ID }) => `${ID}\n`).join('');
    host.out.write(flags.quiet ? ids : renderList(SHAPE, rows, flags.format));
    return Promise.resolve(0);
  },
});

export const inspect = defineCommand({
  name: 'network inspect',
  summary: 'Show what is known of networks',
  usage: ['[OPTIONS] NETWORK [NETWORK...]'],
  positionals: { min: 1, max: Infinity },
  flags: { format: { kind: 'string', short: 'f', value: 'FORMAT', help: 'A Go template' } },
  run: ({ flags, positionals }, host) => {
    const found = positionals.map(describe);
    if (flags.format === undefined || flags.format === 'json')
      host.out.write(`${JSON.stringify(found, undefined, 4)}\n`);
    else {
      const template = parseTemplate(flags.format);
      for (const network of found) host.out.write(`${template.execute(network)}\n`);
    }
    return Promise.resolve(0);
  },
});

/** As docker writes it; there are no addresses to tell of. */
function describe(name: string): Record<string, unknown> {
  const network = NETWORKS.find(({ Name, Id }) => Name === name || Id.endsWith(name));
  if (network === undefined)
    throw new MbuildError('CONTAINER_NOT_FOUND', `no such network: ${name}`, {
      hint: `there are ${NETWORKS.map(({ Name }) => Name).join(', ')}`,
    });
  return {
    Name: network.Name,
    Id: network.Id,
    Scope: 'local',
    Driver: network.Driver,
    EnableIPv6: false,
    IPAM: { Driver: 'default', Options: null, Config: [] },
    Internal: false,
    Attachable: false,
    Ingress: false,
    Containers: {},
    Options: {},
    Labels: {},
  };
}
