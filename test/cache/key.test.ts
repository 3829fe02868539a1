import fc from 'fast-check';
import { cacheKey, frame, hashValue, type KeyValue, type ResultId } from '../../src/cache/key';

const value: fc.Arbitrary<KeyValue> = fc.letrec<{ value: KeyValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.string(),
    fc.integer(),
    fc.boolean(),
    fc.constant(undefined),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.string(), tie('value'), { maxKeys: 4 }),
  ),
})).value;

const framed = (item: KeyValue): string => {
  const parts: string[] = [];
  frame(item, (part) => parts.push(Buffer.from(part).toString('latin1')));
  return parts.join('');
};

/**
 * Reads one framed value back; a hash input that can be read in one way only cannot collide with
 * another.
 */
function parse(text: string, at: { offset: number }): KeyValue {
  const match = /^([utfsnlr])(\d+):/.exec(text.slice(at.offset, at.offset + 24));
  if (match === null) throw new Error(`nothing framed at ${at.offset}`);
  const [head, type, digits] = match;
  const count = Number(digits);
  at.offset += head.length;
  const bytes = (): string => {
    const slice = text.slice(at.offset, at.offset + count);
    at.offset += count;
    return Buffer.from(slice, 'latin1').toString('utf8');
  };
  switch (type) {
    case 'u':
      return undefined;
    case 't':
      return true;
    case 'f':
      return false;
    case 's':
      return bytes();
    case 'n':
      return Number(bytes());
    case 'l':
      return Array.from({ length: count }, () => parse(text, at));
    default:
      return Object.fromEntries(
        Array.from({ length: count }, () => [parse(text, at) as string, parse(text, at)]),
      );
  }
}

describe('cache keys', () => {
  it('are made of a framing that reads back as what was written', () => {
    fc.assert(
      fc.property(
        value.filter((item) => !JSON.stringify(item ?? null).includes('__proto__')),
        (item) => {
          const text = framed(item);
          const at = { offset: 0 };
          const back = parse(text, at);
          return at.offset === text.length && framed(back) === text;
        },
      ),
    );
  });

  it('are the same for what was stored as JSON and read again', () => {
    fc.assert(
      fc.property(
        value.filter((item) => item !== undefined && !JSON.stringify(item).includes('__proto__')),
        (item) => hashValue(JSON.parse(JSON.stringify(item)) as KeyValue) === hashValue(item),
      ),
    );
  });

  it.each<[string, KeyValue, KeyValue]>([
    ['the border between two strings', ['ab', 'c'], ['a', 'bc']],
    ['nesting', [['a'], 'b'], ['a', ['b']]],
    ['a number and its text', 1, '1'],
    ['an absent and an empty value', [undefined], ['']],
    ['the border between name and value', { a: 'b=c' }, { 'a=b': 'c' }],
    ['a list and a record', [], {}],
  ])('tell %s apart', (_, a, b) => {
    expect(hashValue(a)).not.toBe(hashValue(b));
  });

  it('do not depend on the order of members', () => {
    expect(hashValue({ a: 1, b: 2 })).toBe(hashValue({ b: 2, a: 1 }));
  });

  it('depend on kind, parent and every input', () => {
    const base = { kind: 'run', parent: 'p' as ResultId, inputs: { args: ['a'] } };
    const keys = [
      base,
      { ...base, kind: 'copy' },
      { ...base, parent: 'q' as ResultId },
      { ...base, inputs: { args: ['b'] } },
    ].map(cacheKey);
    expect(new Set(keys).size).toBe(4);
  });
});
