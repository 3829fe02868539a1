import {
  goDuration,
  goTime,
  humanDuration,
  humanSince,
  wholeSeconds,
} from '../../src/cli/format/time';
import { layOutTable } from '../../src/cli/format/table';
import { humanSize } from '../../src/progress/units';

const SECOND = 1000;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

test.each([
  [0, 3, '0B'],
  [358, 3, '358B'],
  [1982256, 3, '1.98MB'],
  [1984399, 4, '1.984MB'],
  [173_300_000, 3, '173MB'],
  [173_300_000, 4, '173.3MB'],
  [284_400_000, 3, '284MB'],
  [999, 3, '999B'],
  [1000, 3, '1kB'],
  [999_950, 3, '1MB'],
  [1_500_000_000, 4, '1.5GB'],
  [12_345_678_901_234, 3, '12.3TB'],
])('%d bytes with %d digits are %s', (bytes, precision, text) => {
  expect(humanSize(bytes, precision)).toBe(text);
});

test.each([
  [0, 'Less than a second'],
  [999, 'Less than a second'],
  [1 * SECOND, '1 second'],
  [59 * SECOND, '59 seconds'],
  [60 * SECOND, 'About a minute'],
  [119 * SECOND, 'About a minute'],
  [120 * SECOND, '2 minutes'],
  [59 * 60 * SECOND, '59 minutes'],
  [HOUR, 'About an hour'],
  [1.4 * HOUR, 'About an hour'],
  [1.6 * HOUR, '2 hours'],
  [47 * HOUR, '47 hours'],
  [48 * HOUR, '2 days'],
  [13 * DAY, '13 days'],
  [14 * DAY, '2 weeks'],
  [59 * DAY, '8 weeks'],
  [60 * DAY, '2 months'],
  [729 * DAY, '24 months'],
  [730 * DAY, '2 years'],
  [-5, 'Less than a second'],
])('%d ms are "%s"', (milliseconds, text) => {
  expect(humanDuration(milliseconds)).toBe(text);
});

test.each([
  [
    '2026-11-21T01:54:41.683430564Z',
    '2026-11-21 01:54:41 +0000 UTC',
    '2026-11-21T01:54:41Z',
    '10 seconds ago',
  ],
  [undefined, 'N/A', '', 'N/A'],
  ['0001-01-01T00:00:00Z', 'N/A', '', 'N/A'],
  ['nonsense', 'N/A', '', 'N/A'],
])('the time %s', (time, go, whole, since) => {
  expect([
    goTime(time),
    wholeSeconds(time),
    humanSince(time, Date.parse('2026-11-21T01:54:52Z')),
  ]).toEqual([go, whole, since]);
});

test.each([
  [0, '0s'],
  [5e9, '5s'],
  [9e10, '1m30s'],
  [1.5e9, '1.5s'],
  [25e7, '250ms'],
  [36e11, '1h0m0s'],
  [1500, '1.5µs'],
  [7, '7ns'],
])('%d ns are %s', (nanoseconds, text) => {
  expect(goDuration(nanoseconds)).toBe(text);
});

test('columns are ten wide or three apart, and wide characters count twice', () => {
  expect(
    layOutTable([
      ['REPOSITORY', 'TAG', 'SIZE'],
      ['127.0.0.1:5000/node', '20', '284MB'],
      ['日本', 'a\nb', ''],
    ]),
  ).toBe(
    [
      'REPOSITORY            TAG       SIZE',
      '127.0.0.1:5000/node   20        284MB',
      '日本                  a␊b       ',
      '',
    ].join('\n'),
  );
});
