import type { Dockerfile, Instruction } from '../../dockerfile/instruction';
import { INSTALLERS, installerOf, isSystemSetup, type Installer } from '../../lint/installers';
import type { Candidate } from './advice';
import { addFlag, editOf, insertBefore, moveBehind, wordsOf, type Spot } from './edits';
import { PREFETCHES } from './prefetch';
import {
  contextCopy,
  directoryOf,
  isStep,
  placedInstructions,
  shellLine,
  type PlacedInstruction,
} from '../../lint/placed';

/** What is asked of the last commit's context. */
export interface ContextFiles {
  /** The text of a file; `undefined` where there is none, or it is large. */
  read(path: string): string | undefined;
  /** Names in a directory that a pattern of COPY matches. */
  matching(directory: string, pattern: string): readonly string[];
}

/** Part of an install's time that a cache mount spares where it runs again: what is not downloaded and unpacked anew. */
const CACHE_SPARES = 0.5;

/** What could be done to a Dockerfile, whether it would help or not. */
export function candidatesOf(dockerfile: Dockerfile, files: ContextFiles): Candidate[] {
  return dockerfile.stages.flatMap(({ index }) => {
    const placed = placedInstructions(dockerfile.stages[index]);
    return placed.flatMap((_, at) => {
      const place: Place = { stage: index, placed, at, files };
      return [splitCopy, prefetch, moveCopy, moveArg, moveLabel, cacheMount].flatMap(
        (find) => find(place) ?? [],
      );
    });
  });
}

interface Place {
  readonly stage: number;
  readonly placed: readonly PlacedInstruction[];
  readonly at: number;
  readonly files: ContextFiles;
}

/** A copy of a whole directory: from where, and to where. */
interface DirectoryCopy {
  readonly spot: Spot;
  readonly instruction: Instruction;
  readonly source: string;
  /** As written, with a slash behind. */
  readonly dest: string;
  readonly target: string;
  /** `--chown=…` and the like, with a space behind. */
  readonly flags: string;
}

function directoryCopy({ stage, placed, at }: Place): DirectoryCopy | undefined {
  const { instruction, cwd } = placed[at] ?? {};
  const copy = instruction === undefined ? undefined : contextCopy(instruction);
  const [source, written, ...more] = copy?.paths ?? [];
  if (copy === undefined || source === undefined || written === undefined || more.length > 0)
    return undefined;
  const target = directoryOf(cwd, written);
  if (target === undefined) return undefined;
  return {
    spot: { stage, words: wordsOf(copy) },
    instruction: copy,
    source: source.replace(/^\.?\/+|\/+$|^\.$/g, ''),
    dest: written.endsWith('/') ? written : `${written}/`,
    target,
    flags: copy.flags
      .filter(({ name }) => name === 'chown' || name === 'chmod')
      .map(({ name, value = '' }) => `--${name}=${value} `)
      .join(''),
  };
}

/** `COPY . .` above an install that reads manifests alone: these come first, the rest behind it. */
function splitCopy(place: Place): Candidate | undefined {
  const { stage, placed, at, files } = place;
  const copy = directoryCopy(place);
  if (copy === undefined) return undefined;
  let last:
    | { readonly found: NonNullable<ReturnType<typeof installerOf>>; readonly run: Instruction }
    | undefined;
  for (const { instruction, cwd } of placed.slice(at + 1)) {
    if (instruction.keyword === 'COPY' || instruction.keyword === 'ADD') break;
    const line = shellLine(instruction);
    if (instruction.keyword !== 'RUN') {
      if (instruction.keyword === 'WORKDIR' && !copy.dest.startsWith('/')) break;
      continue;
    }
    if (line === undefined || hasMounts(instruction)) break;
    const found = installerOf(line);
    if (found === undefined && !isSystemSetup(line)) break;
    if (found === undefined) continue;
    if (
      cwd !== copy.target ||
      found.installer.needsMore(found.command, reader(copy, files)) !== undefined
    )
      break;
    last = { found, run: instruction };
  }
  if (last === undefined) return undefined;
  const manifests = manifestsOf(last.found.installer, copy, files);
  if (manifests.length === 0) return undefined;
  const behind: Spot = { stage, words: wordsOf(last.run) };
  const added = `COPY ${copy.flags}${manifests.join(' ')} ${copy.dest}`;
  return {
    kind: 'split-copy',
    ...placesOf(copy.instruction, last.run),
    what: `copy ${manifests.join(', ')} first, and the rest behind ${behind.words}`,
    because: `${last.found.command} reads these alone: no scripts of the project, no packages that are directories`,
    edit: {
      dockerfile: editOf((dockerfile, lines) => {
        const text = [...lines];
        if (!moveBehind(copy.spot, behind)(dockerfile, text)) return false;
        // What moved went down: the line of the copy is that of what stood behind it.
        text.splice(lineOf(dockerfile, copy.spot) - 1, 0, added);
        lines.splice(0, lines.length, ...text);
        return true;
      }),
    },
  };
}

