import { gzipSync } from 'node:zlib';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isHistoryExport, readHistoryExport } from '../../src/bench/costs/history-export';
import { packagesIn } from '../../src/bench/costs/lock-files';
import { readDurations } from '../../src/bench/costs/logs';
import { estimate } from '../../src/bench/costs/model';
import { fixture } from '../support/mbuild';
import { useTemp } from '../support/temp';

const PLAIN = `#5 [build 2/4] RUN npm ci
#5 0.412 added 412 packages
#5 DONE 40.4s

#6 [build 3/4] COPY . .
#6 CACHED
#7 [build 4/4] RUN npm run build
#7 DONE 20.0s
#8 exporting to image
#8 DONE 1.0s
`;

/** As GitHub writes the log of a job. */
const JOB = PLAIN.split('\n')
  .map((line, i) => `2026-03-01T10:00:${String(i).padStart(2, '0')}.0000000Z ${line}`)
  .join('\n');

const RAW = [
  { vertexes: [{ name: '[build 2/4] RUN npm ci', started: '2026-03-01T10:00:00Z' }] },
  {
    vertexes: [
      {
        name: '[build 2/4] RUN npm ci',
        started: '2026-03-01T10:00:00Z',
        completed: '2026-03-01T10:00:12.5Z',
      },
      {
        name: '[build 3/4] COPY . .',
        cached: true,
        started: '2026-03-01T10:00:00Z',
        completed: '2026-03-01T10:00:01Z',
      },
    ],
  },
]
  .map((line) => JSON.stringify(line))
  .join('\n');

const KANIKO = `INFO[0001] Retrieving image manifest node:20
INFO[0003] RUN npm ci
INFO[0003] Running: [/bin/sh -c npm ci]
INFO[0033] Taking snapshot of full filesystem...
INFO[0040] COPY . .
INFO[0041] Taking snapshot of files...
INFO[0042] Using caching version of cmd: RUN echo
INFO[0042] RUN echo
INFO[0050] CMD ["a"]
`;

const BUILDAH = `2026-03-01T10:00:00Z STEP 1/3: FROM node:20
2026-03-01T10:00:01Z STEP 2/3: RUN npm ci
2026-03-01T10:00:31Z --> 1234567890ab
2026-03-01T10:00:31Z STEP 3/3: COPY . .
2026-03-01T10:00:32Z COMMIT app
`;

describe('durations', () => {
  const temp = useTemp();
  const read = (text: string): Record<string, number> =>
    Object.fromEntries(readDurations(text, 'a.log'));

  it.each([
    ['a file of its own', '{"RUN npm ci": 12.5}', { 'RUN npm ci': 12.5 }],
    ['BuildKit, plain', PLAIN, { 'RUN npm ci': 40.4, 'RUN npm run build': 20 }],
    ['a job of GitHub', JOB, { 'RUN npm ci': 40.4, 'RUN npm run build': 20 }],
    ['BuildKit, rawjson', RAW, { 'RUN npm ci': 12.5 }],
    ['kaniko', KANIKO, { 'RUN npm ci': 37, 'COPY . .': 2 }],
    ['buildah with times', BUILDAH, { 'RUN npm ci': 30, 'COPY . .': 1 }],
    [
      'several builds: the median',
      `${PLAIN}${PLAIN.replace('40.4', '50')}${PLAIN.replace('40.4', '60')}`,
      { 'RUN npm ci': 50, 'RUN npm run build': 20 },
    ],
  ])('are read out of %s', (_, text, expected) => {
    expect(read(text)).toEqual(expected);
  });

  it('are read out of what docker buildx history export wrote', () => {
    const bytes = readFileSync(join(fixture('bench'), 'history.dockerbuild'));
    expect(isHistoryExport(bytes)).toBe(true);
    expect(Object.fromEntries(readHistoryExport(bytes, 'a.dockerbuild'))).toEqual({
      'COPY --chown=1000:1000 src /app/src': expect.any(Number),
      'RUN cat /app/src/a.txt': expect.any(Number),
    });
  });

  it.each([
    ['an empty text', ''],
    ['anything else', 'hello\nworld\n'],
    ['a log of buildah without times', 'STEP 1/2: FROM a\nSTEP 2/2: RUN b\n'],
  ])('are missed in %s, with the forms that are known', (_, text) => {
    expect(() => read(text)).toThrow(/^a\.log has no durations of instructions$/);
  });

  it('are missed in an export that is damaged', () => {
    const file = join(temp.dir(), 'x');
    writeFileSync(file, gzipSync('nothing'));
    expect(() => readHistoryExport(readFileSync(file), 'x')).toThrow(/^x has no steps that ran$/);
    expect(() => readHistoryExport(Buffer.from([0x1f, 0x8b, 1]), 'x')).toThrow(
      /^x cannot be unpacked$/,
    );
  });

  it.each([
    [
      'package-lock.json',
      '{"packages": {\n"": {},\n "node_modules/a": {\n},\n "node_modules/b": {\n}}}',
      2,
    ],
    [
      'yarn.lock',
      '# yarn lockfile v1\n\na@^1:\n  version "1"\n"b@^1", "b@^2":\n  version "1"\n',
      2,
    ],
    [
      'pnpm-lock.yaml',
      "packages:\n\n  a@1.0.0:\n    resolution: {}\n\n  '@b/c@2.0.0':\n    resolution: {}\n",
      2,
    ],
    ['Cargo.lock', '[[package]]\nname = "a"\n\n[[package]]\nname = "b"\n', 2],
    ['go.sum', 'a v1 h1:x\na v1/go.mod h1:y\n', 1],
    ['requirements.txt', '# a\na==1\n-r other\nb\n', 2],
  ])('are modelled by the packages in %s', (name, text, count) => {
    expect(packagesIn(name, text)).toBe(count);
  });

  it('of the model grow with what is installed', () => {
    const facts = (count: number) => ({
      packages: new Map([['package-lock.json', count]]),
      sourceBytes: 1e6,
    });
    const few = estimate('RUN npm ci', facts(10));
    const many = estimate('RUN npm ci', facts(1000));
    expect(many.seconds).toBeGreaterThan(few.seconds * 2);
    expect(many.bytes).toBeGreaterThan(few.bytes * 2);
    expect(estimate('RUN mkdir /a', facts(10)).seconds).toBeLessThan(1);
  });
});
