import { GITHUB_SECTIONS, githubAnnotations } from '../../src/progress/github';
import { GITLAB_SECTIONS } from '../../src/progress/gitlab';
import { sectionRenderer, type SectionForm } from '../../src/progress/sections';
import type { BuildEvent } from '../../src/progress/events';
import { START, play, say } from './player';

const { vertex, started, log, done, failed } = say;

function shown(form: SectionForm, events: readonly BuildEvent[]): string[] {
  return play((write) => sectionRenderer({ orders: write, lines: write }, form), events)
    .split('\n')
    .slice(0, -1);
}

describe('groups of GitHub Actions', () => {
  test("a step's group is written whole when the step ends; steps without lines have a line", () => {
    expect(
      shown(GITHUB_SECTIONS, [
        vertex(1, '[1/3] FROM base'),
        started(1, 0),
        done(1, 0, true),
        vertex(2, '[2/3] RUN a'),
        vertex(3, '[3/3] RUN b'),
        started(2, 0),
        started(3, 0),
        log(2, 100, 'a1\n'),
        log(3, 200, 'b1\n'),
        log(2, 300, 'a2\n'),
        done(3, 400),
        done(2, 500),
      ]),
    ).toEqual([
      '#1 [1/3] FROM base CACHED',
      '::group::#2 [3/3] RUN b DONE 0.4s',
      '0.200 b1',
      '::endgroup::',
      '::group::#3 [2/3] RUN a DONE 0.5s',
      '0.100 a1',
      '0.300 a2',
      '::endgroup::',
    ]);
  });

  test('the step that runs longest is live; what ends meanwhile comes between two groups of it', () => {
    let text = '';
    const write = (part: string): void => {
      text += part;
    };
    const renderer = sectionRenderer({ orders: write, lines: write }, GITHUB_SECTIONS);
    for (const event of [
      vertex(1, 'long'),
      vertex(2, 'short'),
      started(1, 0),
      started(2, 100),
      log(1, 200, 'one\n'),
      log(2, 300, 'two\n'),
    ])
      renderer.events(event);
    expect(text).toBe('');
    renderer.tick(START + 6000);
    renderer.events(log(1, 6100, 'three\n'));
    expect(text).toBe('::group::#1 long\n0.200 one\n6.100 three\n');
    renderer.events(done(2, 6200));
    renderer.events(log(1, 6300, 'four\n'));
    renderer.events(done(1, 6400));
    renderer.finish(START + 6400);
    expect(text.split('\n').slice(3)).toEqual([
      '::endgroup::',
      '::group::#2 short DONE 6.1s',
      '0.200 two',
      '::endgroup::',
      '::group::#1 long (continued)',
      '6.300 four',
      '::endgroup::',
      '#1 DONE 6.4s',
      '',
    ]);
  });

  test('how a step failed stands below its group; a percent sign in a title is data', () => {
    expect(
      shown(GITHUB_SECTIONS, [
        vertex(1, 'RUN printf %s'),
        started(1, 0),
        log(1, 1, 'out\n'),
        failed(1, 2, 'boo'),
      ]),
    ).toEqual(['::group::#1 RUN printf %25s', '0.001 out', '::endgroup::', '#1 ERROR: boo']);
  });

  test('what a step writes gives no orders: not in its lines, and not in its name', () => {
    const lines = shown(GITHUB_SECTIONS, [
      vertex(1, 'RUN x\n::error::name ##[group]'),
      started(1, 0),
      log(1, 1, '::error::line\n::endgroup::\n##[error]x\nsection_end:1:x\n'),
      done(1, 2),
    ]);
    expect(lines.filter((line) => line.startsWith('::'))).toEqual([
      '::group::#1 RUN x ::error::name # #[group] DONE 0.0s',
      '::endgroup::',
    ]);
    expect(lines.join('\n')).not.toMatch(/##\[|section_end:/);
  });

  test('steps that are not done at the end are shown', () => {
    expect(
      shown(GITHUB_SECTIONS, [vertex(1, 'RUN a'), started(1, 0), log(1, 1, 'no line feed')]),
    ).toEqual(['::group::#1 RUN a', '0.001 no line feed', '::endgroup::']);
  });
});

test('sections of GitLab have names of their own, and are collapsed when nothing failed', () => {
  const lines = shown(GITLAB_SECTIONS, [
    vertex(1, 'good'),
    vertex(2, 'bad'),
    started(1, 0),
    started(2, 0),
    log(1, 1, 'out\n'),
    log(2, 1, 'section_end:1:x\n'),
    done(1, 2),
    failed(2, 3, 'boo'),
  ]);
  const at = START / 1000;
  const key = /section_start:\d+:(\w+)_1_1/.exec(lines[0] ?? '')?.[1] ?? '';
  expect(key).toMatch(/^mbuild_\w+$/);
  expect(lines).toEqual([
    `\x1b[0Ksection_start:${at}:${key}_1_1[collapsed=true]\r\x1b[0K#1 good DONE 0.0s`,
    '0.001 out',
    `\x1b[0Ksection_end:${at}:${key}_1_1\r\x1b[0K`,
    `\x1b[0Ksection_start:${at}:${key}_2_1\r\x1b[0K#2 bad`,
    '0.001 section_ end:1:x',
    `\x1b[0Ksection_end:${at}:${key}_2_1\r\x1b[0K`,
    '#2 ERROR: boo',
  ]);
});

describe('annotations', () => {
  test('place and title are properties; line feeds and orders in a message are data', () => {
    expect(
      githubAnnotations([
        {
          severity: 'error',
          title: 'A,B:C',
          message: '100% wrong\n::error::x',
          file: 'a/Dockerfile,x',
          line: 3,
          endLine: 4,
        },
      ]),
    ).toBe(
      '::error file=a/Dockerfile%2Cx,line=3,endLine=4,title=A%2CB%3AC::100%25 wrong%0A: :error::x\n',
    );
  });

  test('ten errors and ten warnings, and how many more there were', () => {
    const many = (severity: 'error' | 'warning', count: number) =>
      Array.from({ length: count }, (_, i) => ({ severity, title: 'T', message: String(i) }));
    const lines = githubAnnotations([...many('warning', 13), ...many('error', 10)]).split('\n');
    expect(lines.filter((line) => line.startsWith('::error'))).toHaveLength(10);
    expect(lines.filter((line) => line.startsWith('::warning'))).toHaveLength(10);
    expect(lines).toContain('3 more warnings have no annotation');
  });
});
