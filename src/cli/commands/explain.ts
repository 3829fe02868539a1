import { jsonText, visibleData } from '../../diagnostics/visible';
import { BuildHistory } from '../../history/file-history';
import { defineCommand } from '../command';
import { explainBuild, explainJson, stepsOf } from '../format/builds';
import { knownStoreRoot } from '../services';

export const command = defineCommand({
  name: 'explain',
  summary: 'Explain why steps of a build did not come from the cache',
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
    'BUILD is an id, the beginning or end of one, last, prev, or prev~N for the N-th before prev (last~N, ~N); the default is the latest.',
    'STEP is a number as in the progress (4, or "build 4"), a line of the Dockerfile (:7), or part of the instruction.',
  ],
  run: async ({ flags, positionals: [build, step] }, host) => {
    const record = new BuildHistory(await knownStoreRoot(flags.root, host)).find(build);
    const steps = stepsOf(record, step);
    host.result?.(explainJson(record, steps));
    if (flags.format === 'json') host.out.write(`${jsonText(explainJson(record, steps), 2)}\n`);
    else {
      const shown = visibleData(record);
      const indices = new Set(steps.map((one) => record.steps.indexOf(one)));
      const chosen = shown.steps.filter((_, i) => indices.has(i));
      host.out.write(
        explainBuild(shown, steps === record.steps ? shown.steps : chosen, host.now()),
      );
    }
    return 0;
  },
});
