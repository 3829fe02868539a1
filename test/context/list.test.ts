import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { listContext } from '../../src/context/list';
import { LocalContext, loadIgnoreFile } from '../../src/context/local';
import { useTemp, writeFiles } from '../support/temp';

describe('the list of a context', () => {
  const temp = useTemp();

  it('names what goes in and what stays out, with the line that decided', () => {
    const dir = writeFiles(temp.dir('context'), {
      '.dockerignore': '# notes\n*.log\n!keep.log\nnode_modules\nsecret/*\n!secret/public\n',
      'a.log': '12345',
      'keep.log': '1',
      'app/main.js': '123',
      'node_modules/x/index.js': '1234',
      'node_modules/y.js': '12',
      'secret/key': '1',
      'secret/public': '1',
    });
    mkdirSync(join(dir, 'empty'));
    symlinkSync('main.js', join(dir, 'app/link'));
    const entries = listContext(new LocalContext(dir, loadIgnoreFile(dir)));
    expect(
      entries.map(({ path, included, size, files, rule }) => [
        path,
        included,
        size,
        files,
        rule?.line,
      ]),
    ).toEqual([
      ['.dockerignore', true, 61, 1, undefined],
      ['a.log', false, 5, 1, 2],
      ['app/link', true, 7, 1, undefined],
      ['app/main.js', true, 3, 1, undefined],
      ['empty/', true, 0, 0, undefined],
      ['keep.log', true, 1, 1, 3],
      ['node_modules/', false, 6, 2, 4],
      ['secret/key', false, 1, 1, 5],
      ['secret/public', true, 1, 1, 6],
    ]);
    expect(entries.find(({ path }) => path === 'keep.log')?.rule).toEqual({
      file: '.dockerignore',
      line: 3,
      pattern: '!keep.log',
    });
  });

  it('is everything where nothing is ignored', () => {
    const dir = writeFiles(temp.dir('context'), { 'a/b': '1', c: '2' });
    expect(
      listContext(new LocalContext(dir)).map(({ path, included }) => [path, included]),
    ).toEqual([
      ['a/b', true],
      ['c', true],
    ]);
  });
});
