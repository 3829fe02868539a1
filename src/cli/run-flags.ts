import type { FlagTable } from './args';
import { LIMIT_FLAGS } from './limit-options';

/** What `run` and `create` take. */
export const CREATE_FLAGS = {
  ...LIMIT_FLAGS,
  'add-host': { kind: 'list', value: 'NAME:IP', help: 'Add a line to /etc/hosts' },
  entrypoint: {
    kind: 'string',
    value: 'PROGRAM',
    help: 'Replace the entrypoint and the command of the image',
  },
  env: {
    kind: 'list',
    short: 'e',
    value: 'NAME[=VALUE]',
    help: 'Set a variable; without =VALUE, the value comes from the environment',
  },
  'env-file': { kind: 'list', value: 'FILE', help: 'Read variables from a file, one on each line' },
  interactive: { kind: 'boolean', short: 'i', help: 'Pass on standard input' },
  label: { kind: 'list', short: 'l', value: 'KEY=VALUE', help: 'Metadata of the container' },
  mount: {
    kind: 'list',
    value: 'type=TYPE,source=SOURCE,target=TARGET',
    help: 'A bind mount, a volume or a tmpfs: type=bind,source=PATH,target=PATH[,readonly]',
  },
  name: { kind: 'string', value: 'NAME', help: 'Name of the container' },
  network: {
    kind: 'string',
    value: 'MODE',
    choices: ['host', 'none', 'private'],
    aliases: ['net'],
    help: "Use 'host' (the default), 'none', or 'private': a network of its own, through pasta or slirp4netns",
  },
  platform: {
    kind: 'string',
    value: 'OS/ARCH',
    env: ['DOCKER_DEFAULT_PLATFORM'],
    help: 'Platform for the image',
  },
  publish: {
    kind: 'list',
    short: 'p',
    value: '[[IP:]PORT:]PORT',
    help: 'Publish a port of the container on the host; this gives the container a private network',
  },
  'publish-all': {
    kind: 'boolean',
    short: 'P',
    help: 'Publish all exposed ports of the image on free ports of the host',
  },
  privileged: {
    kind: 'boolean',
    unsupported:
      'a container never gets all rights on the machine; add what it needs with --cap-add',
    help: 'Not supported',
  },
  pull: {
    kind: 'string',
    value: 'WHEN',
    choices: ['always', 'missing', 'never'],
    fallback: 'missing',
    help: 'When to ask the registry for the image',
  },
  quiet: { kind: 'boolean', short: 'q', help: 'Show no progress of pulling' },
  'read-only': { kind: 'boolean', help: 'Make the root file system read-only' },
  rm: {
    kind: 'boolean',
    help: 'Remove the container and its anonymous volumes when it ends',
  },
  'shm-size': { kind: 'string', value: 'BYTES', help: 'Size of /dev/shm' },
  'stop-signal': { kind: 'string', value: 'SIGNAL', help: "The signal that 'stop' sends first" },
  'stop-timeout': {
    kind: 'number',
    value: 'SECONDS',
    help: "Seconds that 'stop' waits before it kills",
  },
  tmpfs: { kind: 'list', value: 'PATH[:size=…,mode=…]', help: 'Mount a file system in memory' },
  tty: { kind: 'boolean', short: 't', help: 'Give the container a terminal' },
  ulimit: { kind: 'list', value: 'NAME=SOFT[:HARD]', help: 'Set a process limit' },
  user: { kind: 'string', short: 'u', value: 'USER[:GROUP]', help: 'Run the command as this user' },
  volume: {
    kind: 'list',
    short: 'v',
    value: '[SOURCE:]TARGET[:ro]',
    help: 'Mount a path of the host, or a named volume, in the container',
  },
  workdir: { kind: 'string', short: 'w', value: 'PATH', help: 'Working directory' },
  init: {
    kind: 'boolean',
    hidden: true,
    ignored: 'signals reach the command without it',
    help: 'Not needed',
  },
  'security-opt': {
    kind: 'list',
    value: 'OPTION',
    help: 'no-new-privileges: programs cannot raise their rights',
  },
} as const satisfies FlagTable;

/** What `run` takes besides. */
export const RUN_FLAGS = {
  ...CREATE_FLAGS,
  attach: {
    kind: 'list',
    short: 'a',
    value: 'STREAM',
    help: 'Attach STDIN, STDOUT or STDERR alone (default: all)',
  },
  detach: { kind: 'boolean', short: 'd', help: 'Leave the container running and print its id' },
  'sig-proxy': { kind: 'boolean', hidden: true, help: 'Pass signals on to the command' },
} as const satisfies FlagTable;
