import { isMbuildError } from '../../diagnostics/error';
import type { SourceFile } from '../../diagnostics/range';
import type { Dockerfile, Instruction } from '../../dockerfile/instruction';
import { parseDockerfile } from '../../dockerfile/parse';

/** An instruction of a stage, found again in the Dockerfiles of other commits by its words. */
export interface Spot {
  readonly stage: number;
  /** As {@link wordsOf} gives it; of an ARG its name is enough. */
  readonly words: string;
}

/** The instruction in one line. */
export function wordsOf(instruction: Instruction): string {
  if (instruction.keyword === 'ARG') return `ARG ${instruction.args[0]?.name ?? ''}`;
  return instruction.original
    .replace(/\\\r?\n/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();
}

/** Changes Dockerfiles: what does not have the spots, or does not parse, is left alone. Each text is looked at once. */
export function editOf(
  change: (dockerfile: Dockerfile, lines: string[]) => boolean,
): (file: SourceFile) => string | undefined {
  const known = new Map<string, string | undefined>();
  return (file) => {
    if (known.has(file.text)) return known.get(file.text);
    if (known.size > 256) known.clear();
    const changed = attempt(file, change);
    known.set(file.text, changed);
    return changed;
  };
}

function attempt(
  file: SourceFile,
  change: (dockerfile: Dockerfile, lines: string[]) => boolean,
): string | undefined {
  try {
    const lines = file.text.split('\n');
    return change(parseDockerfile(file), lines) ? lines.join('\n') : undefined;
  } catch (error) {
    if (isMbuildError(error)) return undefined;
    throw error;
  }
}

export function find(dockerfile: Dockerfile, { stage, words }: Spot): Instruction | undefined {
  return dockerfile.stages[stage]?.instructions.find(
    (instruction) => wordsOf(instruction) === words,
  );
}

/** Moves an instruction behind a later one. False where one of them is missing, or they stand in another order. */
export function moveBehind(what: Spot, behind: Spot) {
  return (dockerfile: Dockerfile, lines: string[]): boolean => {
    const [moved, target] = [find(dockerfile, what), find(dockerfile, behind)];
    if (moved === undefined || target === undefined) return false;
    const [from, to] = [moved.range.start.line, target.range.end.line];
    if (from >= to) return false;
    const count = moved.range.end.line - from + 1;
    const taken = lines.splice(from - 1, count);
    lines.splice(to - count, 0, ...taken);
    return true;
  };
}

/** Puts lines in front of an instruction. */
export function insertBefore(spot: Spot, added: readonly string[]) {
  return (dockerfile: Dockerfile, lines: string[]): boolean => {
    const found = find(dockerfile, spot);
    if (found === undefined) return false;
    lines.splice(found.range.start.line - 1, 0, ...added);
    return true;
  };
}

/** Writes a flag behind the keyword of an instruction. */
export function addFlag(spot: Spot, flag: string) {
  return (dockerfile: Dockerfile, lines: string[]): boolean => {
    const found = find(dockerfile, spot);
    if (found === undefined) return false;
    const at = found.range.start.line - 1;
    lines[at] = (lines[at] ?? '').replace(/^(\s*\S+\s+)/, `$1${flag} `);
    return true;
  };
}
