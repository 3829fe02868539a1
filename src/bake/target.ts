import type { Diagnostic } from '../diagnostics/error';
import type { Span } from './hcl/syntax';

/**
 * One entry of `output`, `cache-from`, `secret`, …: its keys as in the options of `mbuild build`.
 */
export type Entry = Readonly<Record<string, string | readonly string[]>>;

/** What the attributes of a target hold, by their kind. */
export interface FieldValues {
  readonly text: string;
  readonly flag: boolean;
  readonly texts: readonly string[];
  /** Names to values; null means that the attribute is as if it were not there. */
  readonly map: ReadonlyMap<string, string>;
  readonly entries: readonly Entry[];
}

export type FieldKind = keyof FieldValues;

/** An attribute of a target. */
export interface Field {
  readonly kind: FieldKind;
  /**
   * Whether a later definition takes the place of an earlier one, or adds to it. Maps are always
   * added to.
   */
  readonly merge: 'replace' | 'append';
  /** Of entries: the key by which a later one takes the place of an earlier one. */
  readonly identity?: string | undefined;
}

/** The attributes, in the order in which docker prints them (docs/bake-reference.md of buildx). */
export const FIELDS = {
  description: { kind: 'text', merge: 'replace' },
  annotations: { kind: 'texts', merge: 'append' },
  attest: { kind: 'entries', merge: 'append', identity: 'type' },
  context: { kind: 'text', merge: 'replace' },
  contexts: { kind: 'map', merge: 'append' },
  dockerfile: { kind: 'text', merge: 'replace' },
  'dockerfile-inline': { kind: 'text', merge: 'replace' },
  args: { kind: 'map', merge: 'append' },
  labels: { kind: 'map', merge: 'append' },
  tags: { kind: 'texts', merge: 'replace' },
  'cache-from': { kind: 'entries', merge: 'append' },
  'cache-to': { kind: 'entries', merge: 'replace' },
  target: { kind: 'text', merge: 'replace' },
  secret: { kind: 'entries', merge: 'append', identity: 'id' },
  ssh: { kind: 'entries', merge: 'append', identity: 'id' },
  platforms: { kind: 'texts', merge: 'replace' },
  output: { kind: 'entries', merge: 'replace' },
  pull: { kind: 'flag', merge: 'replace' },
  'no-cache': { kind: 'flag', merge: 'replace' },
  network: { kind: 'text', merge: 'replace' },
  'no-cache-filter': { kind: 'texts', merge: 'append' },
  'shm-size': { kind: 'text', merge: 'replace' },
  ulimits: { kind: 'texts', merge: 'append' },
  resources: { kind: 'map', merge: 'append' },
  call: { kind: 'text', merge: 'replace' },
  entitlements: { kind: 'texts', merge: 'append' },
  'extra-hosts': { kind: 'map', merge: 'append' },
  policy: { kind: 'entries', merge: 'append' },
} as const satisfies Readonly<Record<string, Field>>;

export type FieldName = keyof typeof FIELDS;

/** The attributes that a target has. */
export type Attributes = {
  readonly [N in FieldName]?: FieldValues[(typeof FIELDS)[N]['kind']] | undefined;
};

/** A target as a file has it. */
export interface Target {
  readonly name: string;
  readonly inherits: readonly string[];
  readonly attributes: Attributes;
  /** Where its block stands, for errors; `undefined` for one of a compose file. */
  readonly span?: Span | undefined;
}

/** A group of targets and of other groups. */
export interface Group {
  readonly name: string;
  readonly description?: string | undefined;
  readonly targets: readonly string[];
  readonly span?: Span | undefined;
}

/** All that the files of a bake hold. */
export interface Definition {
  readonly groups: readonly Group[];
  readonly targets: readonly Target[];
  readonly variables: readonly Variable[];
  /** Attributes that nobody knows: docker passes over them. */
  readonly warnings: readonly Diagnostic[];
}

/** A declared variable and its value, for `--list variables`. */
export interface Variable {
  readonly name: string;
  readonly description?: string | undefined;
  readonly type?: string | undefined;
  readonly value?: string | undefined;
}

export function isFieldName(name: string): name is FieldName {
  return Object.hasOwn(FIELDS, name);
}

/** The attributes of `below` with those of `above` put over them. */
export function mergeAttributes(below: Attributes, above: Attributes): Attributes {
  const merged: Record<string, unknown> = { ...below };
  for (const name of Object.keys(above).filter(isFieldName))
    merged[name] = mergeField(name, below[name], above[name]);
  return merged as Attributes;
}

function mergeField(name: FieldName, below: unknown, above: unknown): unknown {
  const { kind, merge }: Field = FIELDS[name];
  if (above === undefined) return below;
  if (below === undefined) return above;
  if (kind === 'map')
    return new Map([...(below as FieldValues['map']), ...(above as FieldValues['map'])]);
  if (merge === 'replace' || !Array.isArray(below)) return above;
  return [...(below as unknown[]), ...(above as unknown[])];
}

/**
 * Without what stands twice, and without empty texts: what docker does with each target at its end.
 */
export function normalize(attributes: Attributes): Attributes {
  const result: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(attributes)) {
    const normal = isFieldName(name) ? normalizeField(name, value) : undefined;
    if (normal !== undefined) result[name] = normal;
  }
  const { network, entitlements = [] } = result as Attributes;
  if (network === 'host') result['entitlements'] = unique([...entitlements, 'network.host']);
  return result as Attributes;
}

function normalizeField(name: FieldName, value: unknown): unknown {
  const { kind, identity }: Field = FIELDS[name];
  if (kind === 'texts') {
    const texts = unique((value as readonly string[]).filter((text) => text !== ''));
    return texts.length === 0 ? undefined : texts;
  }
  if (kind === 'entries') {
    const entries = uniqueEntries(value as readonly Entry[], identity);
    return entries.length === 0 ? undefined : entries;
  }
  if (kind !== 'map') return value;
  const pairs = [...(value as FieldValues['map'])];
  const kept = name === 'contexts' ? pairs.filter(([, path]) => path !== '') : pairs;
  return kept.length === 0 ? undefined : new Map(kept);
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)];
}

/** Where a key tells entries apart, the last one stands at the place of the first. */
function uniqueEntries(entries: readonly Entry[], identity: string | undefined): Entry[] {
  const found = new Map<string, Entry>();
  for (const entry of entries) {
    const key =
      identity === undefined
        ? JSON.stringify(Object.entries(entry).sort(([a], [b]) => (a < b ? -1 : 1)))
        : String(entry[identity] ?? '');
    found.set(key, entry);
  }
  return [...found.values()];
}
