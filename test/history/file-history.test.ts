import { BuildHistory } from '../../src/history/file-history';
import { useTemp, writeFiles } from '../support/temp';

describe('names of builds', () => {
  const temp = useTemp();

  /** A history of three builds, of which `mx42c3` is the latest. */
  function history(): BuildHistory {
    const record = (id: string): string => JSON.stringify({ version: 1, id, steps: [] });
    return new BuildHistory(
      writeFiles(temp.dir('root'), {
        'builds/project/mx42a1.json': record('mx42a1'),
        'builds/other/mx42b2.json': record('mx42b2'),
        'builds/project/mx42c3.json': record('mx42c3'),
      }),
    );
  }

  it.each([
    ['mx42a1', 'mx42a1'],
    ['2b2', 'mx42b2'],
    ['mx42b', 'mx42b2'],
    ['latest', 'mx42c3'],
    ['last', 'mx42c3'],
    ['~0', 'mx42c3'],
    ['~1', 'mx42b2'],
    ['prev', 'mx42b2'],
    ['prev~1', 'mx42a1'],
    ['last~2', 'mx42a1'],
  ])('%s is build %s', (text, id) => {
    expect(history().find(text).id).toBe(id);
    expect(history().search(text)?.id).toBe(id);
  });

  it.each([
    'nothing-of-the-kind',
    'mx42d4',
    'constructor',
    'a1',
    'last~3',
    'prev~x',
    'mx42a1~1',
    'Latest',
    '',
  ])('%j is no build, least of all the latest', (text) => {
    expect(history().search(text)).toBeUndefined();
    expect(() => history().find(text)).toThrow(`no such build: ${text}`);
  });

  it('of several builds is an error that lists them', () => {
    expect(() => history().find('mx42')).toThrow(
      'mx42 names several builds: mx42c3, mx42b2, mx42a1',
    );
  });
});
