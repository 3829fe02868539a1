import { jsonText } from '../../diagnostics/visible';
import { defineCommand } from '../command';
import { readDurationsFile, writeReport } from './bench-flags';

export const command = defineCommand({
  name: 'bench durations',
  summary: 'Read how long instructions took out of logs of builds',
  usage: ['[OPTIONS] LOG [LOG...]'],
  positionals: { min: 1, max: 1000 },
  flags: {
    output: { kind: 'string', short: 'o', value: 'FILE', help: 'Write the durations to a file' },
  },
  notes: [
    'A LOG is of docker build (--progress=plain or rawjson, docker buildx history export), of kaniko, of buildah or podman with times, or of a job of GitHub or GitLab that has one of these in it. Steps that were cached tell nothing; of several the median is taken.',
    'What it writes is for bench replay --durations, which takes the logs themselves as well.',
  ],
  run: async ({ flags, positionals }, host) => {
    const all = new Map<string, number>();
    for (const file of positionals)
      for (const [text, seconds] of await readDurationsFile(file)) all.set(text, seconds);
    writeReport(`${jsonText(Object.fromEntries(all), 2)}\n`, flags.output, host);
    return 0;
  },
});
