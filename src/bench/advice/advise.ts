import type { GitContext } from '../context/git-context';
import { matchGlob } from '../../context/glob';
import { toRaw, toText } from '../../linux/paths';
import { childPath } from '../../snapshot/marks';
import { splitPath } from '../../snapshot/resolve';
import type { GitObjects } from '../git/objects';
import type { GitRepository } from '../git/repository';
import type { ReplayTarget } from '../keys/commit-keys';
import { duration } from '../words';
import type { Advice, Candidate } from './advice';
import { candidatesOf, type ContextFiles } from './candidates';
import { ignoreCandidate } from './ignore';
import { costWith, type HistoryCost, type ProofServices } from './prove';
import { patchOf } from './patch';

/** Commits that an advice is tried on, the latest. */
export const TRIED_ON = 500;
const MOST = 6;
/** Less is no advice. */
const MIN_SECONDS = 1;

/** What advice is made from. */
export interface AdviceServices extends ProofServices {
  readonly objects: GitObjects;
  readonly repository: GitRepository;
  /** For temporary files where TMPDIR takes none. */
  readonly store: string;
  /** What the history costs as it is, where that is known for all the commits that are tried on. */
  readonly known: HistoryCost | undefined;
  /** Seconds that an instruction was rebuilt for, in all. */
  readonly rebuilt: (instruction: string) => number;
}

/** Advice on one target, and all of it as a patch against its last commit. */
export interface AdviceOnTarget {
  readonly advice: readonly Advice[];
  /** `undefined` where there is no advice. */
  readonly patch: string | undefined;
}

/** Looks for changes that would have made a history's builds shorter, and tries each of them on it. */
export async function advise(
  target: ReplayTarget,
  services: AdviceServices,
): Promise<AdviceOnTarget> {
  const builds = services.builds.slice(-TRIED_ON);
  const proof = { ...services, builds };
  const tip = builds.at(-1)?.commit;
  const found = tip === undefined ? undefined : await services.reader.sources(tip, target);
  if (tip === undefined || found === undefined || builds.length < 2)
    return { advice: [], patch: undefined };
  const candidates = await candidatesIn(found, tip.id, services);
  const before = services.known ?? (await costWith(target, [], proof));
  const all = await tryEach(candidates, target, before, proof);
  const best = all
    .filter(({ saved }) => saved.seconds >= MIN_SECONDS)
    .sort((a, b) => b.saved.seconds - a.saved.seconds)
    .slice(0, MOST);
  const chosen = await together(target, best, before, proof);
  return {
    advice: best.map((one) => adviceOf(one, builds.length)),
    patch: chosen.length === 0 ? undefined : await patchOf(found, chosen, services.store),
  };
}

/** What each change saves by itself; where one helps only when others are done as well, what it adds to these. */
async function tryEach(
  candidates: readonly Candidate[],
  target: ReplayTarget,
  before: HistoryCost,
  proof: AdviceServices,
): Promise<Tried[]> {
  const tried: Tried[] = [];
  for (const candidate of candidates)
    tried.push({ candidate, saved: await savingOf(candidate, target, before, proof) });
  const moves = candidates.filter(({ kind }) => kind !== 'cache-mount');
  const alone = tried.filter(({ candidate }) => moves.includes(candidate));
  const mostAlone = Math.max(0, ...alone.map(({ saved }) => saved.seconds));
  const joint = moves.length < 2 ? before : await costWith(target, moves, proof);
  if (before.seconds - joint.seconds < mostAlone + MIN_SECONDS) return tried;
  for (const [at, { candidate, saved }] of tried.entries()) {
    if (!moves.includes(candidate) || saved.seconds >= MIN_SECONDS) continue;
    const others = await costWith(
      target,
      moves.filter((other) => other !== candidate),
      proof,
    );
    const added = { seconds: others.seconds - joint.seconds, bytes: others.bytes - joint.bytes };
    tried[at] = { candidate, saved: added, withOthers: true };
  }
  return tried;
}

interface Tried {
  readonly candidate: Candidate;
  readonly saved: HistoryCost;
  /** It saves that where the others are done, and nothing by itself. */
  readonly withOthers?: boolean | undefined;
}

