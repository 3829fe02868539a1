import type { ActionsSource, AzureSource, ObjectNames, S3Source } from '../cache/remote/sources';
import {
  FLAG,
  NOT_EMPTY,
  TEXT,
  type KeyTable,
  type KeyValues,
  type ReadKey,
} from '../diagnostics/structured-option';
import { readSize } from './cache-limit';
import { usage } from './usage';

export type Environment = Readonly<Record<string, string | undefined>>;

const ADDRESS: ReadKey<string> = {
  read: (value, key, wrong) => {
    if (URL.canParse(value) && /^https?:$/.test(new URL(value).protocol)) return value;
    throw wrong(`${key}=${value} is not an address`, `write ${key}=https://HOST`);
  },
};
const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };
const DURATION: ReadKey<number> = {
  read: (value, key, wrong) => {
    if (!/^(\d+[smh])+$/.test(value))
      throw wrong(`${key}=${value} is not a duration`, 'write it as 90s, 10m or 24h');
    return [...value.matchAll(/(\d+)([smh])/g)].reduce(
      (sum, [, number, unit = '']) => sum + Number(number) * (SECONDS[unit] ?? 0) * 1000,
      0,
    );
  },
};
const SIZE: ReadKey<number> = { read: (value) => readSize(value) };
const MANY = { refused: 'is not needed: three are sent at once' } as const;

const OBJECT_KEYS = {
  name: NOT_EMPTY,
  prefix: TEXT,
  manifests_prefix: TEXT,
  blobs_prefix: TEXT,
  upload_parallelism: MANY,
} as const satisfies KeyTable;

/** The keys of caches that services keep, as BuildKit has them; some besides. */
export const SERVICE_KEYS = {
  gha: {
    url: ADDRESS,
    url_v2: ADDRESS,
    token: NOT_EMPTY,
    scope: NOT_EMPTY,
    timeout: DURATION,
    'max-size': SIZE,
    version: {
      read: (value: string, key: string, wrong) => {
        if (value === '2') return value;
        throw wrong(`${key}=${value} is not supported`, 'GitHub ended version 1 in April 2025');
      },
    },
    ghtoken: { refused: 'is not needed: the service tells what is there' },
    repository: { refused: 'is not needed: the service tells what is there' },
  },
  s3: {
    ...OBJECT_KEYS,
    bucket: NOT_EMPTY,
    region: NOT_EMPTY,
    endpoint_url: ADDRESS,
    use_path_style: FLAG,
    access_key_id: NOT_EMPTY,
    secret_access_key: NOT_EMPTY,
    session_token: NOT_EMPTY,
    touch_refresh: DURATION,
  },
  azblob: {
    ...OBJECT_KEYS,
    account_url: ADDRESS,
    container: NOT_EMPTY,
    secret_access_key: NOT_EMPTY,
  },
} as const satisfies Readonly<Record<string, KeyTable>>;

const DAY = 24 * 60 * 60 * 1000;
/** GitHub's own limit of all caches of a repository. */
const MAX_ENTRY = 10e9;

/** `type=gha`: what is not given is in the environment of a job's actions. */
export function actionsOf(
  _title: string,
  values: KeyValues<(typeof SERVICE_KEYS)['gha']>,
  env: Environment,
): ActionsSource {
  return {
    type: 'gha',
    url: values.url_v2 ?? values.url ?? env['ACTIONS_RESULTS_URL'] ?? '',
    token: values.token ?? env['ACTIONS_RUNTIME_TOKEN'] ?? '',
    scope: values.scope ?? 'mbuild',
    timeoutMs: values.timeout ?? 10 * 60 * 1000,
    maxSize: values['max-size'] ?? MAX_ENTRY,
  };
}

/** `type=s3`. @throws MbuildError USAGE without a bucket or a region. */
export function s3Of(
  title: string,
  values: KeyValues<(typeof SERVICE_KEYS)['s3']>,
  env: Environment,
): S3Source {
  const bucket = values.bucket ?? env['AWS_BUCKET'];
  if (bucket === undefined) throw usage(`${title} needs bucket=NAME`, 'or set AWS_BUCKET');
  const region = values.region ?? env['AWS_REGION'] ?? env['AWS_DEFAULT_REGION'];
  if (region === undefined) throw usage(`${title} needs region=NAME`, 'or set AWS_REGION');
  const { access_key_id: accessKeyId, secret_access_key: secretAccessKey } = values;
  if ((accessKeyId === undefined) !== (secretAccessKey === undefined))
    throw usage(`${title} needs access_key_id and secret_access_key, or neither of them`);
  return {
    type: 's3',
    bucket,
    region,
    endpoint: values.endpoint_url,
    pathStyle: values.use_path_style ?? false,
    ...(accessKeyId === undefined || secretAccessKey === undefined
      ? {}
      : {
          credentials: { accessKeyId, secretAccessKey, sessionToken: values.session_token },
        }),
    touchAfterMs: values.touch_refresh ?? DAY,
    ...objectNames(values),
  };
}

/** `type=azblob`. @throws MbuildError USAGE without the account's address. */
export function azureOf(
  title: string,
  values: KeyValues<(typeof SERVICE_KEYS)['azblob']>,
  env: Environment,
): AzureSource {
  const accountUrl = values.account_url ?? env['BUILDKIT_AZURE_STORAGE_ACCOUNT_URL'];
  if (accountUrl === undefined || !URL.canParse(accountUrl))
    throw usage(`${title} needs account_url=https://ACCOUNT.blob.core.windows.net`);
  return {
    type: 'azblob',
    accountUrl,
    container: values.container ?? env['BUILDKIT_AZURE_STORAGE_CONTAINER'] ?? 'buildkit-cache',
    key: values.secret_access_key,
    ...objectNames(values),
  };
}

function objectNames(values: KeyValues<typeof OBJECT_KEYS>): ObjectNames {
  return {
    names: (values.name ?? 'mbuild').split(';').filter((name) => name !== ''),
    prefix: values.prefix ?? '',
    manifestsPrefix: values.manifests_prefix ?? 'manifests/',
    blobsPrefix: values.blobs_prefix ?? 'blobs/',
  };
}
