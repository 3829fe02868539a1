import type { Plan } from '../../api/results';
import { jsonText, visibleData } from '../../diagnostics/visible';
import { forecast, type Forecast, type ForecastStep } from '../../pipeline/forecast';
import { humanSize, seconds } from '../../progress/units';
import { BUILD_FLAGS } from '../build-flags';
import { buildOptions } from '../build-options';
import { defineCommand } from '../command';
import { layOutTable } from '../format/table';
import { withServices } from '../services';
import { readInputs } from './build';

export const command = defineCommand({
  name: 'plan',
  summary: 'Show what a build would take from the cache, run and pull',
  usage: ['[OPTIONS] PATH | URL | -'],
  positionals: { min: 1, max: 1 },
  flags: {
    ...BUILD_FLAGS,
    format: {
      kind: 'string',
      value: 'FORMAT',
      choices: ['text', 'json'],
      fallback: 'text',
      help: "'text' or 'json'",
    },
  },
  notes: [
    'Takes the flags of mbuild build. Nothing is run and no layer is pulled. Times come from earlier builds.',
  ],
  run: async ({ flags, positionals: [context = '.'] }, host) => {
    const options = buildOptions(
      { ...flags, format: undefined },
      await readInputs(context, flags.file, host),
      host.env,
    );
    const forecasted = await withServices(host, flags, (services) =>
      forecast(options, services, { signal: host.signal, events: () => undefined }),
    );
    const found: Plan = { version: 1, ...forecasted };
    host.result?.(found);
    host.out.write(
      flags.format === 'json' ? `${jsonText(found, 2)}\n` : showForecast(visibleData(found)),
    );
    return 0;
  },
});

const WORDS = { hit: 'HIT', miss: 'MISS', 'may-hit': 'MAY HIT', same: 'SAME' } as const;

function showForecast({
  steps,
  pulls,
  fetches,
  hits,
  misses,
  workSeconds,
  expectedSeconds,
  untimed,
}: Forecast): string {
  const table =
    steps.length === 0
      ? ''
      : layOutTable([
          ['STEP', 'OUTCOME', 'TIME', 'WHY'],
          ...steps.map((step) => [step.name, WORDS[step.outcome], timeOf(step), step.why ?? '']),
        ]);
  const pulled = pulls.map(({ name, bytes }) => `pull ${name} (${humanSize(bytes)})\n`).join('');
  const fetched = fetches
    .map(({ from, bytes }) => `fetch from the cache of ${from} (${humanSize(bytes)} at most)\n`)
    .join('');
  const unknown =
    untimed === 0
      ? ''
      : `; ${untimed} step${untimed === 1 ? '' : 's'} never ran before and ${untimed === 1 ? 'is' : 'are'} not counted`;
  return `${table}${pulled}${fetched}${hits} of ${hits + misses} step${hits + misses === 1 ? '' : 's'} from the cache, ${seconds(expectedSeconds * 1000)} expected for the rest (${seconds(workSeconds * 1000)} of work)${unknown}\n`;
}

function timeOf({ outcome, seconds: time }: ForecastStep): string {
  if (outcome === 'same') return '';
  if (time === undefined) return '?';
  return outcome === 'hit' ? `saves ${seconds(time * 1000)}` : seconds(time * 1000);
}
