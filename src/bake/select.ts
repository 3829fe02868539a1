import { MbuildError } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import { mistake } from './hcl/syntax';
import { globMatches, isPattern } from './names';
import { applyOverrides, matchingTargets, type Override } from './overrides';
import {
  mergeAttributes,
  normalize,
  type Attributes,
  type Definition,
  type Group,
  type Target,
} from './target';

/** A target as it is built: everything inherited and overridden is in it. */
export interface ResolvedTarget {
  readonly name: string;
  readonly attributes: Attributes;
  /** It is built for others alone (`contexts = { x = "target:y" }`): it leaves nothing. */
  readonly linked: boolean;
}

/** What a call of bake is about. */
export interface Selection {
  readonly targets: ReadonlyMap<string, ResolvedTarget>;
  readonly groups: ReadonlyMap<string, Group>;
}

/** The targets that the names stand for. @throws MbuildError BAKE_INVALID, USAGE. */
export function selectTargets(
  definition: Definition,
  names: readonly string[],
  overrides: readonly Override[],
): Selection {
  const resolver = new Resolver(definition, overrides);
  const wanted = [...new Set(names.flatMap((name) => matchNames(definition, name)))];
  const groups = new Map<string, Group>();
  for (const name of wanted) {
    const reached = reach(definition, name);
    for (const target of reached.targets) resolver.select(target);
    for (const group of reached.groups) groups.set(group.name, group);
  }
  addDefaultGroup(groups, wanted);
  return { targets: resolver.withLinks(), groups };
}

/** What was asked for is the group "default" of what is shown. */
function addDefaultGroup(groups: Map<string, Group>, wanted: readonly string[]): void {
  const own = groups.get('default');
  const others = own === undefined ? wanted : wanted.filter((name) => name !== 'default');
  const targets = [...new Set([...(own?.targets ?? []), ...others])].sort();
  groups.set('default', { ...own, name: 'default', targets });
}

function matchNames({ groups, targets }: Definition, given: string): readonly string[] {
  // A service's name may have a dot, and a target's may not.
  const name = given.replaceAll('.', '_');
  if (!isPattern(name)) return [name];
  const all = [...groups, ...targets].map((each) => each.name);
  const found = all.filter((each) => globMatches(name, each));
  if (found.length > 0) return found;
  throw new MbuildError('BAKE_INVALID', `no target matches "${given}"`);
}

interface Reached {
  readonly targets: readonly string[];
  readonly groups: readonly Group[];
}

/**
 * The targets and groups that a name leads to. Inside of a group its own name is that of a target.
 */
function reach(
  definition: Definition,
  name: string,
  visited: ReadonlySet<string> = new Set(),
): Reached {
  const group = definition.groups.find((candidate) => candidate.name === name);
  if (group === undefined || visited.has(name)) return { targets: [name], groups: [] };
  const inner = group.targets.map((each) => reach(definition, each, new Set([...visited, name])));
  return {
    targets: [...new Set(inner.flatMap(({ targets }) => targets))],
    groups: [group, ...inner.flatMap(({ groups }) => groups)],
  };
}

class Resolver {
  readonly #byName: ReadonlyMap<string, readonly Target[]>;
  readonly #overrides: ReadonlyMap<string, readonly Override[]>;
  readonly #resolved = new Map<string, ResolvedTarget>();

  constructor(
    private readonly definition: Definition,
    overrides: readonly Override[],
  ) {
    const { targets } = definition;
    const byName = new Map<string, Target[]>();
    for (const target of targets)
      byName.set(target.name, [...(byName.get(target.name) ?? []), target]);
    this.#byName = byName;
    const names = [...byName.keys()];
    const byTarget = new Map<string, Override[]>();
    for (const override of overrides)
      for (const name of matchingTargets(override.pattern, names))
        byTarget.set(name, [...(byTarget.get(name) ?? []), override]);
    this.#overrides = byTarget;
  }

  select(name: string): void {
    this.#resolved.set(name, this.#resolve(name, false));
  }