/** What a change would have saved. A step that is only made shorter is found as often as before: nothing has to be replayed. */
async function savingOf(
  candidate: Candidate,
  target: ReplayTarget,
  before: HistoryCost,
  proof: AdviceServices,
): Promise<HistoryCost> {
  const { kind, spared } = candidate;
  if (kind === 'cache-mount' && spared !== undefined) {
    const rebuilt = proof.rebuilt(spared.before);
    return { seconds: rebuilt * spared.part, bytes: 0 };
  }
  const after = await costWith(target, [candidate], proof);
  return { seconds: before.seconds - after.seconds, bytes: before.bytes - after.bytes };
}

type FoundSources = NonNullable<Awaited<ReturnType<AdviceServices['reader']['sources']>>>;

async function candidatesIn(
  { context, dockerfile, plan, place }: FoundSources,
  commit: string,
  { objects, repository }: AdviceServices,
): Promise<Candidate[]> {
  const candidates = await objects.complete(() => candidatesOf(plan.dockerfile, filesOf(context)));
  const copiesAll = plan.queries.some(({ source }) => /^\.?\/?$/.test(source));
  if (!copiesAll || typeof place.dockerfile !== 'string') return candidates;
  const entries = await objects.complete(() =>
    context.children('/').flatMap((entry) => {
      const name = splitPath(entry.path).name;
      return objects.tree(context.root.tree).find((known) => known.name === name) ?? [];
    }),
  );
  const ignore = await ignoreCandidate({
    repository,
    commit,
    context: place.context,
    entries,
    dockerfile: place.dockerfile,
    text: dockerfile.text,
  });
  return ignore === undefined ? candidates : [...candidates, ignore];
}

/** All changes where they go together, else the best of them: two may want to move the same line. */
async function together(
  target: ReplayTarget,
  tried: readonly Tried[],
  before: HistoryCost,
  proof: ProofServices,
): Promise<Candidate[]> {
  const candidates = tried.map(({ candidate }) => candidate);
  const mounts = candidates.filter(({ kind }) => kind === 'cache-mount');
  const moves = candidates.filter((candidate) => !mounts.includes(candidate));
  const [first] = moves;
  const best = tried.find(({ candidate }) => candidate === first);
  if (first === undefined || best === undefined || moves.length === 1) return candidates;
  const { seconds } = await costWith(target, moves, proof);
  const alone = best.withOthers === true ? 0 : best.saved.seconds;
  return seconds <= before.seconds - alone ? candidates : [first, ...mounts];
}

function adviceOf({ candidate, saved, withOthers }: Tried, commits: number): Advice {
  const { kind, instruction, line, behind, behindLine, what, spared } = candidate;
  const because =
    withOthers === true
      ? `${candidate.because}; it helps once the other changes are made`
      : candidate.because;
  const proof = spared === undefined ? 'replayed' : 'modelled';
  const where = kind === 'ignore' ? instruction : `${instruction} (line ${line})`;
  const seconds = Math.round(saved.seconds * 1000) / 1000;
  const figure = `${duration(seconds)} less over ${commits} builds, ${proof === 'replayed' ? 'as a replay with it shows' : 'of which the model tells a part'}`;
  return {
    kind,
    instruction,
    line,
    behind,
    behindLine,
    secondsSaved: seconds,
    bytesSaved: Math.round(saved.bytes),
    commits,
    proof,
    what,
    because,
    text: `${where}: ${what}: ${figure}; ${because}`,
  };
}

/** The context as rules ask for it: within `objects.complete`. */
function filesOf(context: GitContext): ContextFiles {
  const { objects } = context.reader;
  return {
    read: (name) => {
      const entry = context.stat(toRaw(`/${name}`));
      const place = entry === undefined ? undefined : context.placeOf(entry);
      return place?.kind === 'file' ? objects.text(place.entry.id) : undefined;
    },
    matching: (directory, pattern) => {
      const at = context.stat(toRaw(`/${directory}`));
      const place = at === undefined ? undefined : context.placeOf(at);
      if (place?.kind !== 'directory' || place.directory.tree === '') return [];
      return objects
        .tree(place.directory.tree)
        .filter(({ name, kind }) => kind !== 'directory' && matchGlob(pattern, name))
        .filter(({ name }) => context.lstat(childPath(place.directory.path, name)) !== undefined)
        .map(({ name }) => toText(name));
    },
  };
}
