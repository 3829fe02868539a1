import type { CacheSource, CacheTarget } from '../build';
import { csvFields, type CsvField } from '../diagnostics/csv';
import { MbuildError } from '../diagnostics/error';
import {
  FLAG,
  NOT_EMPTY,
  oneOf,
  onlyFlag,
  readKeys,
  type KeyTable,
  type KeyValues,
  type ReadKey,
} from '../diagnostics/structured-option';
import { didYouMean } from '../diagnostics/suggest';
import { formatReference, parseReference } from '../oci/reference';
import { COMPRESSION_KEYS, compressionOf } from '../output/kinds/image-keys';
import { SERVICE_KEYS, actionsOf, azureOf, s3Of, type Environment } from './cache-services';
import { usage } from './usage';

const TYPES = ['registry', 'local', 'http', 'gha', 's3', 'azblob', 'inline'] as const;
const TYPES_HINT = 'types are registry, local, http, gha, s3, azblob and, for --cache-to, inline';

const TAG: ReadKey<string> = {
  read: (value, key, wrong) => {
    if (/^\w[\w.-]{0,127}$/.test(value)) return value;
    throw wrong(
      `${key}=${value} is not a tag`,
      'use letters, digits, dots, dashes and underscores',
    );
  },
};
const DIGEST: ReadKey<string> = {
  read: (value, key, wrong) => {
    if (/^sha256:[0-9a-f]{64}$/.test(value)) return value;
    throw wrong(`${key}=${value} is not a digest`, 'write sha256: and 64 characters');
  },
};
const URL_KEY: ReadKey<string> = {
  read: (value, key, wrong) => {
    if (URL.canParse(value) && /^https?:$/.test(new URL(value).protocol)) return value;
    throw wrong(`${key}=${value} is not an address`, 'write url=https://HOST/DIRECTORY');
  },
};

const REF_KEYS = {
  ref: NOT_EMPTY,
  'registry.insecure': {
    refused: 'is an option for registries, not for caches',
    hint: 'use --insecure-registry HOST',
  },
} as const satisfies KeyTable;
const HTTP_KEYS = {
  url: URL_KEY,
  tag: TAG,
  'authorization-env': NOT_EMPTY,
} as const satisfies KeyTable;
/** What every cache that is written can be told. */
const TARGET_KEYS = {
  ...COMPRESSION_KEYS,
  mode: oneOf(['min', 'max']),
  'ignore-error': FLAG,
  'oci-mediatypes': onlyFlag(true, 'is not supported', 'caches have OCI media types'),
  'image-manifest': onlyFlag(true, 'is not supported', 'caches are written as image manifests'),
} as const satisfies KeyTable;

const SOURCES = {
  registry: REF_KEYS,
  local: { src: NOT_EMPTY, tag: TAG, digest: DIGEST },
  http: HTTP_KEYS,
  ...SERVICE_KEYS,
} as const satisfies Readonly<Record<string, KeyTable>>;
const TARGETS = {
  registry: { ...REF_KEYS, ...TARGET_KEYS },
  local: { dest: NOT_EMPTY, tag: TAG, ...TARGET_KEYS },
  http: { ...HTTP_KEYS, ...TARGET_KEYS },
  gha: { ...SERVICE_KEYS.gha, ...TARGET_KEYS },
  s3: { ...SERVICE_KEYS.s3, ...TARGET_KEYS },
  azblob: { ...SERVICE_KEYS.azblob, ...TARGET_KEYS },
  inline: {
    mode: {
      read: (value, _key, wrong) => {
        if (value === 'min') return value;
        throw wrong(
          'an inline cache holds only the steps of its image, so its mode is always min',
          'use type=registry,mode=max',
        );
      },
    },
  },
} as const satisfies Readonly<Record<string, KeyTable>>;

/**
 * One `--cache-from`: a bare name is an image or cache in a registry.
 * @throws MbuildError USAGE, UNSUPPORTED, REFERENCE_INVALID.
 */
export function readCacheFrom(text: string, env: Environment): CacheSource {
  const { type, title, fields } = splitType('cache-from', text);
  switch (type) {
    case 'inline':
      throw usage(
        'an inline cache is read from its image, not with --cache-from type=inline',
        'use --cache-from type=registry,ref=NAME',
      );
    case 'registry':
      return { type, ref: refOf('cache-from', readKeys({ title, keys: SOURCES[type] }, fields)) };
    case 'http':
      return httpOf('cache-from', readKeys({ title, keys: SOURCES[type] }, fields), env);
    case 'gha':
      return actionsOf(title, readKeys({ title, keys: SOURCES[type] }, fields), env);
    case 's3':
      return s3Of(title, readKeys({ title, keys: SOURCES[type] }, fields), env);
    case 'azblob':
      return azureOf(title, readKeys({ title, keys: SOURCES[type] }, fields), env);
    case 'local': {
      const { src, tag = 'latest', digest } = readKeys({ title, keys: SOURCES[type] }, fields);
      if (src === undefined) throw usage('--cache-from type=local needs src=DIRECTORY');
      return { type, folder: src, tag, digest };
    }
  }
}

