import { isContainerName, randomName } from '../../src/containers/names';

describe('container names', () => {
  it('are two words, and can be given by users, too', () => {
    for (let tries = 0; tries < 200; tries++) {
      expect(randomName(0)).toMatch(/^[a-z]+_[a-z]+$/);
      expect(isContainerName(randomName(tries % 20))).toBe(true);
    }
  });

  it('get numbers when many are taken', () => expect(randomName(3)).toMatch(/^[a-z]+_[a-z]+\d$/));

  it.each([
    ['web', true],
    ['Web.1_a-b', true],
    ['9lives', true],
    ['a', false],
    ['', false],
    ['_a', false],
    ['-ab', false],
    ['../ab', false],
    ['a/b', false],
    ['a b', false],
  ])('%j: %s', (name, is) => {
    expect(isContainerName(name)).toBe(is);
  });
});
