import type { FlagTable } from './args';

/** What `run` and `create` take. */
export const CREATE_FLAGS = {
  'add-host': { kind: 'list', value: 'NAME:IP', help: 'A line of /etc/hosts' },
  'cap-add': { kind: 'list', value: 'CAPABILITY', help: 'A right that the container has besides the usual ones; ALL is every one' },
  'cap-drop': { kind: 'list', value: 'CAPABILITY', help: 'A right that the container does not have; ALL is every one' },
  cpus: { kind: 'string', value: 'NUMBER', help: 'How many CPUs it may use, also parts of one' },
  entrypoint: { kind: 'string', value: 'PROGRAM', help: "Replaces the image's entrypoint and its command" },
  env: { kind: 'list', short: 'e', value: 'NAME[=VALUE]', help: 'A variable; without a value its own value is taken' },
  'env-file': { kind: 'list', value: 'FILE', help: 'Variables, one a line' },
  hostname: { kind: 'string', value: 'NAME', help: 'Host name (default: the beginning of the id)' },
  interactive: { kind: 'boolean', short: 'i', help: 'Pass standard input on' },
  label: { kind: 'list', short: 'l', value: 'KEY=VALUE', help: 'Metadata of the container' },
  memory: { kind: 'string', short: 'm', value: 'BYTES', help: 'How much memory it may use' },
  name: { kind: 'string', value: 'NAME', help: 'Name of the container' },
  network: { kind: 'string', value: 'MODE', choices: ['host', 'none', 'private'], aliases: ['net'], help: "'host' (the default), 'none', or 'private': behind pasta or slirp4netns" },
  'pids-limit': { kind: 'number', value: 'NUMBER', help: 'How many processes it may have' },
  platform: { kind: 'string', value: 'OS/ARCH', env: ['DOCKER_DEFAULT_PLATFORM'], help: 'Platform of the image' },
  publish: { kind: 'list', short: 'p', value: '[[IP:]PORT:]PORT', help: 'A port of the host that leads to one of the container, whose network is private then' },
  'publish-all': { kind: 'boolean', short: 'P', help: 'Publish all ports that the image exposes on free ports' },
  privileged: { kind: 'boolean', unsupported: 'a container never has all rights over the machine; name what it needs with --cap-add', help: 'Not supported' },
  pull: { kind: 'string', value: 'WHEN', choices: ['always', 'missing', 'never'], fallback: 'missing', help: 'When to ask the registry for the image' },
  quiet: { kind: 'boolean', short: 'q', help: 'Show no progress of pulling' },
  'read-only': { kind: 'boolean', help: 'The root file system cannot be written' },
  rm: { kind: 'boolean', help: 'Remove the container, and its volumes without a name, when it has ended' },
  'shm-size': { kind: 'string', value: 'BYTES', help: 'Size of /dev/shm' },
  'stop-signal': { kind: 'string', value: 'SIGNAL', help: "What 'stop' sends first" },
  'stop-timeout': { kind: 'number', value: 'SECONDS', help: "How long 'stop' waits before it kills" },
  tmpfs: { kind: 'list', value: 'PATH[:size=…,mode=…]', help: 'A file system in memory' },
  tty: { kind: 'boolean', short: 't', help: 'Give the container a terminal' },
  ulimit: { kind: 'list', value: 'NAME=SOFT[:HARD]', help: 'A limit of its processes' },
  user: { kind: 'string', short: 'u', value: 'USER[:GROUP]', help: 'Who its command runs as' },
  volume: { kind: 'list', short: 'v', value: '[SOURCE:]TARGET[:ro]', help: 'A path of the host or a volume by name, at a path in the container' },
  workdir: { kind: 'string', short: 'w', value: 'PATH', help: 'Working directory' },
  init: { kind: 'boolean', hidden: true, ignored: 'signals reach the command without one', help: 'Not needed' },
  'security-opt': { kind: 'list', value: 'OPTION', hidden: true, ignored: 'there are no security profiles to choose from', help: 'Not needed' },
} as const satisfies FlagTable;

/** What `run` takes besides. */
export const RUN_FLAGS = {
  ...CREATE_FLAGS,
  detach: { kind: 'boolean', short: 'd', help: 'Leave the container running and print its id' },
  'sig-proxy': { kind: 'boolean', hidden: true, help: 'Signals are handed on' },
} as const satisfies FlagTable;
