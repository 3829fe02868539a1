import type { Instruction } from '../../dockerfile/instruction';
import type { Rule } from '../rule';

/** Names of stages compare without regard to case; written small they look the same everywhere. */
export const stageNameCasing: Rule = {
  name: 'StageNameCasing',
  description: 'Stage names should be lowercase',
  file: ({ dockerfile }, report) => {
    for (const { from } of dockerfile.stages) {
      if (from.as !== undefined && from.as !== from.as.toLowerCase())
        report(from, `Stage name '${from.as}' should be lowercase`);
    }
  },
};

/** `FROM … AS`, `from … as`. */
export const fromAsCasing: Rule = {
  name: 'FromAsCasing',
  description: "The 'as' keyword should match the case of the 'from' keyword",
  file: ({ dockerfile }, report) => {
    for (const { from } of dockerfile.stages) {
      if (from.as === undefined) continue;
      const keyword = writtenKeyword(from);
      const as =
        from.original
          .trimEnd()
          .split(/[\t\v\f\r ]+/)
          .at(-2) ?? 'AS';
      if (!casingMatches(as, keyword))
        report(from, `'${as}' and '${keyword}' keywords' casing do not match`);
    }
  },
};

/** Keywords are all large or all small, as most of them are. */
export const consistentInstructionCasing: Rule = {
  name: 'ConsistentInstructionCasing',
  description:
    'All commands within the Dockerfile should use the same casing (either upper or lower)',
  file: ({ instructions }, report) => {
    const keywords = instructions.map(writtenKeyword);
    const lower = keywords.filter(isLower).length;
    const upper = keywords.filter(isUpper).length;
    const wantsLower = lower > upper;
    instructions.forEach((instruction, index) => {
      const keyword = keywords[index] ?? '';
      if (wantsLower ? isLower(keyword) : isUpper(keyword)) return;
      report(
        instruction,
        `Command '${keyword}' should match the case of the command majority (${wantsLower ? 'lowercase' : 'uppercase'})`,
      );
    });
  },
};

/** FROM in mixed case is another rule's matter. */
function casingMatches(as: string, keyword: string): boolean {
  if (isLower(keyword)) return isLower(as);
  return !isUpper(keyword) || isUpper(as);
}

function writtenKeyword({ original }: Instruction): string {
  return /^[A-Za-z]+/.exec(original)?.[0] ?? '';
}

function isLower(word: string): boolean {
  return word === word.toLowerCase();
}

function isUpper(word: string): boolean {
  return word === word.toUpperCase();
}
