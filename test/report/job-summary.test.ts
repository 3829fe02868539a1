import type { BuildResult, StepResult } from '../../src/build';
import { failureSummary, jobSummary } from '../../src/report/job-summary';

const DIGEST = `sha256:${'a'.repeat(64)}` as BuildResult['descriptor']['digest'];

function result(steps: readonly StepResult[]): BuildResult {
  const descriptor = { mediaType: 'm', digest: DIGEST, size: 1 } as BuildResult['descriptor'];
  return {
    buildId: 'b1',
    cache: { hits: 1, misses: steps.length, hitRatio: 0, secondsSaved: 12.5, bytesSaved: 2e6 },
    imageId: DIGEST,
    descriptor,
    names: ['docker.io/library/app:1'],
    images: [
      { target: undefined, platform: 'linux/amd64', imageId: DIGEST, descriptor, names: ['app:1'] },
    ],
    steps,
    warnings: [],
  };
}

function step(i: number, name = `[${i}/9] RUN ${i}`): StepResult {
  return {
    name,
    stage: 's',
    line: i,
    cached: false,
    durationMs: i * 1000,
    key: String(i),
    missed: ['x changed'],
    layer: { diffId: DIGEST, size: 3e6 },
  };
}

test('hits, causes, seconds saved, sizes and the slowest steps are there', () => {
  const text = jobSummary([{ result: result([step(1), step(2)]), size: 5e6 }], 3000);
  expect(text).toContain('| 1 of 3 | 12.5s | 2MB | 3.0s | 5MB | 0 |');
  expect(text).toContain('| <code>&#91;1/9&#93; RUN 1</code> | x changed | 1.0s | 3MB |');
  const slow = text.slice(text.indexOf('slowest'));
  expect(slow.indexOf('RUN 2')).toBeLessThan(slow.indexOf('RUN 1'));
});

test('neither Markdown nor HTML in names means anything', () => {
  const text = jobSummary([{ result: result([step(1, 'RUN `a` | <b>x</b>\n# y')]) }], 1);
  expect(text).not.toMatch(/<b>|`|\n# y/);
  expect(text).toContain('RUN &#96;a&#96; &#124; &#60;b&#62;x&#60;/b&#62;');
});

test('many long steps stay far below the limit of GitHub', () => {
  const steps = Array.from({ length: 5000 }, (_, i) => step(i, `RUN ${'|'.repeat(5000)}`));
  const text = jobSummary([{ result: result(steps) }], 1);
  expect(Buffer.byteLength(text)).toBeLessThan(512 * 1024);
  expect(text).toContain('and 4960 more');
});

test('a failure has its place, its hint, and the last output of the command', () => {
  const text = failureSummary({
    severity: 'error',
    code: 'EXEC_FAILED',
    message: 'RUN exited with code 1',
    file: 'Dockerfile',
    line: 3,
    hint: 'look',
    output: `${'x'.repeat(100_000)}\n</pre><script>`,
  });
  expect(text).toContain('<code>Dockerfile:3</code>');
  expect(text).toContain('&#60;/pre&#62;&#60;script&#62;</pre>');
  expect(text.length).toBeLessThan(30_000);
});
