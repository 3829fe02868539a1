import { compareValues } from '../../src/verify/compare-values';

describe('two JSON values', () => {
  it.each([
    ['a text', { a: 'x' }, { a: 'y' }, [{ field: 'a', first: 'x', second: 'y' }]],
    [
      'an item of a list',
      { Env: ['A=1', 'B=2'] },
      { Env: ['A=1', 'B=3'] },
      [{ field: 'Env[1]', first: 'B=2', second: 'B=3' }],
    ],
    [
      'a field that one has not',
      { a: {} },
      { a: { b: { c: 1 } } },
      [{ field: 'a.b', first: undefined, second: '{"c":1}' }],
    ],
    [
      'a name that is no word',
      { Labels: { 'a.b': '1' } },
      { Labels: { 'a.b': '2' } },
      [{ field: 'Labels["a.b"]', first: '1', second: '2' }],
    ],
    [
      'a list where the other has an object',
      { a: [] },
      { a: {} },
      [{ field: 'a', first: '[]', second: '{}' }],
    ],
    ['the order of fields, which is none', { a: 1, b: 2 }, { b: 2, a: 1 }, []],
  ])('differ in %s', (_, first, second, expected) => {
    expect(compareValues(first, second, '')).toEqual(expected);
  });
});
