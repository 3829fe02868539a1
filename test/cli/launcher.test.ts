import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

let home = '';
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'mbuild launcher-'));
  cpSync(resolve(__dirname, '../../bin'), join(home, 'bin'), { recursive: true });
  mkdirSync(join(home, 'dist'));
});
afterEach(() => {
  rmSync(home, { recursive: true });
});

function bundle(text: string): void {
  writeFileSync(join(home, 'dist/main.cjs'), text);
}

function run(
  program = join(home, 'bin/mbuild'),
  args: string[] = [],
  env: Record<string, string> = {},
) {
  const { status, stdout, stderr } = spawnSync(program, args, {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], ...env },
  });
  return { status, stdout, stderr };
}

describe('the launcher', () => {
  test('hands over the words and the exit code', () => {
    bundle(
      "process.stdout.write(JSON.stringify([process.argv.slice(2), __dirname, require('node:path').basename(__filename)])); process.exit(7);",
    );
    const { status, stdout } = run(undefined, ['build', 'a b', '', '$x']);
    expect([status, JSON.parse(stdout)]).toEqual([
      7,
      [['build', 'a b', '', '$x'], join(home, 'dist'), 'main.cjs'],
    ]);
  });

  test('loads a late bundle once, and keeps its compiled code too', () => {
    bundle(
      "const a = require('./late/a.cjs'); process.stdout.write(`${a === require('./late/a.cjs')} ${a.value} ${require('node:path').sep}`);",
    );
    mkdirSync(join(home, 'dist/late'));
    writeFileSync(join(home, 'dist/late/a.cjs'), 'module.exports = { value: 1 };');
    for (const _ of ['compiled', 'out of the cache']) expect(run().stdout).toBe('true 1 /');
    expect(existsSync(join(home, 'dist/late/a.cjs.used.code'))).toBe(true);
  });

  test('is found through links', () => {
    bundle("process.stdout.write('here');");
    mkdirSync(join(home, 'elsewhere'));
    symlinkSync('../bin/mbuild', join(home, 'elsewhere/one'));
    symlinkSync(join(home, 'elsewhere/one'), join(home, 'two'));
    expect(run(join(home, 'two')).stdout).toBe('here');
  });

  test('keeps NODE_EXTRA_CA_CERTS out of the way of Node.js, and its value for mbuild', () => {
    bundle(
      'process.stdout.write(`${process.env.NODE_EXTRA_CA_CERTS} ${process.env.MBUILD_EXTRA_CA_CERTS}`);',
    );
    expect(run(undefined, [], { NODE_EXTRA_CA_CERTS: '/ca.pem' }).stdout).toBe('undefined /ca.pem');
    expect(run().stdout).toBe('undefined undefined');
  });

  test('says what to do when nothing is compiled and nothing can be', () => {
    expect(run()).toEqual({
      status: 125,
      stdout: '',
      stderr: `error: mbuild is not compiled; run 'npm install' in ${home}\n`,
    });
  });

  test('runs new code after a change, although compiled code of the old one is there', () => {
    bundle("process.stdout.write('old');");
    expect([run().stdout, run().stdout]).toEqual(['old', 'old']);
    expect(existsSync(join(home, 'dist/main.cjs.other.code'))).toBe(true);
    bundle("process.stdout.write('new');");
    utimesSync(join(home, 'dist/main.cjs'), 1, 1);
    expect(run().stdout).toBe('new');
  });

  test.each([
    [['build', '.'], 'build'],
    [['.'], 'build'],
    [['-f', 'Dockerfile', '.'], 'build'],
    [['--version'], 'other'],
    [['images'], 'other'],
    [[], 'other'],
  ])('keeps what a build compiled apart: %j', (args, kind) => {
    bundle('');
    run(undefined, args);
    expect(readdirSync(join(home, 'dist'))).toEqual(['main.cjs', `main.cjs.${kind}.code`]);
  });

  test('compiled code that is damaged does no harm', () => {
    bundle("process.stdout.write('fine');");
    run();
    writeFileSync(join(home, 'dist/main.cjs.other.code'), 'rubbish');
    expect(run()).toEqual({ status: 0, stdout: 'fine', stderr: '' });
  });

  test('the bundle has no import(), which code out of the cache cannot do', () => {
    // A word character, a dot or a hash before it makes it a name, as in a string of a message.
    const found = readFileSync(resolve('dist/main.cjs'), 'latin1').matchAll(
      /.{0,40}(?<![\w$.#])import\(.{0,40}/g,
    );
    expect([...found].map(([place]) => place)).toEqual([]);
  });
});
