import type {
  BuildOptions,
  Fields,
  ImagesOptions,
  LoadOptions,
  OpenOptions,
  PruneOptions,
  PullOptions,
  RunOptions,
  SaveOptions,
} from './options';

/** For each option the words of a command line that say the same. */
type Writers<T> = { readonly [K in keyof T]-?: (value: NonNullable<T[K]>) => readonly string[] };

/** Options that are no flags: they are read by whoever makes the call. */
type Without<T, K extends keyof T> = Omit<T, K>;

const switched = (flag: string) => (value: boolean) => [`--${flag}=${value}`];
const single = (flag: string) => (value: string | number) => [`--${flag}=${value}`];
const list = (flag: string) => (values: readonly string[]) =>
  values.map((value) => `--${flag}=${value}`);
const fields = (flag: string) => (values: readonly (string | Fields)[]) =>
  values.map((value) => `--${flag}=${fieldsText(value)}`);
const pairs =
  (flag: string, between = '=') =>
  (values: Readonly<Record<string, string | undefined>>) =>
    Object.entries(values).map(([key, value]) =>
      value === undefined ? `--${flag}=${key}` : `--${flag}=${key}${between}${value}`,
    );
/** Numbers are milliseconds. */
const time = (flag: string) => (value: string | number) => [
  `--${flag}=${typeof value === 'number' ? `${value}ms` : value}`,
];

/** Global flags. */
export const OPEN_FLAGS: Writers<Without<OpenOptions, 'cwd' | 'env' | 'onNote'>> = {
  root: single('root'),
  authFile: single('authfile'),
  insecureRegistries: list('insecure-registry'),
  signaturePolicy: single('signature-policy'),
  offline: switched('offline'),
  isolation: single('isolation'),
  runtime: single('runtime'),
  snapshotter: single('snapshotter'),
};

/** Flags of `build` and `plan`. */
export const BUILD_FLAGS: Writers<Without<BuildOptions, 'context' | 'dockerfile'>> = {
  tags: list('tag'),
  targets: list('target'),
  platforms: list('platform'),
  buildArgs: pairs('build-arg'),
  buildArgFiles: list('build-arg-file'),
  buildContexts: pairs('build-context'),
  ignoreFile: single('ignorefile'),
  contextModes: single('context-modes'),
  labels: pairs('label'),
  annotations: pairs('annotation'),
  outputs: fields('output'),
  attestations: fields('attest'),
  sourcePolicy: single('source-policy-file'),
  push: switched('push'),
  checkPush: switched('check-push'),
  load: switched('load'),
  format: single('format'),
  cacheFrom: fields('cache-from'),
  cacheTo: fields('cache-to'),
  noCache: switched('no-cache'),
  noCacheFilter: list('no-cache-filter'),
  noCacheFrom: single('no-cache-from'),
  noCacheMounts: switched('no-cache-mounts'),
  cacheLimit: single('cache-limit'),
  cachePolicy: single('cache-policy'),
  pull: single('pull'),
  secrets: fields('secret'),
  ssh: list('ssh'),
  allow: list('allow'),
  cdiSpecDirs: list('cdi-spec-dir'),
  network: single('network'),
  addHosts: pairs('add-host', ':'),
  dns: list('dns'),
  dnsOptions: list('dns-option'),
  dnsSearch: list('dns-search'),
  hostname: single('hostname'),
  volumes: list('volume'),
  memory: single('memory'),
  memorySwap: single('memory-swap'),
  cpus: single('cpus'),
  cpuShares: single('cpu-shares'),
  cpuQuota: single('cpu-quota'),
  cpuPeriod: single('cpu-period'),
  cpusetCpus: single('cpuset-cpus'),
  cpusetMems: single('cpuset-mems'),
  pidsLimit: single('pids-limit'),
  shmSize: single('shm-size'),
  ulimits: list('ulimit'),
  capAdd: list('cap-add'),
  capDrop: list('cap-drop'),
  noNewPrivileges: switched('no-new-privileges'),
  timeout: time('timeout'),
  stepTimeout: time('step-timeout'),
  stepLogLimit: single('step-log-limit'),
  retryStep: single('retry-step'),
  keepFailed: single('keep-failed'),
  jobs: single('jobs'),
  sourceDateEpoch: single('source-date-epoch'),
  retry: single('retry'),
  retryDelay: time('retry-delay'),
  pushChunkSize: single('push-chunk-size'),
  report: single('report'),
  flags: (words) => words,
};

/** Flags of `pull`, and but for the platform of `push`. */
export const TRANSFER_FLAGS: Writers<PullOptions> = {
  allTags: switched('all-tags'),
  platform: single('platform'),
  retry: single('retry'),
  retryDelay: time('retry-delay'),
};

/** Flags of `images`. */
export const IMAGES_FLAGS: Writers<ImagesOptions> = { filters: list('filter') };

/** Flags of `save`. */
export const SAVE_FLAGS: Writers<SaveOptions> = {
  dest: single('output'),
  format: single('format'),
};

/** Flags of `load`. */
export const LOAD_FLAGS: Writers<LoadOptions> = { platform: single('platform') };

/** Flags of `run`. */
export const RUN_FLAGS: Writers<Without<RunOptions, 'command' | 'input' | 'onOutput'>> = {
  entrypoint: single('entrypoint'),
  env: pairs('env'),
  user: single('user'),
  workdir: single('workdir'),
  volumes: list('volume'),
  tmpfs: list('tmpfs'),
  network: single('network'),
  readOnly: switched('read-only'),
  platform: single('platform'),
  pull: single('pull'),
  flags: (words) => words,
};

/** Flags of `prune`. */
export const PRUNE_FLAGS: Writers<PruneOptions> = {
  all: switched('all'),
  filters: list('filter'),
  dryRun: switched('dry-run'),
};

/** The words for all options that are there; those that the table does not name are left out. */
export function flagsOf<T extends object>(options: object, writers: Writers<T>): string[] {
  const given = options as Readonly<Record<string, unknown>>;
  const table = writers as Readonly<Record<string, (value: unknown) => readonly string[]>>;
  return Object.entries(table).flatMap(([name, write]) => {
    const value = given[name];
    return value === undefined || value === null ? [] : write(value);
  });
}

/**
 * `type=oci,dest=app.tar`; a value with a comma or quotes is quoted as in CSV. RFC 4180, section 2.
 */
function fieldsText(value: string | Fields): string {
  if (typeof value === 'string') return value;
  return Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .map(([key, field]) => `${key}=${String(field)}`)
    .map((text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text))
    .join(',');
}
