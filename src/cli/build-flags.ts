import { EVICTION_POLICIES } from '../cache/eviction';
import { PROGRESS_MODES } from '../progress/choose';
import type { FlagTable } from './args';
import { PUSH_FLAGS } from './command';
import { DIGEST_FLAGS } from './digest-files';
import { FAILURE_FLAGS } from './failure-flags';
import { LIMIT_FLAGS } from './limit-options';

const LATER = 'a later version will have it';

/** The flags of a build: docker's and buildx's spelling, with buildah's where it has more. */
export const BUILD_FLAGS = {
  ...LIMIT_FLAGS,
  ...FAILURE_FLAGS,
  ...DIGEST_FLAGS,
  'add-host': { kind: 'list', value: 'HOST:IP', help: 'Add a line to /etc/hosts of RUN' },
  allow: {
    kind: 'list',
    value: 'ENTITLEMENT',
    help: 'Allow network.host, security.insecure, device or device=NAME',
  },
  annotation: { kind: 'list', value: 'KEY=VALUE', help: 'Add an annotation to the manifest' },
  attest: {
    kind: 'list',
    value: 'ATTESTATION',
    help: 'Attach an attestation: type=provenance[,mode=min|max,version=v1|v0.2,builder-id=URI] or type=sbom[,format=spdx-json|cyclonedx-json]',
  },
  'build-arg': {
    kind: 'list',
    value: 'KEY[=VALUE]',
    help: 'Set a build argument; without a value it is taken from the environment',
  },
  'build-arg-file': {
    kind: 'list',
    value: 'FILE',
    help: 'Read build arguments from a file, KEY=VALUE on each line',
  },
  'build-context': {
    kind: 'list',
    value: 'NAME=VALUE',
    help: 'An additional context: a directory, a git or http address, docker-image://, oci-layout://, target:',
  },
  builder: {
    kind: 'string',
    value: 'NAME',
    ignored: 'mbuild has only one builder',
    help: "Docker's builder instance",
  },
  'cache-from': {
    kind: 'list',
    value: 'SOURCE',
    help: 'Read a remote cache: NAME, type=registry,ref=NAME, type=local,src=DIRECTORY, type=http,url=ADDRESS, type=gha, type=s3,… or type=azblob,…',
  },
  'cache-to': {
    kind: 'list',
    value: 'DEST',
    help: 'Write a remote cache: type=registry,ref=NAME, type=local,dest=DIRECTORY, type=http,url=ADDRESS, type=gha, type=s3,…, type=azblob,… or type=inline; mode=min|max',
  },
  'cache-limit': {
    kind: 'string',
    value: 'BYTES',
    help: 'Keep the cache below this size: delete results that no image needs',
  },
  'cache-policy': {
    kind: 'string',
    value: 'POLICY',
    choices: EVICTION_POLICIES,
    fallback: 'value',
    help: 'What --cache-limit deletes first: results that save the least time for their size (value), or the least recently used ones (lru)',
  },
  call: {
    kind: 'string',
    value: 'METHOD',
    fallback: 'build',
    help: 'What to do with the Dockerfile: build, check, outline or targets; METHOD,format=json for scripts',
  },
  'cdi-spec-dir': {
    kind: 'list',
    value: 'DIRECTORY',
    help: 'Read the devices for RUN --device from this directory (default: /etc/cdi, /var/run/cdi, /etc/buildkit/cdi)',
  },
  check: {
    kind: 'boolean',
    help: 'Check the Dockerfile without building it (same as --call check)',
  },
  'check-push': {
    kind: 'boolean',
    help: 'Ask the registries before the build whether it may push there',
  },
  'cgroup-parent': {
    kind: 'string',
    value: 'NAME',
    unsupported: LATER,
    help: 'Parent cgroup for RUN',
  },
  compress: {
    kind: 'boolean',
    ignored: 'the context is read in place',
    help: 'Compress the context',
  },
  'context-modes': {
    kind: 'string',
    value: 'KIND',
    choices: ['own', 'git'],
    fallback: 'own',
    env: ['MBUILD_CONTEXT_MODES'],
    help: 'Take file modes of the context as they are on disk (own), or as git stores them: 0644 and 0755 (git)',
  },
  'disable-content-trust': {
    kind: 'boolean',
    ignored: 'Notary, which it belongs to, no longer exists',
    help: 'Skip verification',
  },
  dns: {
    kind: 'list',
    value: 'ADDRESS',
    help: "Use this name server in RUN instead of the host's",
  },
  'dns-option': {
    kind: 'list',
    value: 'OPTION',
    help: "Use this resolver option in RUN instead of the host's",
  },
  'dns-search': {
    kind: 'list',
    value: 'DOMAIN',
    help: "Search names in this domain in RUN instead of the host's domains; '.' for none",
  },
  file: {
    kind: 'string',
    short: 'f',
    value: 'PATH',
    help: "The Dockerfile, '-' for standard input (default: PATH/Dockerfile)",
  },
  'force-rm': {
    kind: 'boolean',
    ignored: 'mbuild makes no intermediate containers',
    help: 'Remove intermediate containers',
  },
  format: {
    kind: 'string',
    value: 'FORMAT',
    choices: ['oci', 'docker', 'text', 'json', 'sarif', 'codeclimate'],
    env: ['BUILDAH_FORMAT'],
    help: 'Media types of the image: oci or docker; with --check or --call, the format of the output: text, json, sarif or codeclimate (GitLab)',
  },
  ignorefile: {
    kind: 'string',
    value: 'PATH',
    help: 'The ignore file (default: DOCKERFILE.dockerignore, else .dockerignore)',
  },
  iidfile: { kind: 'string', value: 'FILE', help: 'Write the image ID to a file' },
  jobs: { kind: 'number', value: 'N', help: 'Run at most this many steps at once' },
  label: { kind: 'list', value: 'KEY=VALUE', help: 'Set a label of the image' },
  load: {
    kind: 'boolean',
    help: 'Keep the image in the store, and load it into docker or podman if one is installed',
  },
  'log-timestamp': {
    kind: 'boolean',
    help: 'Start each line of plain, github and gitlab progress with the time',
  },
  'metadata-file': {
    kind: 'string',
    value: 'FILE',
    help: 'Write the result of the build to a file, as JSON',
  },
  network: {
    kind: 'string',
    value: 'MODE',
    choices: ['default', 'none', 'host'],
    fallback: 'default',
    help: 'Network for RUN',
  },
  'no-cache': { kind: 'boolean', help: 'Do not use the cache' },
  'no-cache-from': {
    kind: 'number',
    value: 'LINE',
    help: 'Do not use the cache for steps on this line of the Dockerfile or below it',
  },
  'no-cache-mounts': {
    kind: 'boolean',
    help: 'Start with empty cache mounts, and delete them after the build; the stored ones do not change',
  },
  'no-cache-filter': {
    kind: 'list',
    value: 'STAGE',
    help: 'Do not use the cache for these stages',
  },
  output: {
    kind: 'list',
    short: 'o',
    value: 'DEST',
    help: "Where to write the result: type=image|oci|docker|tar|local|registry,dest=…; a plain path is a directory, '-' is a tar on standard output",
  },
  platform: {
    kind: 'list',
    value: 'OS/ARCH',
    env: ['DOCKER_DEFAULT_PLATFORM'],
    help: 'Target platform',
  },
  progress: {
    kind: 'string',
    value: 'MODE',
    choices: PROGRESS_MODES,
    fallback: 'auto',
    env: ['BUILDKIT_PROGRESS'],
    help: "How progress is shown; auto is the CI service's form, or the terminal's",
  },
  provenance: {
    kind: 'string',
    value: 'VALUE',
    help: 'Attest how the image was made: true, false, or the fields of --attest type=provenance (default: false)',
  },
  pull: {
    kind: 'optional',
    value: 'WHEN',
    implied: 'always',
    choices: ['always', 'missing', 'never', 'true', 'false'],
    help: 'When to ask the registry for newer base images',
  },
  push: { kind: 'boolean', help: 'Push the image under its names' },
  quiet: { kind: 'boolean', short: 'q', help: 'Print only the image ID' },
  report: { kind: 'string', value: 'FILE', help: 'Write a report of the build to a file, as HTML' },
  resource: {
    kind: 'list',
    value: 'NAME=VALUE',
    help: 'Set a limit for RUN, as in buildx: memory=2g is the same as --memory 2g',
  },
  ...PUSH_FLAGS,
  'retry-step': {
    kind: 'number',
    value: 'N',
    help: 'Retry a failed RUN this many times, from its start (default: 0)',
  },
  rm: {
    kind: 'boolean',
    ignored: 'mbuild makes no intermediate containers',
    help: 'Remove intermediate containers',
  },
  sbom: {
    kind: 'string',
    value: 'VALUE',
    help: 'Attest which packages are in the image: true, false, or the fields of --attest type=sbom (default: false)',
  },
  secret: {
    kind: 'list',
    value: 'SECRET',
    help: 'Pass a secret to RUN --mount=type=secret: id=NAME[,src=FILE|,env=VARIABLE]',
  },
  'shm-size': { kind: 'string', value: 'BYTES', help: 'Size of /dev/shm of RUN' },
  'source-date-epoch': {
    kind: 'number',
    value: 'SECONDS',
    env: ['SOURCE_DATE_EPOCH'],
    aliases: ['timestamp'],
    help: 'Timestamp of the image and its files',
  },
  'source-policy-file': {
    kind: 'string',
    value: 'FILE',
    env: ['EXPERIMENTAL_BUILDKIT_SOURCE_POLICY'],
    help: "Which images, files, repositories and directories may be used: BuildKit's source policy",
  },
  squash: { kind: 'boolean', unsupported: LATER, help: 'Write the image as one layer' },
  ssh: {
    kind: 'list',
    value: 'AGENT',
    help: 'Pass an SSH agent to RUN --mount=type=ssh: default|ID[=SOCKET|KEY[,KEY]]',
  },
  'step-log-limit': {
    kind: 'string',
    value: 'BYTES',
    help: 'Keep at most this much output of a step in its log on disk (default: 64m; 0 for no limit)',
  },
  'step-timeout': {
    kind: 'string',
    value: 'TIME',
    help: 'Kill a RUN that takes longer, such as 90s or 1h30m; earlier steps stay in the cache',
  },
  tag: {
    kind: 'list',
    short: 't',
    value: 'NAME',
    help: 'Name the image: [registry/]repository[:tag]',
  },
  target: {
    kind: 'list',
    value: 'STAGE',
    help: 'Build this stage; several stages are built in one run',
  },
  timeout: {
    kind: 'string',
    value: 'TIME',
    help: 'Cancel the whole build when it takes longer: 90s, 1h30m',
  },
  ulimit: { kind: 'list', value: 'NAME=SOFT[:HARD]', help: 'Set a process limit for RUN' },
  volume: {
    kind: 'list',
    short: 'v',
    value: 'PATH:TARGET[:ro]',
    help: 'Mount a path of this machine in every RUN; its content is not part of cache keys',
  },
} as const satisfies FlagTable;
