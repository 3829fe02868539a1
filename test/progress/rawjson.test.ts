import { rawJsonRenderer, rawLine } from '../../src/progress/rawjson';
import { play, say } from './player';

const { vertex, started, log, status, done, failed } = say;

test('every event is one line of JSON with version, kind and RFC 3339 times', () => {
  const text = play(rawJsonRenderer, [
    vertex(1, 'a\nb'),
    started(1, 0),
    log(1, 5, 'ü\n'),
    log(1, 6, new Uint8Array([0xff, 0x0a]), 'stderr'),
    status(1, 7, 'x', 'downloading', 1, 2),
    done(1, 8, true),
    failed(2, 9, 'e', true),
    {
      kind: 'warning',
      diagnostic: {
        severity: 'warning',
        code: 'C',
        message: 'm',
        file: { name: 'D', text: 'x' },
        range: { start: { line: 1, column: 1 }, end: { line: 1, column: 2 } },
      },
    },
  ]);
  expect(
    text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as unknown),
  ).toEqual([
    { version: 1, kind: 'vertex', id: 1, name: 'a\nb' },
    { version: 1, kind: 'started', id: 1, time: '2026-01-01T00:00:00.000Z' },
    {
      version: 1,
      kind: 'log',
      id: 1,
      time: '2026-01-01T00:00:00.005Z',
      stream: 'stdout',
      text: 'ü\n',
    },
    {
      version: 1,
      kind: 'log',
      id: 1,
      time: '2026-01-01T00:00:00.006Z',
      stream: 'stderr',
      data: '/wo=',
    },
    {
      version: 1,
      kind: 'status',
      id: 1,
      time: '2026-01-01T00:00:00.007Z',
      item: 'x',
      state: 'downloading',
      current: 1,
      total: 2,
    },
    { version: 1, kind: 'done', id: 1, time: '2026-01-01T00:00:00.008Z', cached: true },
    {
      version: 1,
      kind: 'failed',
      id: 2,
      time: '2026-01-01T00:00:00.009Z',
      error: 'e',
      canceled: true,
    },
    {
      version: 1,
      kind: 'warning',
      diagnostic: {
        severity: 'warning',
        code: 'C',
        message: 'm',
        file: 'D',
        line: 1,
        column: 1,
        endLine: 1,
        endColumn: 2,
      },
    },
  ]);
});

test('a result is a line as well', () => {
  expect(rawLine({ kind: 'result', imageId: 'sha256:1', digest: 'sha256:2', names: ['a'] })).toBe(
    '{"version":1,"kind":"result","imageId":"sha256:1","digest":"sha256:2","names":["a"]}\n',
  );
});
