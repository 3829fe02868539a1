import type { Rule } from '../rule';

/** `ENV name value` reads everything behind the name as the value. */
export const legacyKeyValueFormat: Rule = {
  name: 'LegacyKeyValueFormat',
  description: 'Legacy key/value format with whitespace separator should not be used',
  instruction: (instruction, _scope, _subject, report) => {
    if (instruction.keyword !== 'ENV' && instruction.keyword !== 'LABEL') return;
    if (instruction.pairs.every(({ separator }) => separator === '=')) return;
    report(
      instruction,
      `"${instruction.keyword} key=value" should be used instead of legacy "${instruction.keyword} key value" format`,
    );
  },
};