/** A build that downloads as well, below `COPY . .`: what it downloads can be had by the manifests. */
function prefetch(place: Place): Candidate | undefined {
  const { placed, at, files } = place;
  const copy = directoryCopy(place);
  if (copy === undefined) return undefined;
  const below = placed.slice(at + 1);
  for (const known of PREFETCHES) {
    const isThere = placed.some(({ instruction }) =>
      known.present.test(shellLine(instruction) ?? ''),
    );
    const run = below.find(
      ({ instruction, cwd }) =>
        cwd === copy.target && known.build.test(shellLine(instruction) ?? ''),
    );
    const installer = INSTALLERS.find(({ name }) => name === known.installer);
    const manifests = known.manifests.flatMap((name) =>
      files.matching(copy.source, name).map((found) => within(copy.source, found)),
    );
    const read = reader(copy, files);
    if (isThere || run === undefined || manifests.length === 0) continue;
    if (
      known.needsMore(read) !== undefined ||
      installer?.needsMore(known.command, read) !== undefined
    )
      continue;
    const words = wordsOf(run.instruction);
    return {
      kind: 'prefetch',
      ...placesOf(copy.instruction, run.instruction),
      what: `download what ${words} needs before the sources are copied: COPY ${manifests.join(' ')} and RUN ${known.command}`,
      because: `the manifests alone say what is downloaded`,
      spared: { before: words, after: words, part: known.part },
      edit: {
        dockerfile: editOf(
          insertBefore(copy.spot, [
            `COPY ${copy.flags}${manifests.join(' ')} ${copy.dest}`,
            `RUN ${known.command}`,
          ]),
        ),
      },
    };
  }
  return undefined;
}

/** A copy above RUNs that set up a system and do not name what it brings. */
function moveCopy(place: Place): Candidate | undefined {
  const { stage, placed, at } = place;
  const { instruction, cwd } = placed[at] ?? {};
  const copy = instruction === undefined ? undefined : contextCopy(instruction);
  const dest = copy?.paths.at(-1);
  if (copy === undefined || dest === undefined || directoryOf(cwd, dest) === undefined)
    return undefined;
  const names = namesOf(copy.paths);
  let last: Instruction | undefined;
  for (const { instruction: next } of placed.slice(at + 1)) {
    if (next.keyword === 'COPY' || next.keyword === 'ADD') break;
    if (next.keyword === 'WORKDIR' && !dest.startsWith('/')) break;
    if (next.keyword !== 'RUN') continue;
    const line = shellLine(next);
    if (line === undefined || !isSystemSetup(line) || hasMounts(next)) break;
    if (
      names.some((name) => line.includes(name)) ||
      /(?:^|\s)\.{0,2}\//.test(line.replace(/\s(?:\/var|\/tmp|\/root)\S*/g, ''))
    )
      break;
    last = next;
  }
  if (last === undefined) return undefined;
  const spot: Spot = { stage, words: wordsOf(copy) };
  const behind: Spot = { stage, words: wordsOf(last) };
  return {
    kind: 'move-copy',
    ...placesOf(copy, last),
    what: `move it behind ${behind.words}`,
    because: 'the steps in between set up the system and do not name what it brings',
    edit: { dockerfile: editOf(moveBehind(spot, behind)) },
  };
}

/** An ARG above steps that do not name it. */
function moveArg({ stage, placed, at }: Place): Candidate | undefined {
  const { instruction } = placed[at] ?? {};
  const name = instruction?.keyword === 'ARG' ? instruction.args[0]?.name : undefined;
  if (instruction === undefined || name === undefined) return undefined;
  const below = placed.slice(at + 1).map((placed) => placed.instruction);
  const used = below.findIndex((other) => mentions(other, name));
  const free = (used < 0 ? below : below.slice(0, used)).filter(isStep);
  const last = free.at(-1);
  if (last === undefined || !free.some(({ keyword }) => keyword === 'RUN')) return undefined;
  const [spot, behind]: Spot[] = [
    { stage, words: wordsOf(instruction) },
    { stage, words: wordsOf(last) },
  ];
  return spot === undefined || behind === undefined
    ? undefined
    : {
        kind: 'move-arg',
        ...placesOf(instruction, last),
        instruction: `ARG ${name}`,
        what: `declare it behind ${behind.words}`,
        because: 'no step in between names it',
        edit: { dockerfile: editOf(moveBehind(spot, behind)) },
      };
}

