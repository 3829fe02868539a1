import type { CacheSource, CacheTarget } from '../build';
import { MbuildError } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import { formatReference, parseReference } from '../oci/reference';
import { isTrue, readCompression } from './compression';
import { csvFields } from './csv';
import { usage } from './usage';

/** Types of caches that buildx has and mbuild has not. */
const OTHERS = ['gha', 's3', 'azblob'];
const TYPES = ['registry', 'local', 'inline'];
const SOURCE_KEYS = { registry: ['ref'], local: ['src', 'tag', 'digest'] };
const TARGET_KEYS = ['mode', 'ignore-error', 'compression', 'compression-level', 'force-compression', 'oci-mediatypes', 'image-manifest'];

/** One `--cache-from`: a bare name is an image or cache in a registry. @throws MbuildError USAGE, UNSUPPORTED, REFERENCE_INVALID. */
export function readCacheFrom(text: string): CacheSource {
  const values = fieldsOf('cache-from', text);
  const type = typeOf('cache-from', values);
  if (type === 'inline') throw usage('--cache-from type=inline is read where the image is', 'use --cache-from type=registry,ref=NAME');
  checkKeys('cache-from', values, SOURCE_KEYS[type]);
  if (type === 'registry') return { type, ref: readRef('cache-from', values) };
  const digest = values.get('digest');
  if (digest !== undefined && !/^sha256:[0-9a-f]{64}$/.test(digest)) throw usage(`digest=${digest} of --cache-from is no digest`);
  return { type, folder: readFolder('cache-from', 'src', values), tag: values.get('tag') ?? 'latest', digest };
}

/** One `--cache-to`. @throws MbuildError USAGE, UNSUPPORTED, REFERENCE_INVALID. */
export function readCacheTo(text: string): CacheTarget {
  const values = fieldsOf('cache-to', text);
  const type = typeOf('cache-to', values);
  if (type === 'inline') {
    checkKeys('cache-to', values, ['mode']);
    if (values.get('mode') === 'max') throw usage('an inline cache holds the steps of its image alone: mode=max cannot be had', 'use type=registry,mode=max');
    return { type };
  }
  checkKeys('cache-to', values, [...(type === 'registry' ? ['ref'] : ['dest', 'tag']), ...TARGET_KEYS]);
  const mode = values.get('mode') ?? 'min';
  if (mode !== 'min' && mode !== 'max') throw usage(`mode=${mode} of --cache-to is neither min nor max`);
  const shared = { mode, ignoreError: !values.has('ignore-error') || isTrue('ignore-error', values.get('ignore-error')), compression: readCompression(values) } as const;
  if (type === 'registry') return { type, ref: readRef('cache-to', values), ...shared };
  return { type, folder: readFolder('cache-to', 'dest', values), tag: values.get('tag') ?? 'latest', ...shared };
}

function fieldsOf(flag: string, text: string): ReadonlyMap<string, string> {
  const fields = csvFields(text);
  const [only] = fields;
  if (fields.length === 1 && only !== undefined && only.value === undefined) return new Map([['type', 'registry'], ['ref', only.key]]);
  return new Map(fields.map(({ key, value }) => {
    if (value === undefined) throw usage(`invalid value ${JSON.stringify(key)} in --${flag} ${JSON.stringify(text)}`, 'fields are key=value');
    return [key, value];
  }));
}

function typeOf(flag: string, values: ReadonlyMap<string, string>): 'registry' | 'local' | 'inline' {
  const type = values.get('type');
  if (type === 'registry' || type === 'local' || type === 'inline') return type;
  if (type === undefined) throw usage(`--${flag} has no type`, 'types are registry, local and, for --cache-to, inline');
  if (OTHERS.includes(type)) throw new MbuildError('UNSUPPORTED', `--${flag} type=${type} is not supported`, { hint: 'types are registry, local and, for --cache-to, inline; a registry serves every CI' });
  throw usage(`unknown type ${JSON.stringify(type)} in --${flag}`, didYouMean(type, TYPES) ?? 'types are registry, local and, for --cache-to, inline');
}

function checkKeys(flag: string, values: ReadonlyMap<string, string>, known: readonly string[]): void {
  const unknown = [...values.keys()].find((key) => key !== 'type' && !known.includes(key));
  if (unknown !== undefined) throw usage(`unknown key ${JSON.stringify(unknown)} in --${flag}`, didYouMean(unknown, known) ?? `keys are ${known.join(', ')}`);
}

function readRef(flag: string, values: ReadonlyMap<string, string>): string {
  const text = values.get('ref');
  if (text === undefined || text === '') throw usage(`--${flag} type=registry needs ref=NAME`);
  const reference = parseReference(text);
  if (reference === undefined || (flag === 'cache-to' && reference.digest !== undefined)) throw new MbuildError('REFERENCE_INVALID', `invalid reference ${JSON.stringify(text)} in --${flag}`, { hint: 'a name is [registry/]repository[:tag]' });
  return formatReference(reference);
}

function readFolder(flag: string, key: string, values: ReadonlyMap<string, string>): string {
  const folder = values.get(key);
  if (folder === undefined || folder === '') throw usage(`--${flag} type=local needs ${key}=FOLDER`);
  return folder;
}
