import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { LocalContext, loadIgnoreFile } from '../../src/context/local';
import { selectSources } from '../../src/context/selection';
import { makeFolder, makeTree, removeFolder } from '../snapshot/trees';

describe('LocalContext', () => {
  let folder: string;
  beforeEach(() => (folder = makeFolder()));
  afterEach(() => removeFolder(folder));

  const context = (): LocalContext => new LocalContext(folder, loadIgnoreFile(folder));
  const all = (): string[] =>
    selectSources(context(), ['.']).sources.flatMap((source) =>
      source.entries.map((entry) => entry.path),
    );

  test('what the ignore file excludes is not there, what an exception brings back is, with its directories', () => {
    makeTree(folder, {
      '/ign/no': 'f:',
      '/ign/keep/yes': 'f:',
      '/ign/other/no': 'f:',
      '/a': 'f:',
      '/b.log': 'f:',
    });
    writeFileSync(path.join(folder, '.dockerignore'), 'ign\n!ign/keep\n*.log\n.dockerignore\n');
    expect(all()).toEqual(['a', 'ign', 'ign/keep', 'ign/keep/yes']);
    expect(context().lstat('/ign/other')).toBeUndefined();
    expect(context().lstat('/ign')?.stats.isDirectory()).toBe(true);
  });

  test('an excluded directory of which nothing is brought back is not there', () => {
    makeTree(folder, { '/ign/no': 'f:' });
    writeFileSync(path.join(folder, '.dockerignore'), 'ign\n!ign/keep\n');
    expect(all()).toEqual(['.dockerignore']);
  });

  test('the Dockerfile’s own ignore file goes before the common one, an explicit one before both', () => {
    makeTree(folder, {
      '/a': 'f:',
      '/b': 'f:',
      '/c': 'f:',
      '/.dockerignore': 'f:a',
      '/Dockerfile.dockerignore': 'f:b',
      '/mine': 'f:c',
    });
    const names = (ignore: ReturnType<typeof loadIgnoreFile>): string[] =>
      new LocalContext(folder, ignore)
        .children('/')
        .map((entry) => entry.path)
        .filter((name) => name.length === 2);
    expect(names(loadIgnoreFile(folder))).toEqual(['/b', '/c']);
    expect(names(loadIgnoreFile(folder, path.join(folder, 'Dockerfile')))).toEqual(['/a', '/c']);
    expect(
      names(loadIgnoreFile(folder, path.join(folder, 'Dockerfile'), path.join(folder, 'mine'))),
    ).toEqual(['/a', '/b']);
  });

  test('symlinks lead nowhere but into the context', () => {
    const outside = makeFolder();
    try {
      makeTree(outside, { '/secret': 'f:x' });
      symlinkSync(outside, path.join(folder, 'out'));
      symlinkSync('../../../../../etc', path.join(folder, 'up'));
      symlinkSync('/inside', path.join(folder, 'abs'));
      makeTree(folder, { '/inside/f': 'f:x' });
      expect(context().stat('/out/secret')).toBeUndefined();
      expect(context().stat('/up/passwd')).toBeUndefined();
      expect(context().stat('/abs/f')?.path).toBe('/inside/f');
      expect(() => selectSources(context(), ['up/passwd'])).toThrow(
        expect.objectContaining({ code: 'SOURCE_NOT_FOUND' }),
      );
    } finally {
      removeFolder(outside);
    }
  });

  test('an ignore file that links out of the context is not read', () => {
    symlinkSync('/etc/passwd', path.join(folder, '.dockerignore'));
    expect(loadIgnoreFile(folder)).toBeUndefined();
  });

  test('an ignore file that is a FIFO or a directory is refused at once', () => {
    execFileSync('mkfifo', [path.join(folder, '.dockerignore')]);
    expect(() => loadIgnoreFile(folder)).toThrow(/\.dockerignore is not a regular file/);
    mkdirSync(path.join(folder, 'D.dockerignore'));
    expect(() => loadIgnoreFile(folder, path.join(folder, 'D'))).toThrow(/not a regular file/);
  });

  test('a missing ignore file that was asked for is an error', () => {
    expect(() => loadIgnoreFile(folder, undefined, path.join(folder, 'nope'))).toThrow(
      /nope does not exist/,
    );
  });

  test('a context that is not there, or a file, is named', () => {
    expect(() => new LocalContext(path.join(folder, 'nope'))).toThrow(
      expect.objectContaining({ code: 'CONTEXT_NOT_FOUND' }),
    );
    writeFileSync(path.join(folder, 'file'), '');
    expect(() => new LocalContext(path.join(folder, 'file'))).toThrow(/not a directory/);
  });

  test('names that are not UTF-8 are kept byte by byte', () => {
    writeFileSync(Buffer.from(`${folder}/caf\xe9`, 'latin1'), '');
    expect(all()).toEqual(['caf\xe9']);
  });
});