  /** What was selected, and the targets that these need as contexts. */
  withLinks(): ReadonlyMap<string, ResolvedTarget> {
    for (const { name } of this.#resolved.values()) this.#link(name, []);
    return this.#resolved;
  }

  #link(name: string, path: readonly string[]): void {
    const target = this.#resolved.get(name);
    for (const other of linksOf(target?.attributes ?? {})) {
      if (other === name || path.includes(other))
        throw new MbuildError(
          'BAKE_INVALID',
          `target "${name}" depends on itself: ${[...path, name, other].join(' → ')}`,
        );
      if (!this.#resolved.has(other)) this.#resolved.set(other, this.#resolve(other, true));
      this.#link(other, [...path, name]);
      this.#checkPlatforms(name, other);
      this.#inheritEntitlements(name, other);
    }
  }

  #checkPlatforms(name: string, other: string): void {
    const own = this.#resolved.get(name)?.attributes.platforms ?? [];
    const theirs = this.#resolved.get(other)?.attributes.platforms ?? [];
    const missing = own.filter((platform) => !theirs.includes(platform));
    if (own.length <= 1 || theirs.length <= 1 || missing.length === 0) return;
    throw new MbuildError(
      'BAKE_INVALID',
      `target "${name}" is built for ${missing.join(', ')}, but target "${other}", which it needs, is not`,
      { hint: `add the platform to "${other}"` },
    );
  }

  #inheritEntitlements(name: string, other: string): void {
    const target = this.#resolved.get(name);
    const theirs = this.#resolved.get(other)?.attributes.entitlements;
    if (target === undefined || theirs === undefined) return;
    const attributes = mergeAttributes(target.attributes, { entitlements: theirs });
    this.#resolved.set(name, { ...target, attributes: normalize(attributes) });
  }

  #resolve(name: string, linked: boolean): ResolvedTarget {
    const found = this.#attributes(name, []);
    const attributes = {
      ...found,
      context: found.context ?? '.',
      dockerfile: (found.dockerfile ?? '') === '' ? 'Dockerfile' : found.dockerfile,
      ...(linked ? { output: [{ type: 'cacheonly' }] } : {}),
    };
    return { name, attributes, linked };
  }

  /** Inherited attributes, then the target's own, then overrides. */
  #attributes(name: string, path: readonly string[]): Attributes {
    const own = this.#byName.get(name);
    if (own === undefined) throw this.#unknown(name, path.at(-1));
    const [first] = own;
    if (path.includes(name)) {
      const message = `target "${name}" inherits from itself: ${[...path, name].join(' → ')}`;
      if (first?.span !== undefined) throw mistake(first.span, message);
      throw new MbuildError('BAKE_INVALID', message);
    }
    const parents = own.flatMap(({ inherits }) => inherits);
    const inherited = parents.map((parent) => this.#attributes(parent, [...path, name]));
    const merged = [...inherited, ...own.map(({ attributes }) => attributes)].reduce(
      mergeAttributes,
      {},
    );
    return normalize(applyOverrides(merged, this.#overrides.get(name) ?? []));
  }

  #unknown(name: string, by: string | undefined): MbuildError {
    const { targets, groups } = this.definition;
    const names = [...groups, ...targets].map((each) => each.name);
    const message = `the target "${name}" does not exist`;
    const hint =
      didYouMean(name, names) ??
      (names.length === 0
        ? undefined
        : `targets are ${[...new Set(names)].slice(0, 10).join(', ')}`);
    const heir = by === undefined ? undefined : this.#byName.get(by)?.[0]?.span;
    return heir === undefined
      ? new MbuildError('BAKE_INVALID', message, { hint })
      : mistake(heir, `${message}, which "${by}" inherits from`, hint);
  }
}

/** The targets that are contexts of this one. */
export function linksOf({ contexts }: Attributes): string[] {
  return [...(contexts?.values() ?? [])].flatMap((value) =>
    value.startsWith('target:') ? [value.slice('target:'.length)] : [],
  );
}
