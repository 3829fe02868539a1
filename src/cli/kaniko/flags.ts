import type { FlagTable } from '../args';

/** Why a flag about the file system that kaniko runs in means nothing here. */
const OWN_TREE = 'RUN has a tree of its own, so nothing of this machine comes into the image';
const NO_CLOUD = 'mbuild reads no buckets: fetch the archive in a step before, and give its path';

/** Flags of `executor` and `warmer` alike. */
const COMMON_FLAGS = {
  verbosity: {
    kind: 'string',
    short: 'v',
    value: 'LEVEL',
    choices: ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'panic'],
    fallback: 'info',
    help: '`--progress=none` from warn on; `--debug` for debug and trace',
  },
  'log-format': {
    kind: 'string',
    value: 'FORMAT',
    choices: ['text', 'color', 'json'],
    fallback: 'color',
    help: 'json is `--progress=rawjson`, text is `--progress=plain`',
  },
  'log-timestamp': { kind: 'boolean', help: '`--log-timestamp`' },
  'build-arg': { kind: 'list', value: 'KEY[=VALUE]', help: '`--build-arg`' },
  'cache-dir': {
    kind: 'string',
    value: 'DIR',
    fallback: '/cache',
    help: 'the store that `mbuild kaniko warmer` filled in `DIR/mbuild` is used when it is there; what kaniko itself left there is not read',
  },
  'cache-ttl': {
    kind: 'string',
    value: 'TIME',
    ignored: 'steps in the cache do not expire by age; the registry or `mbuild prune` removes them',
    help: '',
  },
  'custom-platform': {
    kind: 'string',
    value: 'OS/ARCH',
    aliases: ['customPlatform'],
    help: '`--platform`',
  },
  'insecure-pull': {
    kind: 'boolean',
    help: '`--insecure-registry=*`: every registry, for pushes too',
  },
  'skip-tls-verify-pull': {
    kind: 'boolean',
    help: '`--insecure-registry=*`: every registry, for pushes too',
  },
  'insecure-registry': { kind: 'list', value: 'HOST', help: '`--insecure-registry`' },
  'skip-tls-verify-registry': { kind: 'list', value: 'HOST', help: '`--insecure-registry`' },
  'registry-certificate': {
    kind: 'list',
    value: 'HOST=FILE',
    help: 'the CA of that registry, as `certs.d/HOST/ca.crt` is',
  },
  'registry-client-cert': {
    kind: 'list',
    value: 'HOST=CERT,KEY',
    help: 'the client certificate for that registry, as `certs.d/HOST/client.cert` and `.key` are',
  },
  'registry-mirror': {
    kind: 'list',
    value: 'HOST[/PATH]',
    env: ['KANIKO_REGISTRY_MIRROR'],
    help: 'mirrors of Docker Hub, asked in this order',
  },
  'registry-map': {
    kind: 'list',
    value: 'HOST=MIRROR;…',
    env: ['KANIKO_REGISTRY_MAP'],
    help: 'mirrors of other registries',
  },
  'skip-default-registry-fallback': {
    kind: 'boolean',
    help: 'what no mirror has is an error',
  },
  'azure-container-registry-config': {
    kind: 'string',
    value: 'FILE',
    hidden: true,
    ignored: "credentials come from docker's config.json and the helpers that it names",
    help: '',
  },
} as const satisfies FlagTable;

/**
 * The flags of kaniko's executor, 1.24, and of its fork osscontainertools/kaniko, 1.28: `help` says what of mbuild does the same,
 * `ignored` why a flag is accepted without effect, `unsupported` why it is refused. docs/ci.md shows this table.
 */
