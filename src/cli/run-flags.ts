import type { FlagTable } from './args';
import { LIMIT_FLAGS } from './limit-options';

/** What `run` and `create` take. */
export const CREATE_FLAGS = {
  ...LIMIT_FLAGS,
  'add-host': { kind: 'list', value: 'NAME:IP', help: 'A line of /etc/hosts' },
  entrypoint: {
    kind: 'string',
    value: 'PROGRAM',
    help: "Replaces the image's entrypoint and its command",
  },
  env: {
    kind: 'list',
    short: 'e',
    value: 'NAME[=VALUE]',
    help: 'A variable; without a value its own value is taken',
  },
  'env-file': { kind: 'list', value: 'FILE', help: 'Variables, one a line' },
  interactive: { kind: 'boolean', short: 'i', help: 'Pass standard input on' },
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
    help: "'host' (the default), 'none', or 'private': behind pasta or slirp4netns",
  },
  platform: {
    kind: 'string',
    value: 'OS/ARCH',
    env: ['DOCKER_DEFAULT_PLATFORM'],
    help: 'Platform of the image',
  },
  publish: {
    kind: 'list',
    short: 'p',
    value: '[[IP:]PORT:]PORT',
    help: 'A port of the host that leads to one of the container, whose network is private then',
  },
  'publish-all': {
    kind: 'boolean',
    short: 'P',
    help: 'Publish all ports that the image exposes on free ports',
  },
  privileged: {
    kind: 'boolean',
    unsupported:
      'a container never has all rights over the machine; name what it needs with --cap-add',
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
  'read-only': { kind: 'boolean', help: 'The root file system cannot be written' },
  rm: {
    kind: 'boolean',
    help: 'Remove the container, and its volumes without a name, when it has ended',
  },
  'shm-size': { kind: 'string', value: 'BYTES', help: 'Size of /dev/shm' },
  'stop-signal': { kind: 'string', value: 'SIGNAL', help: "What 'stop' sends first" },
  'stop-timeout': {
    kind: 'number',
    value: 'SECONDS',
    help: "How long 'stop' waits before it kills",
  },
  tmpfs: { kind: 'list', value: 'PATH[:size=…,mode=…]', help: 'A file system in memory' },
  tty: { kind: 'boolean', short: 't', help: 'Give the container a terminal' },
  ulimit: { kind: 'list', value: 'NAME=SOFT[:HARD]', help: 'A limit of its processes' },
  user: { kind: 'string', short: 'u', value: 'USER[:GROUP]', help: 'Who its command runs as' },
  volume: {
    kind: 'list',
    short: 'v',
    value: '[SOURCE:]TARGET[:ro]',
    help: 'A path of the host or a volume by name, at a path in the container',
  },
  workdir: { kind: 'string', short: 'w', value: 'PATH', help: 'Working directory' },
  init: {
    kind: 'boolean',
    hidden: true,
    ignored: 'signals reach the command without one',
    help: 'Not needed',
  },
  'security-opt': {
    kind: 'list',
    value: 'OPTION',
    help: 'no-new-privileges: programs give no further rights',
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
  'sig-proxy': { kind: 'boolean', hidden: true, help: 'Signals are handed on' },
} as const satisfies FlagTable;
