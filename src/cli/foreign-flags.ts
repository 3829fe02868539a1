/**
 * What the flags of kaniko and of buildah are called here: GoogleContainerTools/kaniko, README;
 * buildah-build(1).
 */
const EQUALS: Readonly<Record<string, string>> = {
  // kaniko
  dockerfile: 'use --file PATH',
  context: 'give the context as the last argument: mbuild build [OPTIONS] PATH',
  'context-sub-path':
    'give the directory as the last argument; in a git address, write it after #REF:',
  destination: 'use --tag NAME and --push',
  'no-push': 'leave it out: nothing is pushed without --push',
  'cache-repo': 'use --cache-to type=registry,ref=NAME and --cache-from NAME',
  'cache-dir': 'leave it out: base images are kept in the store (--root)',
  'cache-ttl': "leave it out: 'mbuild prune --filter until=TIME' forgets old results",
  cache: 'leave it out: steps are always cached; --no-cache turns that off',
  'cache-copy-layers': 'leave it out: COPY is always cached',
  'cache-run-layers': 'leave it out: RUN is always cached',
  'tar-path': 'use --output type=docker,dest=FILE',
  tarPath: 'use --output type=docker,dest=FILE',
  'oci-layout-path': 'use --output type=oci,tar=false,dest=DIRECTORY',
  'digest-file': 'use --metadata-file FILE, or --iidfile FILE for the id',
  'image-name-with-digest-file': 'use --metadata-file FILE',
  'image-name-tag-with-digest-file': 'use --metadata-file FILE',
  insecure: 'use --insecure-registry HOST',
  'insecure-pull': 'use --insecure-registry HOST',
  'skip-tls-verify': 'use --insecure-registry HOST',
  'skip-tls-verify-pull': 'use --insecure-registry HOST',
  'skip-tls-verify-registry': 'use --insecure-registry HOST',
  'registry-mirror': 'name the mirror in registries.conf or daemon.json',
  'registry-map': 'name the mirror in registries.conf',
  'registry-certificate': 'put the certificate into /etc/containers/certs.d/HOST/',
  reproducible: 'use --source-date-epoch 0',
  'single-snapshot': 'use --squash',
  'snapshot-mode': 'leave it out: changes are read from the file system',
  snapshotMode: 'leave it out: changes are read from the file system',
  'skip-unused-stages': 'leave it out: stages that nothing needs are never built',
  'custom-platform': 'use --platform OS/ARCH',
  customPlatform: 'use --platform OS/ARCH',
  'image-fs-extract-retry': 'use --retry N',
  'image-download-retry': 'use --retry N',
  'push-retry': 'use --retry N',
  'ignore-path': 'list the path in .dockerignore',
  git: 'write it in the address: ADDRESS#REF:DIRECTORY',
  cleanup: 'leave it out: a build leaves nothing behind but its results in the store',
  force: 'leave it out: mbuild runs on hosts and in containers',
  verbosity: 'use --progress plain, or --debug',
  'log-format': 'use --progress rawjson for JSON',
  'use-new-run': 'leave it out: changes are read from the file system',
  'compressed-caching': 'leave it out: nothing is compressed twice',
  // buildah
  layers: 'leave it out: steps are always cached; --no-cache turns that off',
  'tls-verify': 'use --insecure-registry HOST for --tls-verify=false',
  creds: "use 'mbuild login', or --authfile",
  'cert-dir': 'put the certificates into /etc/containers/certs.d/HOST/',
  'storage-driver': 'use --snapshotter KIND',
  volume: 'use RUN --mount=type=bind or type=cache in the Dockerfile',
  device: 'use RUN --device in the Dockerfile, and --allow device',
  'pull-always': 'use --pull=always',
  'pull-never': 'use --pull=never',
  manifest: 'use --tag NAME with several platforms: --platform linux/amd64,linux/arm64',
  logfile: 'use --progress plain and redirect standard error',
  from: 'use --build-context NAME=docker-image://OTHER for the name after FROM',
  env: 'use ENV in the Dockerfile, or --build-arg',
  os: 'use --platform OS/ARCH',
  arch: 'use --platform OS/ARCH',
  variant: 'use --platform OS/ARCH/VARIANT',
  userns: 'use --isolation user-namespace',
  'all-platforms': 'name the platforms: --platform linux/amd64,linux/arm64',
  cgroupns: 'leave it out: every RUN has a control group of its own',
  'skip-unused': 'leave it out: stages that nothing needs are never built',
  stdin: 'leave it out: RUN never reads standard input',
};

/**
 * The way to say here what a flag of another builder says; `undefined` for a flag that is none of
 * theirs.
 */
export function equalFlag(name: string): string | undefined {
  return Object.hasOwn(EQUALS, name) ? EQUALS[name] : undefined;
}
