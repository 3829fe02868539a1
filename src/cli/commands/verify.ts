import { jsonText } from '../../diagnostics/visible';
import { MbuildError } from '../../diagnostics/error';
import type { ProgressMode } from '../../progress/choose';
import { compareImages } from '../../verify/compare-images';
import { verifyTwice } from '../../verify/twice';
import { BUILD_FLAGS } from '../build-flags';
import { buildOptions } from '../build-options';
import { defineCommand } from '../command';
import { showImageDifference, showTwice } from '../format/verify';
import { withImages } from '../placed-images';
import { withProgress } from '../progress';
import { engineOptions, withServices } from '../services';
import { readInputs } from './build';

const FLAGS = {
  ...BUILD_FLAGS,
  format: {
    kind: 'string',
    value: 'FORMAT',
    choices: ['text', 'json'],
    fallback: 'text',
    help: "'text' or 'json'",
  },
  'ignore-times': {
    kind: 'boolean',
    help: 'Ignore times of files, image and history when comparing two images',
  },
  twice: { kind: 'boolean', help: 'Build the context twice and compare' },
} as const;

export const command = defineCommand({
  name: 'verify',
  summary: 'Check whether a build is reproducible, or show why two images differ',
  usage: ['--twice [BUILD OPTIONS] PATH | URL', '[--ignore-times] IMAGE|ARCHIVE IMAGE|ARCHIVE'],
  positionals: { min: 1, max: 2 },
  flags: FLAGS,
  notes: [
    'With --twice, takes the flags of mbuild build. Both builds start with an empty cache; nothing of them is kept, named or pushed.',
    'They run at different times, in different stores and, without --hostname, with different host names. Times are compared if SOURCE_DATE_EPOCH is set.',
    'The exit code is 1 if there is a difference.',
  ],
  run: async ({ flags, positionals: [first = '.', second] }, host) => {
    if (flags.twice === (second !== undefined))
      throw new MbuildError(
        'USAGE',
        flags.twice ? 'mbuild verify --twice takes one context' : 'mbuild verify takes two images',
        { hint: 'mbuild verify --twice PATH builds twice; mbuild verify IMAGE IMAGE compares' },
      );
    if (flags.twice) {
      const options = buildOptions(
        { ...flags, format: undefined },
        await readInputs(first, flags.file, host),
        host.env,
      );
      const mode = flags.quiet ? 'quiet' : (flags.progress as ProgressMode);
      const report = await withServices(host, flags, (services) =>
        verifyTwice(options, services, engineOptions(host, flags), (work) =>
          withProgress(host, mode, work),
        ),
      );
      host.out.write(flags.format === 'json' ? `${jsonText(report, 2)}\n` : showTwice(report));
      return report.same ? 0 : 1;
    }
    const difference = await withImages([first, second ?? ''], host, flags, (one, other) =>
      compareImages(one, other, { ignoreTimes: flags['ignore-times'] }),
    );
    host.out.write(
      flags.format === 'json' ? `${jsonText(difference, 2)}\n` : showImageDifference(difference),
    );
    return difference.same ? 0 : 1;
  },
});