export const EXECUTOR_FLAGS = {
  ...COMMON_FLAGS,
  annotation: { kind: 'list', value: 'KEY=VALUE', help: '`--annotation`' },
  bucket: {
    kind: 'string',
    short: 'b',
    value: 'BUCKET',
    hidden: true,
    unsupported: NO_CLOUD,
    help: '',
  },
  cache: {
    kind: 'boolean',
    help: '`--cache-from` and `--cache-to` on the cache repository; without it `--no-cache`, as kaniko has no cache unless it is asked for one',
  },
  'cache-copy-layers': {
    kind: 'boolean',
    ignored: 'the cache has every step, COPY too',
    help: '',
  },
  'cache-repo': {
    kind: 'string',
    value: 'NAME',
    help: 'the repository of `--cache` (default: the first destination and `/cache`), under the tag `mbuild`; `oci:DIR` is a layout in a directory. Entries of kaniko itself are not read',
  },
  'cache-run-layers': {
    kind: 'boolean',
    ignored: 'the cache has every step',
    help: '',
  },
  cleanup: {
    kind: 'boolean',
    ignored: 'a build leaves the file system of its container as it was',
    help: '',
  },
  'compressed-caching': {
    kind: 'boolean',
    ignored: 'layers of the cache are compressed',
    help: '',
  },
  compression: {
    kind: 'string',
    value: 'KIND',
    choices: ['gzip', 'zstd'],
    help: '`compression=` of `--output`',
  },
  'compression-level': {
    kind: 'string',
    value: 'N',
    help: '`compression-level=` of `--output`; -1 is the usual one',
  },
  context: {
    kind: 'string',
    short: 'c',
    value: 'CONTEXT',
    fallback: '/workspace/',
    help: 'a directory, `dir://`, `tar://FILE`, `tar://stdin`, `git://` (fetched by https, or as GIT_PULL_METHOD says), `https://` of an archive; `gs://`, `s3://` and addresses of Azure are refused',
  },
  'context-sub-path': {
    kind: 'string',
    value: 'PATH',
    help: 'a directory in the context; not of archives',
  },
  'credential-helpers': {
    kind: 'list',
    value: 'HELPER',
    ignored: "helpers are the programs that docker's config.json names (credHelpers, credsStore)",
    help: '',
  },
  destination: {
    kind: 'list',
    short: 'd',
    value: 'NAME',
    help: '`--tag` and `--push`, for each of them',
  },
  'digest-file': { kind: 'string', value: 'FILE', help: '`--digest-file`' },
  dockerfile: {
    kind: 'string',
    short: 'f',
    value: 'PATH',
    help: '`--file`; addresses are refused',
  },
  dryrun: { kind: 'boolean', unsupported: "'mbuild plan' tells what a build would do", help: '' },
  force: { kind: 'boolean', ignored: 'mbuild may run outside of a container', help: '' },
  'force-build-metadata': {
    kind: 'boolean',
    ignored: 'the config of the image always has all',
    help: '',
  },
  git: {
    kind: 'string',
    value: 'KEY=VALUE,…',
    help: '`branch=` is what of the repository is built; submodules come along; the other keys mean nothing here',
  },
  'ignore-path': { kind: 'list', value: 'PATH', ignored: OWN_TREE, help: '' },
  'ignore-var-run': { kind: 'boolean', ignored: OWN_TREE, help: '' },
  'whitelist-var-run': { kind: 'boolean', ignored: OWN_TREE, help: '' },
  'image-download-retry': {
    kind: 'number',
    value: 'N',
    help: '`--retry`: the largest of the three, at least 4',
  },
  'image-fs-extract-retry': {
    kind: 'number',
    value: 'N',
    help: '`--retry`: the largest of the three, at least 4',
  },
  'image-format': {
    kind: 'string',
    value: 'FORMAT',
    choices: ['oci', 'docker'],
    help: '`--format`',
  },
  'image-name-tag-with-digest-file': {
    kind: 'string',
    value: 'FILE',
    help: '`--image-name-tag-with-digest-file`',
  },
  'image-name-with-digest-file': {
    kind: 'string',
    value: 'FILE',
    help: '`--image-name-with-digest-file`',
  },
  insecure: {
    kind: 'boolean',
    help: '`--insecure-registry` for the hosts of the destinations and of the cache',
  },
  'kaniko-dir': {
    kind: 'string',
    value: 'DIR',
    env: ['KANIKO_DIR'],
    help: '`DIR/.docker` is where credentials are, unless DOCKER_CONFIG says otherwise (default: /kaniko)',
  },
  label: { kind: 'list', value: 'KEY=VALUE', help: '`--label`' },
  materialize: {
    kind: 'boolean',
    ignored: 'the image is the result, and not the file system of the container',
    help: '',
  },
  'no-push': {
    kind: 'boolean',
    help: 'no `--push`: the image stays in the store, and goes to the archives that are asked for',
  },
  'no-push-cache': { kind: 'boolean', help: 'no `--cache-to`' },
  'oci-layout-path': {
    kind: 'string',
    value: 'DIR',
    help: '`--output type=oci,tar=false,dest=DIR`',
  },
  'pre-cleanup': { kind: 'boolean', ignored: OWN_TREE, help: '' },
  'preserve-context': { kind: 'boolean', ignored: 'a build leaves its context as it is', help: '' },
  'push-ignore-immutable-tag-errors': {
    kind: 'boolean',
    help: 'a tag that is there and may not be moved is a note; with one destination',
  },
  'push-retry': {
    kind: 'number',
    value: 'N',
    help: '`--retry`: the largest of the three, at least 4',
  },
  reproducible: { kind: 'boolean', help: '`--source-date-epoch=0`' },
  secret: { kind: 'list', value: 'SECRET', help: '`--secret`' },
  'single-snapshot': {
    kind: 'boolean',
    ignored: 'the image has the same files, in a layer for each step: that is what the cache needs',
    help: '',
  },
  'skip-push-permission-check': { kind: 'boolean', help: 'no `--check-push`' },
  'skip-tls-verify': {
    kind: 'boolean',
    help: '`--insecure-registry` for the hosts of the destinations and of the cache',
  },
  'skip-unused-stages': {
    kind: 'boolean',
    ignored: 'only stages that the target needs are built',
    help: '',
  },
  'snapshot-mode': {
    kind: 'string',
    value: 'MODE',
    aliases: ['snapshotMode'],
    ignored: 'changes are found without reading the whole tree, and none is missed',
    help: '',
  },
  'tar-path': {
    kind: 'string',
    value: 'FILE',
    aliases: ['tarPath'],
    help: '`--output type=docker,dest=FILE`',
  },
  target: {
    kind: 'list',
    value: 'STAGE',
    help: '`--target`; of several the first is built, which kaniko pushes',
  },
  'use-new-run': { kind: 'boolean', ignored: OWN_TREE, help: '' },
} as const satisfies FlagTable;

/** The flags of kaniko's warmer. */
export const WARMER_FLAGS = {
  ...COMMON_FLAGS,
  image: { kind: 'list', short: 'i', value: 'NAME', help: 'an image to fetch: `mbuild pull`' },
  force: {
    kind: 'boolean',
    short: 'f',
    ignored: 'registries are always asked for newer images',
    help: '',
  },
  dockerfile: {
    kind: 'string',
    short: 'd',
    value: 'PATH',
    help: 'the images of its FROM lines are fetched, too',
  },
} as const satisfies FlagTable;
