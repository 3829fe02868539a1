import fc from 'fast-check';
import { maskStream, maskedParts } from '../../src/progress/mask';

function masked(secrets: readonly string[], chunks: readonly string[]): string {
  const stream = maskStream(maskedParts(secrets.map((secret) => Buffer.from(secret))));
  return Buffer.concat([
    ...chunks.map((chunk) => stream.push(Buffer.from(chunk))),
    stream.end(),
  ]).toString();
}

describe('masking secrets', () => {
  test.each([
    ['in one chunk', ['hunter2'], ['the word is hunter2.\n'], 'the word is ***.\n'],
    ['in two chunks', ['hunter2'], ['hunt', 'er2.\n'], '***.\n'],
    ['a byte at a time', ['hunter2'], [...'ahuhunter2a'], 'ahu***a'],
    ['of a file, without its line end', ['hunter2\n'], ['hunter2 '], '*** '],
    [
      'of several lines, each',
      ['first-line\r\nsecond-line\n'],
      ['second-line', '\n  first-line\r\n'],
      '***\n  ***\r\n',
    ],
    ['that lie in one another', ['hunter', 'hunter2-long'], ['hunter2-long hunter2'], '*** ***2'],
    ['that overlap', ['abcdef', 'defghi'], ['xabcdefghix'], 'x***x'],
    ['that overlap across chunks', ['abcdef', 'efgh'], ['abcdef', 'gh', 'i'], '***i'],
    ['that overlap in chunks of one byte', ['abcdef', 'efgh'], ['abcdef', 'g', 'x'], '***gx'],
    ['that end as another begins, and then nothing', ['caaa', 'bcac'], ['bcac', ''], '***'],
    ['that repeat themselves', ['aaaa'], ['aaaaaaa', 'aaab'], '***b'],
    ['not those that are too short', ['abc', '1\n2\n'], ['abc 1 2'], 'abc 1 2'],
    ['not what only begins as one', ['hunter2'], ['hunter', '3'], 'hunter3'],
    ['not what is cut off', ['hunter2'], ['hunte'], 'hunte'],
  ])('%s', (_, secrets, chunks, shown) => {
    expect(masked(secrets, chunks)).toBe(shown);
  });

  test('all that cannot be the beginning of a secret is shown at once', () => {
    const stream = maskStream(maskedParts([Buffer.from('hunter2')]));
    expect(Buffer.from(stream.push(Buffer.from('Password: '))).toString()).toBe('Password: ');
    expect(Buffer.from(stream.push(Buffer.from('catch'))).toString()).toBe('catc');
  });

  test('however the output is cut, the same is shown, and no secret', () => {
    const secret = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 4, maxLength: 8 });
    const text = fc.array(
      fc.oneof(
        fc.string({ unit: fc.constantFrom('a', 'b', 'c', ' '), maxLength: 6 }),
        fc.constant('\n'),
      ),
      { maxLength: 30 },
    );
    fc.assert(
      fc.property(fc.array(secret, { minLength: 1, maxLength: 3 }), text, (secrets, chunks) => {
        const shown = masked(secrets, chunks);
        expect(shown).toBe(masked(secrets, [chunks.join('')]));
        expect(secrets.filter((word) => shown.includes(word))).toEqual([]);
      }),
    );
  });

  test('a secret without end of its beginning is masked in constant memory', () => {
    const stream = maskStream(maskedParts([Buffer.from('aaaa')]));
    let shown = 0;
    for (let i = 0; i < 2000; i++) shown += stream.push(Buffer.alloc(1024, 'a')).length;
    expect(shown + stream.end().length).toBe(3);
  });
});
