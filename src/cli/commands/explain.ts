import { visibleLines } from '../../diagnostics/text';
import { BuildHistory } from '../../history/file-history';
import { defineCommand } from '../command';
import { explainBuild, explainJson, stepsOf } from '../format/builds';
import { storeRoot } from '../services';

export const command = defineCommand({
  name: 'explain',
  summary: 'Tell why steps of a build were not taken from the cache',
  usage: ['[OPTIONS] [BUILD] [STEP]'],
  positionals: { min: 0, max: 2 },
  flags: {
    format: {
      kind: 'string',
      value: 'FORMAT',
      choices: ['text', 'json'],
      fallback: 'text',
      help: "'text' or 'json'",
    },
  },
  notes: [
    'BUILD is an id, its beginning or end, ~N for the N-th before the latest; without it, the latest.',
    'STEP is a number as progress shows it (4, or "build 4"), a line of the Dockerfile (:7), or part of the instruction.',
  ],
  run: ({ flags, positionals: [build, step] }, host) => {
    const record = new BuildHistory(storeRoot(flags.root, host)).find(build);
    const steps = stepsOf(record, step);
    host.out.write(
      flags.format === 'json'
        ? `${JSON.stringify(explainJson(record, steps), undefined, 2)}\n`
        : visibleLines(explainBuild(record, steps, host.now())),
    );
    return Promise.resolve(0);
  },
});