/** A LABEL above steps: where each instruction is a link of the chain, they are built anew for it. */
function moveLabel({ stage, placed, at }: Place): Candidate | undefined {
  const { instruction } = placed[at] ?? {};
  if (instruction?.keyword !== 'LABEL') return undefined;
  const last = placed.slice(at + 1).findLast((other) => isStep(other.instruction))?.instruction;
  if (last === undefined) return undefined;
  const [spot, behind]: [Spot, Spot] = [
    { stage, words: wordsOf(instruction) },
    { stage, words: wordsOf(last) },
  ];
  return {
    kind: 'move-label',
    ...placesOf(instruction, last),
    what: `move it behind ${behind.words}`,
    because: 'labels are of the image, no step reads them',
    edit: { dockerfile: editOf(moveBehind(spot, behind)) },
  };
}

/** An install without a cache for its downloads. */
function cacheMount({ stage, placed, at }: Place): Candidate | undefined {
  const { instruction, isUser } = placed[at] ?? {};
  const line = instruction === undefined ? undefined : shellLine(instruction);
  const found = line === undefined ? undefined : installerOf(line);
  if (instruction === undefined || line === undefined || found === undefined) return undefined;
  const { installer } = found;
  if (installer.cache === undefined || isUser === true || hasMounts(instruction)) return undefined;
  if (/--no-cache|cache clean|cache purge/.test(line)) return undefined;
  if (placed.some((other) => /_NO_CACHE/.test(other.instruction.original))) return undefined;
  const flag = `--mount=type=cache,target=${installer.cache}`;
  const spot: Spot = { stage, words: wordsOf(instruction) };
  return {
    kind: 'cache-mount',
    ...placesOf(instruction, instruction),
    behind: undefined,
    behindLine: undefined,
    what: `give it ${flag}`,
    because: `${installer.name} keeps its downloads there, and checks them against its lock file`,
    spared: {
      before: spot.words,
      after: spot.words.replace(/^RUN /, `RUN ${flag} `),
      part: CACHE_SPARES,
    },
    edit: { dockerfile: editOf(addFlag(spot, flag)) },
  };
}

function placesOf(
  instruction: Instruction,
  behind: Instruction,
): Pick<Candidate, 'instruction' | 'line' | 'behind' | 'behindLine'> {
  return {
    instruction: wordsOf(instruction),
    line: instruction.range.start.line,
    behind: wordsOf(behind),
    behindLine: behind.range.start.line,
  };
}

function manifestsOf(installer: Installer, copy: DirectoryCopy, files: ContextFiles): string[] {
  return installer.manifests.flatMap((pattern) =>
    files.matching(copy.source, pattern).map((name) => within(copy.source, name)),
  );
}

/** Files as the installer sees them, below what was copied. */
function reader({ source }: DirectoryCopy, files: ContextFiles) {
  return (name: string): string | undefined => files.read(within(source, name));
}

function within(directory: string, name: string): string {
  return directory === '' ? name : `${directory}/${name}`;
}

function lineOf(dockerfile: Dockerfile, { stage, words }: Spot): number {
  const found = dockerfile.stages[stage]?.instructions.find((other) => wordsOf(other) === words);
  return found?.range.start.line ?? 1;
}

function hasMounts({ flags }: Instruction): boolean {
  return flags.some(({ name }) => name === 'mount');
}

function mentions(instruction: Instruction, name: string): boolean {
  const text = `${instruction.original}\n${instruction.heredocs.map(({ content }) => content).join('\n')}`;
  return new RegExp(`(?<![A-Za-z0-9_])${name}(?![A-Za-z0-9_])`).test(text);
}

/** What steps below would call the files of a copy by: their names, and where they go. */
function namesOf(paths: readonly string[]): string[] {
  return paths
    .flatMap((word) => word.split('/'))
    .filter((part) => part !== '' && part !== '.' && part !== '..');
}
