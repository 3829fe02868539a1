import { MbuildError } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import { readEntries } from './entry-text';
import { globMatches } from './names';
import {
  FIELDS,
  mergeAttributes,
  type Attributes,
  type Entry,
  type FieldName,
  type FieldValues,
} from './target';

/** One `--set TARGET.KEY[.NAME][+]=VALUE`. */
export interface Override {
  /** Of targets; `*` and the like match several. */
  readonly pattern: string;
  readonly key: string;
  /** Of a map's entry, or of a secret. */
  readonly name: string | undefined;
  readonly append: boolean;
  readonly value: string;
}

/** The names that `--set` has for attributes that are called otherwise in files. */
const ALIASES: Readonly<Record<string, FieldName>> = { platform: 'platforms', secrets: 'secret' };
/** Words that stand for outputs. */
const SWITCHES = ['push', 'load'];
/** Values of these come on top of those of the file, also without `+`. */
const ALWAYS_ADDED: readonly string[] = ['entitlements', 'annotations', 'attest'];

/**
 * Reads `--set` options. A value of `args` that is not given is the environment's.
 * @throws MbuildError USAGE.
 */
export function readOverrides(
  texts: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Override[] {
  return texts.flatMap((text) => {
    const at = text.indexOf('=');
    const left = at < 0 ? text : text.slice(0, at);
    const append = left.endsWith('+');
    const [pattern = '', key = '', ...rest] = (append ? left.slice(0, -1) : left).split('.');
    const name = rest.length === 0 ? undefined : rest.join('.');
    checkKey(text, key, { name, append });
    if (at >= 0) return [{ pattern, key, name, append, value: text.slice(at + 1) }];
    if (key !== 'args') throw usage(text, 'it has no "="');
    const value = env[name ?? ''];
    return value === undefined ? [] : [{ pattern, key, name, append, value }];
  });
}

function checkKey(
  text: string,
  key: string,
  { name, append }: { readonly name: string | undefined; readonly append: boolean },
): void {
  if (key === '') throw usage(text, 'the form is TARGET.KEY=VALUE');
  const field = fieldOf(key);
  if (field === undefined && !SWITCHES.includes(key))
    throw new MbuildError('USAGE', `--set ${text}: a target has no attribute "${key}"`, {
      hint: didYouMean(key, [...Object.keys(FIELDS), ...Object.keys(ALIASES), ...SWITCHES]),
    });
  const named = key === 'secret' || (field !== undefined && FIELDS[field].kind === 'map');
  if (named && (name ?? '') === '' && key !== 'labels')
    throw usage(text, `${key} needs a name: TARGET.${key}.NAME=VALUE`);
  if (key === 'secret' && append)
    throw usage(text, 'a secret is set as a whole: "+" cannot add to it');
}

function fieldOf(key: string): FieldName | undefined {
  const name = ALIASES[key] ?? key;
  return Object.hasOwn(FIELDS, name) ? (name as FieldName) : undefined;
}

function usage(text: string, reason: string): MbuildError {
  return new MbuildError('USAGE', `--set ${text}: ${reason}`, {
    hint: 'for example --set app.args.VERSION=1.2 or --set "*.platform=linux/arm64"',
  });
}

/** The targets that an override means. @throws MbuildError USAGE where it means none. */
export function matchingTargets(pattern: string, names: readonly string[]): readonly string[] {
  if (names.includes(pattern)) return [pattern];
  const found = names.filter((name) => globMatches(pattern, name));
  if (found.length > 0) return found;
  throw new MbuildError('USAGE', `--set: no target matches "${pattern}"`, {
    hint: didYouMean(pattern, names),
  });
}

/** The attributes with the overrides of one target put over them. @throws MbuildError USAGE. */
export function applyOverrides(attributes: Attributes, overrides: readonly Override[]): Attributes {
  let result = attributes;
  for (const group of grouped(overrides)) result = applyGroup(result, group);
  return result;
}

/**
 * Overrides of one attribute count together: the first list of values takes the old one's place.
 */
function grouped(overrides: readonly Override[]): Override[][] {
  const groups = new Map<string, Override[]>();
  for (const override of overrides) {
    const key = JSON.stringify([override.key, override.name]);
    groups.set(key, [...(groups.get(key) ?? []), override]);
  }
  return [...groups.values()];
}

function applyGroup(attributes: Attributes, group: readonly Override[]): Attributes {
  const last = group.at(-1);
  if (last === undefined) return attributes;
  const { key, name, value, append } = last;
  if (key === 'push') return withPush(attributes, readFlag(last));
  if (key === 'load') return readFlag(last) ? withLoad(attributes) : attributes;
  if (key === 'secret') return withSecret(attributes, name ?? '', value);
  const field = fieldOf(key);
  if (field === undefined) return attributes;
  switch (FIELDS[field].kind) {
    case 'text':
      return { ...attributes, [field]: value };
    case 'flag':
      return { ...attributes, [field]: readFlag(last) };
    case 'map':
      return mergeAttributes(attributes, { [field]: new Map([[name ?? '', value]]) });
    case 'texts':
      return withList(
        attributes,
        field,
        group.map((each) => each.value),
        append,
      );
    case 'entries':
      return withList(
        attributes,
        field,
        group.flatMap((each) => (each.value === '' ? [] : readEntries(field, each.value))),
        append,
      );
  }
}

function withList(
  attributes: Attributes,
  field: FieldName,
  values: readonly (string | Entry)[],
  append: boolean,
): Attributes {
  const before = (attributes[field] ?? []) as readonly (string | Entry)[];
  const kept = append || ALWAYS_ADDED.includes(field) ? before : [];
  return { ...attributes, [field]: [...kept, ...values] };
}

function readFlag({ key, value }: Override): boolean {
  if (/^(1|t|true)$/i.test(value)) return true;
  if (/^(0|f|false)$/i.test(value)) return false;
  throw new MbuildError('USAGE', `--set: ${key} must be true or false, not "${value}"`);
}

/** Another source for a secret that the file declares. */
function withSecret(attributes: Attributes, id: string, value: string): Attributes {
  const secrets = attributes.secret ?? [];
  const declared = secrets.some((secret) => secret['id'] === id);
  if (!declared)
    throw new MbuildError('USAGE', `--set: the target has no secret "${id}"`, {
      hint:
        didYouMean(
          id,
          secrets.map((secret) => String(secret['id'])),
        ) ?? 'declare it in the file, or add it with --set TARGET.secrets+=id=NAME,src=FILE',
    });
  const [source = {}] = readEntries('secret', value);
  const secret = secrets.map((each) => (each['id'] === id ? { ...source, id } : each));
  return { ...attributes, secret };
}

/**
 * As docker's `--push` has it: outputs to an image push; where there are none but `docker`, one is
 * added.
 */
function withPush(attributes: Attributes, push: boolean): Attributes {
  const outputs = attributes.output ?? [];
  const set = (output: Entry): Entry =>
    output['type'] === 'image' ? { ...output, push: String(push) } : output;
  if (!push)
    return {
      ...attributes,
      output: outputs.filter(({ type }) => type !== 'registry').map(set),
    };
  const added: FieldValues['entries'] = outputs.every(({ type }) => type === 'docker')
    ? [{ type: 'image', push: 'true' }]
    : [];
  return { ...attributes, output: [...outputs.map(set), ...added] };
}

/** As docker's `--load` has it: an output to docker is added, unless files are wanted alone. */
function withLoad(attributes: Attributes): Attributes {
  const outputs = attributes.output ?? [];
  const images = ['image', 'registry', 'oci', 'docker'];
  const loads = outputs.some(({ type, dest }) => type === 'docker' && dest === undefined);
  if (loads || !outputs.every(({ type }) => images.includes(String(type)))) return attributes;
  return { ...attributes, output: [...outputs, { type: 'docker' }] };
}
