/**
 * What a cache that grows too large gives up: what was used least lately, or what is worth least
 * for its size.
 */
export const EVICTION_POLICIES = ['value', 'lru'] as const;
export type EvictionPolicy = (typeof EVICTION_POLICIES)[number];

/** A result as it is weighed. */
export interface Weighed {
  readonly key: string;
  /** The result that it stands on: without that one it is of no use. */
  readonly parent?: string | undefined;
  readonly bytes: number;
  /** How long it takes to make it again. */
  readonly seconds: number;
  /** Builds since the one that last made or found it. */
  readonly idle: number;
  /**
   * Of the times that its instruction came up in a build, the share in which a result of it was
   * found: 0 to 1.
   */
  readonly foundRatio: number;
}

/** How often an instruction came up, and a result of it was found. */
export interface Reuse {
  readonly times: number;
  readonly found: number;
}

/** Of an instruction that is new. */
export const NEVER_SEEN: Reuse = { times: 0, found: 0 };

/** A result with all that stands on it: they go together or not at all. */
interface Branch {
  readonly item: Weighed;
  readonly parent: Branch | undefined;
  readonly children: Set<Branch>;
  bytes: number;
  worth: number;
  /** Builds since one of them was last used. */
  idle: number;
}

/**
 * The results to give up so that the rest has no more than `keepBytes`; none goes without what
 * stands on it. By `value`, those are chosen whose seconds times likelihood of use, per byte, are
 * least, always of a result and all on it together.
 */
export function chooseVictims(
  items: readonly Weighed[],
  keepBytes: number,
  policy: EvictionPolicy,
): Weighed[] {
  let left = items.reduce((sum, { bytes }) => sum + bytes, 0);
  if (left <= keepBytes) return [];
  const branches = new Set(growBranches(items));
  const victims: Weighed[] = [];
  while (left > keepBytes) {
    const least = leastOf(branches, policy);
    if (least === undefined) break;
    for (const branch of wholeOf(least)) {
      branches.delete(branch);
      victims.push(branch.item);
      left -= branch.item.bytes;
    }
    least.parent?.children.delete(least);
    for (let below = least.parent; below !== undefined; below = below.parent) sumUp(below);
  }
  return victims;
}

/**
 * The share of found results, for {@link Weighed}: few cases are taken with a grain of salt, and
 * none are a half.
 */
export function foundRatioOf({ times, found }: Reuse): number {
  return (found + 1) / (times + 2);
}

/** How likely it is that a result is found again: a number to compare with others. */
export function likelihood({ idle, foundRatio }: Pick<Weighed, 'idle' | 'foundRatio'>): number {
  // Of what was tried on generated histories (one to eight branches, one to three projects, limits
  // from one build's layers on) this saved most and did worst least: how often a result was used
  // says less than how long ago, and than what became of its instruction's earlier results.
  return foundRatio / (idle + 1) ** 2;
}

/** Each branch, what stands on it before it. */
function growBranches(items: readonly Weighed[]): Branch[] {
  const byKey = new Map(items.map((item) => [item.key, item]));
  const grown = new Map<string, Branch>();
  const grow = (item: Weighed): Branch => {
    const known = grown.get(item.key);
    if (known !== undefined) return known;
    const below = item.parent === undefined ? undefined : byKey.get(item.parent);
    const branch: Branch = {
      item,
      parent: below === undefined ? undefined : grow(below),
      children: new Set(),
      bytes: 0,
      worth: 0,
      idle: 0,
    };
    branch.parent?.children.add(branch);
    grown.set(item.key, branch);
    return branch;
  };
  items.forEach(grow);
  // A branch is in the map behind the one that it stands on.
  const branches = [...grown.values()].reverse();
  branches.forEach(sumUp);
  return branches;
}

function sumUp(branch: Branch): void {
  const { item, children } = branch;
  branch.bytes = item.bytes;
  branch.worth = item.seconds * likelihood(item);
  branch.idle = item.idle;
  for (const child of children) {
    branch.bytes += child.bytes;
    branch.worth += child.worth;
    branch.idle = Math.min(branch.idle, child.idle);
  }
}

/**
 * The first to go; of equal ones the one that comes first, which nothing but smaller ones stands
 * on.
 */
function leastOf(branches: Iterable<Branch>, policy: EvictionPolicy): Branch | undefined {
  let least: Branch | undefined;
  let leastRank = Infinity;
  for (const branch of branches) {
    if (branch.bytes === 0) continue;
    const rank = policy === 'lru' ? -branch.idle : branch.worth / branch.bytes;
    if (rank < leastRank) [least, leastRank] = [branch, rank];
  }
  return least;
}

function wholeOf(branch: Branch): Branch[] {
  return [...[...branch.children].flatMap(wholeOf), branch];
}