/** One `--cache-to`. @throws MbuildError USAGE, UNSUPPORTED, REFERENCE_INVALID. */
export function readCacheTo(text: string, env: Environment): CacheTarget {
  const { type, title, fields } = splitType('cache-to', text);
  switch (type) {
    case 'inline':
      readKeys({ title, keys: TARGETS[type] }, fields);
      return { type };
    case 'registry': {
      const values = readKeys({ title, keys: TARGETS[type] }, fields);
      return { type, ref: refOf('cache-to', values), ...targetOf(values) };
    }
    case 'http': {
      const values = readKeys({ title, keys: TARGETS[type] }, fields);
      return { ...httpOf('cache-to', values, env), ...targetOf(values) };
    }
    case 'gha': {
      const values = readKeys({ title, keys: TARGETS[type] }, fields);
      return { ...actionsOf(title, values, env), ...targetOf(values) };
    }
    case 's3': {
      const values = readKeys({ title, keys: TARGETS[type] }, fields);
      return { ...s3Of(title, values, env), ...targetOf(values) };
    }
    case 'azblob': {
      const values = readKeys({ title, keys: TARGETS[type] }, fields);
      return { ...azureOf(title, values, env), ...targetOf(values) };
    }
    case 'local': {
      const values = readKeys({ title, keys: TARGETS[type] }, fields);
      const { dest, tag = 'latest' } = values;
      if (dest === undefined) throw usage('--cache-to type=local needs dest=DIRECTORY');
      return { type, folder: dest, tag, ...targetOf(values) };
    }
  }
}

function targetOf(
  values: KeyValues<typeof TARGET_KEYS>,
): Pick<Extract<CacheTarget, { type: 'registry' }>, 'mode' | 'ignoreError' | 'compression'> {
  return {
    mode: values.mode ?? 'min',
    ignoreError: values['ignore-error'] ?? true,
    compression: compressionOf(values),
  };
}

function splitType(
  flag: string,
  text: string,
): {
  readonly type: (typeof TYPES)[number];
  readonly title: string;
  readonly fields: readonly CsvField[];
} {
  const fields = csvFields(text);
  const [only] = fields;
  if (fields.length === 1 && only !== undefined && only.value === undefined)
    return { type: 'registry', title: `--${flag}`, fields: [{ key: 'ref', value: text }] };
  const type = typeOf(flag, fields.find(({ key }) => key === 'type')?.value);
  return {
    type,
    title: `--${flag} type=${type}`,
    fields: fields.filter(({ key }) => key !== 'type'),
  };
}

function typeOf(flag: string, type: string | undefined): (typeof TYPES)[number] {
  const known = TYPES.find((name) => name === type);
  if (known !== undefined) return known;
  if (type === undefined) throw usage(`--${flag} has no type`, TYPES_HINT);
  throw usage(
    `unknown type ${JSON.stringify(type)} in --${flag}`,
    didYouMean(type, TYPES) ?? TYPES_HINT,
  );
}

function refOf(flag: string, { ref }: KeyValues<typeof REF_KEYS>): string {
  if (ref === undefined) throw usage(`--${flag} type=registry needs ref=NAME`);
  const reference = parseReference(ref);
  if (reference === undefined || (flag === 'cache-to' && reference.digest !== undefined))
    throw new MbuildError(
      'REFERENCE_INVALID',
      `invalid reference ${JSON.stringify(ref)} in --${flag}`,
      { hint: 'write [registry/]repository[:tag]' },
    );
  return formatReference(reference);
}

/**
 * The address of a directory on a web server. What may be secret is in its user and password, or
 * better in a variable of the environment.
 */
function httpOf(
  flag: string,
  { url, tag = 'latest', 'authorization-env': name }: KeyValues<typeof HTTP_KEYS>,
  env: Environment,
): Extract<CacheSource, { type: 'http' }> {
  if (url === undefined) throw usage(`--${flag} type=http needs url=https://HOST/DIRECTORY`);
  const authorization = name === undefined ? undefined : env[name];
  if (name !== undefined && authorization === undefined)
    throw usage(
      `the variable ${name} of --${flag} authorization-env is not set`,
      'set it to the header: Bearer TOKEN, or Basic …',
    );
  return { type: 'http', url, tag, ...(authorization === undefined ? {} : { authorization }) };
}
