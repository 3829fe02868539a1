import type { CacheSource, CacheTarget } from '../build';
import { MbuildError } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import { formatReference, parseReference } from '../oci/reference';
import { isTrue, readCompression } from './compression';
import { csvFields } from './csv';
import { usage } from './usage';

/** Types of caches that buildx has and mbuild has not. */
const OTHERS = ['gha', 's3', 'azblob'];
const TYPES = ['registry', 'local', 'http', 'inline'] as const;
const TYPES_HINT = 'types are registry, local, http and, for --cache-to, inline';
const HTTP_KEYS = ['url', 'tag', 'authorization-env'];
const SOURCE_KEYS = { registry: ['ref'], local: ['src', 'tag', 'digest'], http: HTTP_KEYS };
const PLACE_KEYS = { registry: ['ref'], local: ['dest', 'tag'], http: HTTP_KEYS };
const TARGET_KEYS = [
  'mode',
  'ignore-error',
  'compression',
  'compression-level',
  'force-compression',
  'oci-mediatypes',
  'image-manifest',
];

type Environment = Readonly<Record<string, string | undefined>>;

/** One `--cache-from`: a bare name is an image or cache in a registry. @throws MbuildError USAGE, UNSUPPORTED, REFERENCE_INVALID. */
export function readCacheFrom(text: string, env: Environment): CacheSource {
  const values = fieldsOf('cache-from', text);
  const type = typeOf('cache-from', values);
  if (type === 'inline')
    throw usage(
      '--cache-from type=inline is read where the image is',
      'use --cache-from type=registry,ref=NAME',
    );
  checkKeys('cache-from', values, SOURCE_KEYS[type]);
  if (type === 'registry') return { type, ref: readRef('cache-from', values) };
  if (type === 'http') return readHttp('cache-from', values, env);
  const digest = values.get('digest');
  if (digest !== undefined && !/^sha256:[0-9a-f]{64}$/.test(digest))
    throw usage(`digest=${digest} of --cache-from is no digest`);
  return {
    type,
    folder: readFolder('cache-from', 'src', values),
    tag: values.get('tag') ?? 'latest',
    digest,
  };
}

/** One `--cache-to`. @throws MbuildError USAGE, UNSUPPORTED, REFERENCE_INVALID. */
export function readCacheTo(text: string, env: Environment): CacheTarget {
  const values = fieldsOf('cache-to', text);
  const type = typeOf('cache-to', values);
  if (type === 'inline') {
    checkKeys('cache-to', values, ['mode']);
    if (values.get('mode') === 'max')
      throw usage(
        'an inline cache holds the steps of its image alone: mode=max cannot be had',
        'use type=registry,mode=max',
      );
    return { type };
  }
  checkKeys('cache-to', values, [...PLACE_KEYS[type], ...TARGET_KEYS]);
  const mode = values.get('mode') ?? 'min';
  if (mode !== 'min' && mode !== 'max')
    throw usage(`mode=${mode} of --cache-to is neither min nor max`);
  const shared = {
    mode,
    ignoreError: !values.has('ignore-error') || isTrue('ignore-error', values.get('ignore-error')),
    compression: readCompression(values),
  } as const;
  if (type === 'registry') return { type, ref: readRef('cache-to', values), ...shared };
  if (type === 'http') return { ...readHttp('cache-to', values, env), ...shared };
  return {
    type,
    folder: readFolder('cache-to', 'dest', values),
    tag: values.get('tag') ?? 'latest',
    ...shared,
  };
}

function fieldsOf(flag: string, text: string): ReadonlyMap<string, string> {
  const fields = csvFields(text);
  const [only] = fields;
  if (fields.length === 1 && only !== undefined && only.value === undefined)
    return new Map([
      ['type', 'registry'],
      ['ref', only.key],
    ]);
  return new Map(
    fields.map(({ key, value }) => {
      if (value === undefined)
        throw usage(
          `invalid value ${JSON.stringify(key)} in --${flag} ${JSON.stringify(text)}`,
          'fields are key=value',
        );
      return [key, value];
    }),
  );
}

function typeOf(flag: string, values: ReadonlyMap<string, string>): (typeof TYPES)[number] {
  const type = values.get('type');
  const known = TYPES.find((name) => name === type);
  if (known !== undefined) return known;
  if (type === undefined) throw usage(`--${flag} has no type`, TYPES_HINT);
  if (OTHERS.includes(type))
    throw new MbuildError('UNSUPPORTED', `--${flag} type=${type} is not supported`, {
      hint: `${TYPES_HINT}; a registry serves every CI`,
    });
  throw usage(
    `unknown type ${JSON.stringify(type)} in --${flag}`,
    didYouMean(type, TYPES) ?? TYPES_HINT,
  );
}

function checkKeys(
  flag: string,
  values: ReadonlyMap<string, string>,
  known: readonly string[],
): void {
  const unknown = [...values.keys()].find((key) => key !== 'type' && !known.includes(key));
  if (unknown !== undefined)
    throw usage(
      `unknown key ${JSON.stringify(unknown)} in --${flag}`,
      didYouMean(unknown, known) ?? `keys are ${known.join(', ')}`,
    );
}

function readRef(flag: string, values: ReadonlyMap<string, string>): string {
  const text = values.get('ref');
  if (text === undefined || text === '') throw usage(`--${flag} type=registry needs ref=NAME`);
  const reference = parseReference(text);
  if (reference === undefined || (flag === 'cache-to' && reference.digest !== undefined))
    throw new MbuildError(
      'REFERENCE_INVALID',
      `invalid reference ${JSON.stringify(text)} in --${flag}`,
      { hint: 'a name is [registry/]repository[:tag]' },
    );
  return formatReference(reference);
}

/** The address of a folder on a web server. What may be secret is in its user and password, or better in a variable of the environment. */
function readHttp(
  flag: string,
  values: ReadonlyMap<string, string>,
  env: Environment,
): Extract<CacheSource, { type: 'http' }> {
  const url = values.get('url') ?? '';
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw usage(`--${flag} type=http needs url=https://HOST/FOLDER`);
  const tag = values.get('tag') ?? 'latest';
  if (!/^\w[\w.-]{0,127}$/.test(tag))
    throw usage(
      `tag=${tag} of --${flag} is no tag`,
      'letters, digits, dots, dashes and underscores',
    );
  const name = values.get('authorization-env');
  const authorization = name === undefined ? undefined : env[name];
  if (name !== undefined && authorization === undefined)
    throw usage(
      `the variable ${name} of --${flag} authorization-env is not set`,
      'it holds the header: Bearer TOKEN, or Basic …',
    );
  return { type: 'http', url, tag, ...(authorization === undefined ? {} : { authorization }) };
}

function readFolder(flag: string, key: string, values: ReadonlyMap<string, string>): string {
  const folder = values.get(key);
  if (folder === undefined || folder === '')
    throw usage(`--${flag} type=local needs ${key}=FOLDER`);
  return folder;
}
