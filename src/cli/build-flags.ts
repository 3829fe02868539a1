import { EVICTION_POLICIES } from '../cache/eviction';
import { PROGRESS_MODES } from '../progress/choose';
import type { FlagTable } from './args';
import { PUSH_FLAGS } from './command';
import { LIMIT_FLAGS } from './limit-options';

const LATER = 'it comes with a later version';

/** The flags of a build: docker's and buildx's spelling, with buildah's where it has more. */
export const BUILD_FLAGS = {
  ...LIMIT_FLAGS,
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
    help: 'Say something about the image: type=provenance[,mode=min|max,version=v1|v0.2,builder-id=URI] or type=sbom[,format=spdx-json|cyclonedx-json]',
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
    help: 'A further context: a folder, a git or http address, docker-image://, oci-layout://, target:',
  },
  builder: {
    kind: 'string',
    value: 'NAME',
    ignored: 'there is one builder',
    help: "Docker's builder instance",
  },
  'cache-from': {
    kind: 'list',
    value: 'SOURCE',
    help: 'A cache elsewhere to read: NAME, type=registry,ref=NAME, type=local,src=FOLDER or type=http,url=ADDRESS',
  },
  'cache-to': {
    kind: 'list',
    value: 'DEST',
    help: 'A cache elsewhere to write: type=registry,ref=NAME, type=local,dest=FOLDER, type=http,url=ADDRESS or type=inline; mode=min|max',
  },
  'cache-limit': {
    kind: 'string',
    value: 'BYTES',
    help: 'Forget results of the cache that no image needs, beyond this size',
  },
  'cache-policy': {
    kind: 'string',
    value: 'POLICY',
    choices: EVICTION_POLICIES,
    fallback: 'value',
    help: 'What goes first then: what is worth least time for its size (value), or what was used least lately (lru)',
  },
  call: {
    kind: 'string',
    value: 'METHOD',
    fallback: 'build',
    help: 'What to do with the Dockerfile: build, check, outline or targets; METHOD,format=json for scripts',
  },
  'cdi-spec-dir': {
    kind: 'list',
    value: 'FOLDER',
    help: 'Where RUN --device looks for devices (default: /etc/cdi, /var/run/cdi, /etc/buildkit/cdi)',
  },
  check: { kind: 'boolean', help: 'Check the Dockerfile, and build nothing (--call check)' },
  'cgroup-parent': {
    kind: 'string',
    value: 'NAME',
    unsupported: LATER,
    help: 'Parent cgroup of RUN',
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
    help: "Modes of the context's files: their own, or as git has them (0644, 0755), whatever the umask was",
  },
  'disable-content-trust': {
    kind: 'boolean',
    ignored: 'it means Notary, which is gone',
    help: 'Skip verification',
  },
  dns: { kind: 'list', value: 'ADDRESS', help: "A name server of RUN, instead of the host's" },
  'dns-option': {
    kind: 'list',
    value: 'OPTION',
    help: "An option of RUN's resolver, instead of the host's",
  },
  'dns-search': {
    kind: 'list',
    value: 'DOMAIN',
    help: "A domain in which RUN looks names up, instead of the host's; '.' for none",
  },
  file: {
    kind: 'string',
    short: 'f',
    value: 'PATH',
    help: "The Dockerfile, '-' for standard input (default: PATH/Dockerfile)",
  },
  'force-rm': {
    kind: 'boolean',
    ignored: 'there are no intermediate containers',
    help: 'Remove intermediate containers',
  },
  format: {
    kind: 'string',
    value: 'FORMAT',
    choices: ['oci', 'docker', 'text', 'json', 'sarif', 'codeclimate'],
    env: ['BUILDAH_FORMAT'],
    help: 'Media types of the image: oci or docker; with --check or --call the form of the answer: text, json, sarif or codeclimate (GitLab)',
  },
  ignorefile: {
    kind: 'string',
    value: 'PATH',
    help: 'The ignore file (default: DOCKERFILE.dockerignore, else .dockerignore)',
  },
  iidfile: { kind: 'string', value: 'FILE', help: 'Write the image ID to a file' },
  jobs: { kind: 'number', value: 'N', help: 'Most steps that run at once' },
  label: { kind: 'list', value: 'KEY=VALUE', help: 'Set a label of the image' },
  load: {
    kind: 'boolean',
    help: 'Keep the image in the store, and hand it to docker or podman where one is',
  },
  'log-timestamp': {
    kind: 'boolean',
    help: 'Begin each line of plain, github and gitlab progress with the time',
  },
  'metadata-file': {
    kind: 'string',
    value: 'FILE',
    help: 'Write what came of the build to a file, as JSON',
  },
  network: {
    kind: 'string',
    value: 'MODE',
    choices: ['default', 'none', 'host'],
    fallback: 'default',
    help: 'Network of RUN',
  },
  'no-cache': { kind: 'boolean', help: 'Take nothing from the cache' },
  'no-cache-from': {
    kind: 'number',
    value: 'LINE',
    help: 'Take nothing from the cache that stands on this line of the Dockerfile or below it',
  },
  'no-cache-mounts': {
    kind: 'boolean',
    help: 'Cache mounts begin empty, and go with the build; those that are kept stay as they are',
  },
  'no-cache-filter': { kind: 'list', value: 'STAGE', help: 'Take these stages not from the cache' },
  output: {
    kind: 'list',
    short: 'o',
    value: 'DEST',
    help: "Where the result goes: type=image|oci|docker|tar|local|registry,dest=…; a bare path is a folder, '-' a tar on standard output",
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
    help: 'Ask the registry for base images',
  },
  push: { kind: 'boolean', help: 'Push the image under its names' },
  quiet: { kind: 'boolean', short: 'q', help: 'Print nothing but the image ID' },
  report: { kind: 'string', value: 'FILE', help: 'Write what came of the build to a page of HTML' },
  resource: {
    kind: 'list',
    value: 'NAME=VALUE',
    help: 'A limit of RUN as buildx has it: memory=2g is --memory 2g',
  },
  ...PUSH_FLAGS,
  'retry-step': {
    kind: 'number',
    value: 'N',
    help: 'How often a RUN that fails is tried again, each time from the start (default: 0)',
  },
  rm: {
    kind: 'boolean',
    ignored: 'there are no intermediate containers',
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
    help: 'A secret for RUN --mount=type=secret: id=NAME[,src=FILE|,env=VARIABLE]',
  },
  'shm-size': { kind: 'string', value: 'BYTES', help: 'Size of /dev/shm of RUN' },
  'source-date-epoch': {
    kind: 'number',
    value: 'SECONDS',
    env: ['SOURCE_DATE_EPOCH'],
    aliases: ['timestamp'],
    help: 'Time of the image and of its files',
  },
  squash: { kind: 'boolean', unsupported: LATER, help: 'Make one layer' },
  ssh: {
    kind: 'list',
    value: 'AGENT',
    help: 'An SSH agent for RUN --mount=type=ssh: default|ID[=SOCKET|KEY[,KEY]]',
  },
  'step-log-limit': {
    kind: 'string',
    value: 'BYTES',
    help: "How much of a step's output its log keeps on disk (default: 64m; 0 for all)",
  },
  'step-timeout': {
    kind: 'string',
    value: 'TIME',
    help: 'Kill a RUN that takes longer: 90s, 1h30m; what came before it is kept',
  },
  tag: {
    kind: 'list',
    short: 't',
    value: 'NAME',
    help: 'A name for the image: [registry/]repository[:tag]',
  },
  target: {
    kind: 'list',
    value: 'STAGE',
    help: 'The stage to build; several are built in one run',
  },
  timeout: {
    kind: 'string',
    value: 'TIME',
    help: 'Cancel the whole build when it takes longer: 90s, 1h30m',
  },
  ulimit: { kind: 'list', value: 'NAME=SOFT[:HARD]', help: 'A limit of RUN' },
  volume: {
    kind: 'list',
    short: 'v',
    value: 'PATH:TARGET[:ro]',
    help: 'Give each RUN a path of this machine; what is in it does not count in cache keys',
  },
} as const satisfies FlagTable;
