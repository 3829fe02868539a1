import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { COMMANDS } from '../../src/cli/commands';
import { runCli } from '../../src/cli/run-cli';
import { storeRoot } from '../../src/cli/services';
import { testHost } from './host';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mbuild-cli-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

async function cli(argv: string[], env: Record<string, string> = {}, input = '') {
  const host = testHost(env, input);
  const code = await runCli(argv, host);
  return { code, out: host.out.text, err: host.err.text };
}

describe('the command line', () => {
  test.each([
    [['version']],
    [['--version']],
    [['-v']],
    [['--root', '/x', 'version']],
    [['-D', '--root=/x', 'version']],
  ])('%j prints the version', async (argv) => {
    expect(await cli(argv)).toEqual({
      code: 0,
      out: expect.stringMatching(/^mbuild version \d+\.\d+\.\d+\n$/) as string,
      err: '',
    });
  });

  test('version has fields', async () => {
    expect((await cli(['version', '--format', '{{.Os}} {{.Client.Os}}'])).out).toBe(
      'linux linux\n',
    );
    expect(JSON.parse((await cli(['version', '-f', 'json'])).out)).toHaveProperty('Version');
  });

  test.each([[[]], [['help']], [['--help']], [['-h']]])('%j lists the commands', async (argv) => {
    const { code, out } = await cli(argv);
    expect(code).toBe(0);
    for (const { name, load } of COMMANDS)
      expect(out.includes(`  ${name} `)).toBe((await load()).hidden !== true);
  });

  test.each(COMMANDS.flatMap(({ name, aliases }) => [name, ...aliases]))(
    '%s has help out of its table',
    async (name) => {
      const { code, out, err } = await cli([...name.split(' '), '--help']);
      expect([code, err]).toEqual([0, '']);
      expect(out).toMatch(/^Usage: {2}mbuild /);
      expect(out).toContain('--root DIR');
      expect(
        Math.max(
          ...out
            .split('\n')
            .filter((line) => line.startsWith('  '))
            .map((line) => line.length),
        ),
      ).toBeLessThanOrEqual(110);
    },
  );

  test('every command knows its own name', async () => {
    for (const { name, load } of COMMANDS) expect((await load()).name).toBe(name);
  });

  test.each([
    [['imges'], 'unknown command: mbuild imges', 'did you mean "images"?'],
    [['image', 'lz'], 'unknown command: mbuild image lz', 'did you mean "ls"?'],
    [['tag', 'a'], "'mbuild tag' requires at least 2 arguments", 'usage: mbuild tag'],
    [['history'], "'mbuild history' requires 1 argument", 'usage: mbuild history'],
    [['images', 'a', 'b'], "'mbuild images' requires at most 1 argument", 'usage: mbuild images'],
    [['version', 'x'], "'mbuild version' accepts no arguments", 'usage: mbuild version'],
    [['build'], "'mbuild build' requires 1 argument", 'usage: mbuild build'],
    [['-f', 'Dockerfile'], "'mbuild build' requires 1 argument", 'usage: mbuild build'],
    [['--tga', 'x', '.'], 'unknown flag: --tga', 'did you mean "--tag"?'],
  ])('%j ends with 125', async (argv, message, hint) => {
    const { code, out, err } = await cli(argv);
    expect([code, out]).toEqual([125, '']);
    expect(err).toContain(`error: ${message}\n`);
    expect(err).toContain(`[USAGE] hint: ${hint}`);
  });

  test('parse prints every instruction with its lines, flags, words and heredocs', async () => {
    const text =
      'ARG A=1\nFROM --platform=linux/amd64 debian:12 AS x\nRUN ["a", "b"]\nRUN a \\\n  b\nENV A=b "C"=d\nENV old way\nHEALTHCHECK --interval=5s CMD true\nONBUILD RUN x\nCOPY <<E /f\nhi\nE\n';
    const { code, out } = await cli(['parse', '-f', '-'], {}, text);
    expect(code).toBe(0);
    const parsed = JSON.parse(out) as {
      instruction: string;
      args: string[];
      pairs?: unknown;
      child?: { instruction: string };
      heredocs: unknown[];
      flags: string[];
      line: number;
      endLine: number;
    }[];
    expect(
      parsed.map(({ instruction, line, endLine }) => `${instruction} ${line}-${endLine}`),
    ).toEqual([
      'ARG 1-1',
      'FROM 2-2',
      'RUN 3-3',
      'RUN 4-5',
      'ENV 6-6',
      'ENV 7-7',
      'HEALTHCHECK 8-8',
      'ONBUILD 9-9',
      'COPY 10-12',
    ]);
    expect(parsed.slice(0, 4).map(({ args }) => args)).toEqual([
      ['A=1'],
      ['debian:12', 'AS', 'x'],
      ['a', 'b'],
      ['a   b'],
    ]);
    expect(parsed[1]?.flags).toEqual(['--platform=linux/amd64']);
    expect([parsed[4]?.pairs, parsed[5]?.pairs]).toEqual([
      [
        ['A', 'b', '='],
        ['"C"', 'd', '='],
      ],
      [['old', 'way', '']],
    ]);
    expect(parsed[6]).toMatchObject({ flags: ['--interval=5s'], args: ['CMD', 'true'] });
    expect(parsed[7]?.child).toMatchObject({ instruction: 'RUN', args: ['x'] });
    expect(parsed[8]?.heredocs).toEqual([
      { name: 'E', content: 'hi\n', expand: true, chomp: false, fd: 0 },
    ]);
  });

  test('a Dockerfile that is not there is named', async () => {
    const { code, err } = await cli(['parse', '-f', join(folder, 'nope')]);
    expect([code, err]).toEqual([
      1,
      expect.stringContaining(`cannot read ${join(folder, 'nope')} (ENOENT)`),
    ]);
  });

  test('a Dockerfile with mistakes is shown with its lines', async () => {
    writeFileSync(join(folder, 'Dockerfile'), 'FROM a\nRUM b\n');
    const { code, err } = await cli(['parse', folder]);
    expect(code).toBe(1);
    expect(err).toContain('> 2 │ RUM b\n');
  });
});

test.each([
  ['/given', { HOME: '/home/a' }, 1000, '/given'],
  [undefined, {}, 0, '/var/lib/mbuild'],
  [undefined, { HOME: '/home/a' }, 1000, '/home/a/.local/share/mbuild'],
  [undefined, { HOME: '/home/a', XDG_DATA_HOME: '/d' }, 1000, '/d/mbuild'],
])('with --root %s and %p uid %d uses the store %s', (root, env, uid, expected) => {
  expect(storeRoot(root, { env, uid })).toBe(expected);
});
