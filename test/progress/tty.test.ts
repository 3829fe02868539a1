import type { BuildEvent } from '../../src/progress/events';
import { chooseRenderer, useColor } from '../../src/progress/choose';
import { ttyRenderer } from '../../src/progress/tty';
import { displayWidth, ellipsis } from '../../src/progress/width';
import { START, say } from './player';
import { FakeScreen } from './screen';

const { vertex, started, log, status, note, done, failed } = say;

function open(columns = 50, rows = 20, logLines = 2, color = false) {
  const screen = new FakeScreen(columns);
  const size = { columns, rows };
  const renderer = ttyRenderer((text) => screen.write(text), { size: () => size, color, logLines });
  return {
    screen,
    size,
    renderer,
    give: (...events: BuildEvent[]) => events.forEach((event) => renderer.events(event)),
  };
}

describe('progress on a terminal', () => {
  test('steps that run show their time and their last lines, steps that ended only their time', () => {
    const { screen, renderer, give } = open();
    give(
      vertex(1, '[1/3] FROM debian'),
      vertex(2, '[2/3] RUN make'),
      vertex(3, '[3/3] COPY . .'),
      started(1, 0),
      done(1, 10, true),
      started(2, 20),
      log(2, 500, 'one\ntwo\nthree\n'),
    );
    renderer.tick(START + 1_020);
    expect(screen.text()).toEqual([
      '[+] Building 1.0s (1/3)',
      ' => CACHED [1/3] FROM debian                 0.0s',
      ' => [2/3] RUN make                           1.0s',
      ' => => # two',
      ' => => # three',
    ]);
    give(
      done(2, 2_000),
      started(3, 2_000),
      note(3, 'missed: src/app.ts changed'),
      failed(3, 2_100, 'no'),
    );
    renderer.finish(START + 2_100);
    expect(screen.text()).toEqual([
      '[+] Building 2.1s (3/3) FINISHED',
      ' => CACHED [1/3] FROM debian                 0.0s',
      ' => [2/3] RUN make                           2.0s',
      ' => ERROR [3/3] COPY . .                     0.1s',
      ' => => missed: src/app.ts changed',
    ]);
  });

  test('no line is as wide as the terminal, and no frame as high', () => {
    const { screen, renderer, give } = open(30, 6);
    for (let id = 1; id <= 10; id += 1)
      give(vertex(id, `step ${id} ${'x'.repeat(40)}`), started(id, id), done(id, 100));
    give(vertex(11, 'the last'), started(11, 200), log(11, 300, `${'日本'.repeat(20)}\n`));
    renderer.tick(START + 400);
    expect(screen.text()).toHaveLength(5);
    expect(screen.text().at(-1)).toMatch(/^ => => # 日.*…$/);
    expect(Math.max(...screen.text().map(displayWidth))).toBeLessThan(30);
    renderer.finish(START + 500);
    expect(screen.text()).toHaveLength(12);
  });

  test('a frame takes the place of the one before, also after the window became narrower', () => {
    const { screen, size, renderer, give } = open(40);
    give(vertex(1, 'first'), started(1, 0), log(1, 0, 'some text that is long enough\nmore\n'));
    renderer.tick(START + 100);
    renderer.tick(START + 200);
    expect(screen.text()).toHaveLength(4);
    size.columns = 20;
    const written = jest.spyOn(screen, 'write').mockImplementation(() => {});
    renderer.tick(START + 300);
    // The terminal has wrapped the four lines into seven.
    expect(written.mock.calls[0]?.[0].startsWith('\x1b[7A\r')).toBe(true);
  });

  test('transfers have bars and sizes', () => {
    const { screen, renderer, give } = open(60);
    give(
      vertex(1, 'pull'),
      started(1, 0),
      status(1, 1, 'aaaa', 'waiting'),
      status(1, 1, 'bbbb', 'downloading', 500_000, 1_000_000),
      status(1, 1, 'cccc', 'exists'),
    );
    renderer.tick(START + 100);
    expect(screen.text().slice(2)).toEqual([
      ' => => aaaa waiting',
      ' => => bbbb downloading [==========          ]  500kB / 1MB',
      ' => => cccc exists',
    ]);
  });

  test('output cannot drive the terminal', () => {
    const { screen, renderer, give } = open();
    give(vertex(1, 'a\x1b[2J'), started(1, 0), log(1, 0, '\x1b[5A\x1b]0;t\x07x\rold\rnew\n'));
    renderer.tick(START + 100);
    expect(screen.text().slice(1)).toEqual([
      ' => a                                        0.1s',
      ' => => # new',
    ]);
  });

  test('frames do not follow faster than the eye', () => {
    const written: string[] = [];
    const renderer = ttyRenderer((text) => written.push(text), {
      size: () => ({ columns: 80, rows: 24 }),
      color: false,
      logLines: 6,
    });
    renderer.events(vertex(1, 'a'));
    for (let at = 0; at < 1_000; at += 1) renderer.tick(START + at);
    expect(written.length).toBeLessThan(14);
  });

  test('colour is only used where it is wanted', () => {
    const parts: string[] = [];
    const renderer = ttyRenderer((text) => parts.push(text), {
      size: () => ({ columns: 40, rows: 9 }),
      color: true,
      logLines: 1,
    });
    for (const event of [vertex(1, 'a'), started(1, 0), done(1, 0, true)]) renderer.events(event);
    renderer.finish(START);
    expect(parts.join('')).toContain('\x1b[34m => CACHED a');
  });
});

test.each([
  [true, {}, true],
  [false, {}, false],
  [true, { NO_COLOR: '1' }, false],
  [true, { NO_COLOR: '' }, true],
  [true, { TERM: 'dumb' }, false],
  [false, { FORCE_COLOR: '1' }, true],
  [true, { FORCE_COLOR: '0' }, false],
  [false, { FORCE_COLOR: '3', NO_COLOR: '1' }, true],
])('colour with terminal %p and %p: %p', (isTTY, env, expected) => {
  expect(useColor(isTTY, env)).toBe(expected);
});

test.each([
  ['auto', true, {}, '\x1b'],
  ['auto', false, {}, '#1 a'],
  ['auto', true, { TERM: 'dumb' }, '#1 a'],
  ['plain', true, {}, '#1 a'],
  ['rawjson', true, {}, '{"version":1'],
  ['quiet', true, {}, ''],
  ['none', true, {}, ''],
  ['tty', false, {}, '\x1b'],
] as const)('--progress %s on a terminal (%p) with %p', (mode, isTTY, env, expected) => {
  let text = '';
  const renderer = chooseRenderer(
    { mode },
    {
      write: (part) => {
        text += part;
      },
      order: (part) => {
        text += part;
      },
      isTTY,
      size: () => ({ columns: 80, rows: 24 }),
    },
    env,
  );
  for (const event of [vertex(1, 'a'), started(1, 0), done(1, 1)]) renderer.events(event);
  renderer.finish(START);
  if (expected === '') expect(text).toBe('');
  else expect(text).toContain(expected);
});

test.each([
  ['abc', 3, 'abc'],
  ['abcd', 3, 'ab…'],
  ['日本語', 5, '日本…'],
  ['日本語', 6, '日本語'],
  ['é', 1, 'é'],
  ['abc', 1, '…'],
])('%s in %d columns is %s', (text, columns, expected) => {
  expect(ellipsis(text, columns)).toBe(expected);
});
