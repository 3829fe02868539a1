import type { BuildEvent } from '../../src/progress/events';
import { plainRenderer } from '../../src/progress/plain';
import { START, play, say } from './player';

const { vertex, started, log, status, note, done, failed } = say;

function plain(events: readonly BuildEvent[]): string[] {
  return play((write) => plainRenderer(write), events)
    .split('\n')
    .slice(0, -1);
}

describe('plain progress', () => {
  test('steps one after the other read as BuildKit prints them', () => {
    expect(
      plain([
        vertex(1, '[internal] load build definition from Dockerfile'),
        started(1, 0),
        done(1, 12),
        vertex(2, '[1/3] FROM docker.io/library/debian:12'),
        vertex(3, "[2/3] RUN echo one; printf 'no newline'"),
        vertex(4, '[3/3] COPY . .'),
        started(2, 20),
        done(2, 20, true),
        started(3, 30),
        log(3, 205, 'one\n'),
        log(3, 505, 'no newline'),
        done(3, 530),
        started(4, 540),
        failed(4, 560, '"/x" not found'),
      ]),
    ).toEqual([
      '#1 [internal] load build definition from Dockerfile',
      '#1 DONE 0.0s',
      '',
      '#2 [1/3] FROM docker.io/library/debian:12',
      '#2 CACHED',
      '',
      "#3 [2/3] RUN echo one; printf 'no newline'",
      '#3 0.175 one',
      '#3 0.500 no newline',
      '#3 DONE 0.5s',
      '',
      '#4 [3/3] COPY . .',
      '#4 ERROR: "/x" not found',
    ]);
  });

  test('steps that run at once are told one after the other', () => {
    expect(
      plain([
        vertex(1, 'a'),
        vertex(2, 'b'),
        vertex(3, 'c'),
        started(1, 0),
        started(2, 0),
        started(3, 0),
        log(1, 100, 'a1\n'),
        log(2, 200, 'b1\n'),
        log(1, 300, 'a2\n'),
        log(3, 350, 'c1\n'),
        done(3, 400),
        log(2, 500, 'b2\n'),
        done(1, 600),
        log(2, 700, 'b3\n'),
        done(2, 800),
      ]),
    ).toEqual([
      '#1 a',
      '#1 0.100 a1',
      '#1 0.300 a2',
      '#1 DONE 0.6s',
      '',
      '#2 c',
      '#2 0.350 c1',
      '#2 DONE 0.4s',
      '',
      '#3 b',
      '#3 0.200 b1',
      '#3 0.500 b2',
      '#3 0.700 b3',
      '#3 DONE 0.8s',
    ]);
  });

  test('a silent step gives the word to another after five seconds and takes it back', () => {
    expect(
      plain([
        vertex(1, 'a'),
        vertex(2, 'b'),
        started(1, 0),
        started(2, 0),
        log(1, 100, 'a1\n'),
        log(2, 200, 'b1\n'),
        log(2, 5_300, 'b2\n'),
        log(1, 6_000, 'a2\n'),
        done(2, 6_100),
        done(1, 7_000),
      ]),
    ).toEqual([
      '#1 a',
      '#1 0.100 a1',
      '#1 ...',
      '',
      '#2 b',
      '#2 0.200 b1',
      '#2 5.300 b2',
      '#2 DONE 6.1s',
      '',
      '#1 a',
      '#1 6.000 a2',
      '#1 DONE 7.0s',
    ]);
  });

  test('a step that never stops talking gives the word away after ten seconds', () => {
    const chatter = Array.from({ length: 11 }, (_, i) => log(1, (i + 1) * 1000, `a${i + 1}\n`));
    const lines = plain([
      vertex(1, 'a'),
      vertex(2, 'b'),
      started(1, 0),
      started(2, 0),
      log(2, 10, 'b1\n'),
      ...chatter,
      done(1, 12_000),
      done(2, 12_000),
    ]);
    expect(lines.slice(10, 15)).toEqual(['#1 10.000 a10', '#1 ...', '', '#2 b', '#2 0.010 b1']);
  });

  test('time alone brings up what waits', () => {
    let text = '';
    const renderer = plainRenderer((part) => {
      text += part;
    });
    for (const event of [
      vertex(1, 'a'),
      vertex(2, 'b'),
      started(1, 0),
      started(2, 0),
      log(2, 10, 'b1\n'),
    ])
      renderer.events(event);
    expect(text).toBe('#1 a\n');
    renderer.tick(START + 5_001);
    expect(text).toBe('#1 a\n#1 ...\n\n#2 b\n#2 0.010 b1\n');
  });

  test('a step that runs is named before it says anything', () => {
    let text = '';
    const renderer = plainRenderer((part) => {
      text += part;
    });
    for (const event of [vertex(1, '[2/2] RUN sleep 60'), started(1, 0)]) renderer.events(event);
    expect(text).toBe('#1 [2/2] RUN sleep 60\n');
  });

  test('a canceled step says so, and what was begun is shown at the end', () => {
    expect(
      plain([
        vertex(1, 'a'),
        vertex(2, 'b'),
        started(1, 0),
        started(2, 0),
        log(1, 1, 'half'),
        log(2, 2, 'x\n'),
        failed(2, 3, 'x', true),
      ]),
    ).toEqual(['#1 a', '#1 0.003 half', '#1 ...', '', '#2 b', '#2 0.002 x', '#2 CANCELED']);
  });

  test('parts of a transfer are told once per state', () => {
    expect(
      plain([
        vertex(1, 'pull'),
        started(1, 0),
        status(1, 0, 'sha256:aaaa', 'waiting'),
        status(1, 0, 'sha256:aaaa', 'downloading', 0, 1_984_399),
        status(1, 10, 'sha256:aaaa', 'downloading', 1_000_000, 1_984_399),
        status(1, 20, 'sha256:aaaa', 'extracting', 1_984_399, 1_984_399),
        status(1, 30, 'sha256:bbbb', 'exists'),
        done(1, 40),
      ]),
    ).toEqual([
      '#1 pull',
      '#1 sha256:aaaa 0B / 1.984MB downloading',
      '#1 sha256:aaaa 1.984MB / 1.984MB extracting',
      '#1 sha256:bbbb already exists',
      '#1 DONE 0.0s',
    ]);
  });

  test('notes stand in their row', () => {
    expect(
      plain([vertex(1, 'a'), started(1, 0), note(1, 'missed: src/app.ts changed'), done(1, 0)]),
    ).toEqual(['#1 a', '#1 missed: src/app.ts changed', '#1 DONE 0.0s']);
  });

  test('control characters of a step do not reach the reader', () => {
    const text = '\x1b[31mred\x1b[0m\nold\rnew\r\n\x1b]52;c;aGk=\x07x\x07\ttab\n10%\r20%\r';
    expect(
      plain([vertex(1, 'a'), started(1, 0), log(1, 1, text), done(1, 2)]).slice(1, -1),
    ).toEqual(['#1 0.001 red', '#1 0.001 new', '#1 0.001 x␇\ttab', '#1 0.002 20%']);
  });

  test('a character that was split over two writes is whole', () => {
    const bytes = new TextEncoder().encode('ü\n');
    expect(
      plain([
        vertex(1, 'a'),
        started(1, 0),
        log(1, 1, bytes.slice(0, 1)),
        log(1, 2, bytes.slice(1)),
        done(1, 3),
      ])[1],
    ).toBe('#1 0.002 ü');
  });

  test('orders to the runner of a CI service are disarmed, whatever the environment says', () => {
    const events = [
      vertex(1, 'a'),
      started(1, 0),
      log(
        1,
        1,
        '::set-env name=a::b\n  ::error::x\n##[group]y\nstd::vector\n##vso[task.x]z\nsection_start:1:a\n',
      ),
      done(1, 2),
    ];
    expect(plain(events).slice(1, -1)).toEqual([
      '#1 0.001 : :set-env name=a::b',
      '#1 0.001   : :error::x',
      '#1 0.001 # #[group]y',
      '#1 0.001 std::vector',
      '#1 0.001 # #vso[task.x]z',
      '#1 0.001 section_ start:1:a',
    ]);
  });

  test('of a step that writes without end only the last lines are held back', () => {
    const flood = new TextEncoder().encode(
      Array.from({ length: 30_000 }, (_, i) => `${i}\n`).join(''),
    );
    const lines = plain([
      vertex(1, 'a'),
      vertex(2, 'b'),
      started(1, 0),
      started(2, 0),
      log(2, 1, flood),
      done(2, 2),
      done(1, 3),
    ]);
    expect(lines.length).toBeLessThan(10_010);
    expect(lines.slice(3, 5)).toEqual([
      '#2 b',
      expect.stringMatching(/^#2 \[\d+ lines not shown\]$/),
    ]);
    expect(lines.slice(-2)).toEqual(['#2 0.001 29999', '#2 DONE 0.0s']);
  });

  test('events of unknown rows and events after the end are left out', () => {
    const parts: string[] = [];
    const renderer = plainRenderer((part) => parts.push(part));
    renderer.events(log(9, 1, 'x\n'));
    renderer.finish(START);
    renderer.events(vertex(1, 'a'));
    renderer.events(started(1, 1));
    expect(parts).toEqual([]);
  });
});
