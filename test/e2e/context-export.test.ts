import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  createReadStream,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { extract } from 'tar-fs';
import { fsPath } from '../../src/linux/paths';
import { cleanEnv, command } from '../support/command';
import { MBUILD, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

describe('context export', () => {
  const temp = useTemp();

  function context(): string {
    const dir = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM scratch\nCOPY . /\n',
      '.dockerignore': 'Dockerfile\n*.log\n!keep.log\nnode_modules\n',
      'a.log': 'no',
      'keep.log': 'yes',
      'src/run.sh': 'true\n',
      'node_modules/x.js': 'no',
    });
    chmodSync(join(dir, 'src/run.sh'), 0o775);
    mkdirSync(join(dir, 'empty'));
    symlinkSync('run.sh', join(dir, 'src/link'));
    linkSync(join(dir, 'keep.log'), join(dir, 'src/same.log'));
    return dir;
  }

  it('writes what the ignore file lets be, and the Dockerfile, with modes and links', async () => {
    const file = join(temp.dir('out'), 'context.tar');
    expect(
      (await command(MBUILD, ['context', 'export', '-o', file, context()], { env: cleanEnv({}) }))
        .code,
    ).toBe(0);
    const lines = execFileSync('tar', ['--numeric-owner', '-tvf', file], { encoding: 'utf8' })
      .trimEnd()
      .split('\n');
    expect(lines.map((line) => line.replace(/ +\d+ \d{4}-\S+ \S+/, ''))).toEqual([
      '-rw-r--r-- 0/0 .dockerignore',
      'drwxr-xr-x 0/0 empty',
      '-rw-r--r-- 0/0 keep.log',
      'drwxr-xr-x 0/0 src',
      'lrwxrwxrwx 0/0 src/link -> run.sh',
      '-rwxrwxr-x 0/0 src/run.sh',
      '-rw-r--r-- 0/0 src/same.log',
      '-rw-r--r-- 0/0 Dockerfile',
    ]);
  });

  it('leaves no file when a name cannot be written', async () => {
    const dir = context();
    writeFileSync(fsPath(`${dir}/caf\xe9`), '');
    const file = join(temp.dir('out'), 'context.tar');
    const { code, stderr } = await command(MBUILD, ['context', 'export', '-o', file, dir], {
      env: cleanEnv({}),
    });
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/the name "caf\ufffd" is not UTF-8[^]*CONTEXT_INVALID/),
    ]);
    expect(existsSync(file)).toBe(false);
  });

  it('is unpacked by tar-fs to the same files', async () => {
    const dir = context();
    const file = join(temp.dir('out'), 'context.tar');
    await command(MBUILD, ['context', 'export', '-o', file, dir], { env: cleanEnv({}) });
    const to = temp.dir('unpacked');
    await new Promise<void>((resolve, reject) => {
      createReadStream(file).pipe(extract(to)).on('finish', resolve).on('error', reject);
    });
    expect(readFileSync(join(to, 'src/link'), 'utf8')).toBe('true\n');
  });
});

describeWith('a context that was exported', { root: true }, () => {
  const temp = useTemp();

  it('builds to the image that its directory builds to', async () => {
    const mbuild = new Mbuild(temp.dir('store'), { SOURCE_DATE_EPOCH: '1700000000' });
    const dir = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM scratch\nCOPY . /\n',
      '.dockerignore': '*.log\n',
      'a.log': 'no',
      'b/c': 'yes',
    });
    chmodSync(join(dir, 'b/c'), 0o640);
    const direct = await mbuild.build([dir]);
    const piped = execFileSync(
      'sh',
      ['-c', '"$0" context export "$1" | "$0" build -q -', MBUILD, dir],
      {
        encoding: 'utf8',
        env: cleanEnv({ MBUILD_ROOT: mbuild.root, SOURCE_DATE_EPOCH: '1700000000' }),
      },
    );
    expect(piped.trim()).toBe(direct.id);
  });
});
