import packageJson from '../../../package.json';
import { MbuildError } from '../../diagnostics/error';
import { visible } from '../../diagnostics/visible';
import { formatPlatform, hostPlatform } from '../../oci/platform';
import { defineCommand } from '../command';
import { renderList, type ListShape } from '../format/list';
import { note } from '../host';

/*
 * What tools ask docker's buildx before they build. There is one builder here, and it is always there: names are accepted and change nothing.
 */

/** The name of the one builder: docker's for the one that needs no set-up. */
const BUILDER = 'default';

const SHAPE: ListShape = {
  fields: {
    Name: 'NAME/NODE',
    DriverEndpoint: 'DRIVER/ENDPOINT',
    Status: 'STATUS',
    Buildkit: 'BUILDKIT',
    Platforms: 'PLATFORMS',
  },
  columns: ['Name', 'DriverEndpoint', 'Status', 'Buildkit', 'Platforms'],
};

export const version = defineCommand({
  name: 'buildx version',
  summary: 'Show the version in the form of docker buildx',
  usage: [''],
  positionals: { min: 0, max: 0 },
  flags: {},
  run: (_, { out }) => {
    out.write(`mbuild ${packageJson.version}\n`);
    return Promise.resolve(0);
  },
});

export const ls = defineCommand({
  name: 'buildx ls',
  summary: 'List the one builder',
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 0 },
  flags: {
    format: { kind: 'string', value: 'FORMAT', help: "'table', 'json', or a Go template" },
    'no-trunc': { kind: 'boolean', ignored: 'nothing is cut', help: 'Cut nothing' },
  },
  run: ({ flags: { format } }, { out }) => {
    if (format === 'json') out.write(`${JSON.stringify(builderJson())}\n`);
    else out.write(renderList(SHAPE, [builderRow()], format));
    return Promise.resolve(0);
  },
});

export const inspect = defineCommand({
  name: 'buildx inspect',
  summary: 'Show the one builder',
  usage: ['[OPTIONS] [NAME]'],
  positionals: { min: 0, max: 1 },
  flags: {
    bootstrap: { kind: 'boolean', help: 'Nothing is started: there is no daemon' },
    builder: { kind: 'string', value: 'NAME', ignored: 'there is one builder', help: 'Its name' },
  },
  run: ({ positionals: [name = BUILDER] }, { out }) => {
    const lines = [
      ['Name:', name],
      ['Driver:', 'mbuild'],
      ['', ''],
      ['Nodes:', ''],
      ['Name:', name],
      ['Endpoint:', name],
      ['Status:', 'running'],
      ['BuildKit version:', packageJson.version],
      ['Platforms:', formatPlatform(hostPlatform())],
    ];
    out.write(
      lines
        .map(([key = '', value = '']) => `${key.padEnd(16)} ${visible(value)}`.trimEnd())
        .join('\n') + '\n',
    );
    return Promise.resolve(0);
  },
});

export const create = defineCommand({
  name: 'buildx create',
  summary: 'Accept the name of a builder: there is one, and it needs no set-up',
  usage: ['[OPTIONS] [CONTEXT|ENDPOINT]'],
  positionals: { min: 0, max: 1 },
  flags: {
    name: { kind: 'string', value: 'NAME', help: 'Printed, as docker does' },
    use: { kind: 'boolean', help: 'It is always in use' },
    bootstrap: { kind: 'boolean', help: 'Nothing is started' },
    append: { kind: 'boolean', help: 'There is one node' },
    leave: { kind: 'boolean', help: 'There is one node' },
    node: { kind: 'string', value: 'NAME', help: 'There is one node' },
    driver: {
      kind: 'string',
      value: 'DRIVER',
      help: 'docker, docker-container: builds run here; remote and kubernetes are refused',
    },
    'driver-opt': { kind: 'list', value: 'NAME=VALUE', help: 'Said to have no effect' },
    platform: { kind: 'list', value: 'OS/ARCH', help: 'The platforms are those of this machine' },
    'buildkitd-flags': { kind: 'string', value: 'FLAGS', help: 'Said to have no effect' },
    'buildkitd-config': {
      kind: 'string',
      value: 'FILE',
      aliases: ['config'],
      help: 'Said to have no effect',
    },
  },
  run: ({ flags }, host) => {
    if (flags.driver === 'remote' || flags.driver === 'kubernetes')
      throw new MbuildError('UNSUPPORTED', `mbuild has no driver "${flags.driver}"`, {
        hint: 'builds run on this machine; several machines share a cache by --cache-to type=registry',
      });
    const idle = [
      ...flags['driver-opt'].map((option) => `--driver-opt ${option}`),
      ...(flags['buildkitd-config'] === undefined ? [] : ['--buildkitd-config']),
      ...(flags['buildkitd-flags'] === undefined ? [] : ['--buildkitd-flags']),
    ];
    for (const option of idle) note(host, `${option} has no effect: there is no BuildKit`);
    host.out.write(`${visible(flags.name ?? BUILDER)}\n`);
    return Promise.resolve(0);
  },
});

const SILENT = {
  usage: ['[OPTIONS] [NAME]'],
  positionals: { min: 0, max: Infinity },
} as const;
const SILENT_FLAGS = {
  builder: { kind: 'string', value: 'NAME', help: 'There is one builder' },
  default: { kind: 'boolean', help: 'It is always the default' },
  global: { kind: 'boolean', help: 'It is used in every context' },
  force: { kind: 'boolean', short: 'f', help: 'Nothing is asked' },
  'all-inactive': { kind: 'boolean', help: 'None is inactive' },
  'keep-state': { kind: 'boolean', help: 'The cache stays in any case' },
  'keep-daemon': { kind: 'boolean', help: 'There is no daemon' },
} as const;

export const use = defineCommand({
  ...SILENT,
  name: 'buildx use',
  summary: 'Accept the name of a builder: there is one, and it is in use',
  flags: SILENT_FLAGS,
  run: () => Promise.resolve(0),
});

export const rm = defineCommand({
  ...SILENT,
  name: 'buildx rm',
  summary: 'Accept the name of a builder: the one that there is stays',
  flags: SILENT_FLAGS,
  run: ({ positionals }, { err }) => {
    for (const name of positionals) err.write(`${visible(name)} removed\n`);
    return Promise.resolve(0);
  },
});

export const stop = defineCommand({
  ...SILENT,
  name: 'buildx stop',
  summary: 'Accept the name of a builder: there is no daemon to stop',
  flags: SILENT_FLAGS,
  run: () => Promise.resolve(0),
});

export const install = defineCommand({
  ...SILENT,
  name: 'buildx install',
  summary: "Nothing to do: 'mbuild build' is buildx build",
  flags: {},
  run: () => Promise.resolve(0),
});

function builderRow(): Record<string, string> {
  return {
    Name: `${BUILDER}*`,
    DriverEndpoint: 'mbuild',
    Status: 'running',
    Buildkit: packageJson.version,
    Platforms: formatPlatform(hostPlatform()),
  };
}

/** As `docker buildx ls --format json` has a builder. */
function builderJson(): Record<string, unknown> {
  const platforms = [formatPlatform(hostPlatform())];
  const node = {
    Name: BUILDER,
    Endpoint: BUILDER,
    Status: 'running',
    Version: packageJson.version,
  };
  return {
    Name: BUILDER,
    Driver: 'mbuild',
    Current: true,
    Dynamic: false,
    Nodes: [{ ...node, Platforms: platforms }],
  };
}
