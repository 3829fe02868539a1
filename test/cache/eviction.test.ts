import fc from 'fast-check';
import { chooseVictims, foundRatioOf, type Weighed } from '../../src/cache/eviction';

/**
 * A result of 100 bytes that takes a second, was used by the latest build, and is found every other
 * time.
 */
function result(key: string, facts: Partial<Weighed> = {}): Weighed {
  return { key, bytes: 100, seconds: 1, idle: 0, foundRatio: 0.5, ...facts };
}

function keys(victims: readonly Weighed[]): string[] {
  return victims.map(({ key }) => key);
}

describe('what goes from a cache that is too large', () => {
  it('nothing while all fits', () => {
    expect(chooseVictims([result('a'), result('b')], 200, 'value')).toEqual([]);
  });

  it('by value: what is made again soonest, for its bytes', () => {
    const items = [
      result('slow', { seconds: 60, bytes: 300 }),
      result('quick', { seconds: 0.2 }),
      result('small', { seconds: 0.2, bytes: 10 }),
    ];
    expect(keys(chooseVictims(items, 350, 'value'))).toEqual(['quick']);
    expect(keys(chooseVictims(items, 300, 'value'))).toEqual(['quick', 'small']);
  });

  it('by value: what was not used for long, and what its instruction says will not be found', () => {
    expect(keys(chooseVictims([result('old', { idle: 9 }), result('new')], 100, 'value'))).toEqual([
      'old',
    ]);
    expect(
      keys(
        chooseVictims(
          [result('tools', { foundRatio: 0.9, idle: 1 }), result('sources', { foundRatio: 0.1 })],
          100,
          'value',
        ),
      ),
    ).toEqual(['sources']);
  });

  it('by lru: what was used least lately, whatever it is worth; of equal ones what lies on top', () => {
    expect(
      keys(
        chooseVictims(
          [result('old', { seconds: 99, idle: 2 }), result('new', { idle: 1 })],
          100,
          'lru',
        ),
      ),
    ).toEqual(['old']);
    expect(
      keys(chooseVictims([result('below'), result('above', { parent: 'below' })], 100, 'lru')),
    ).toEqual(['above']);
  });

  it('a large result that little is worth goes with the dear small one on it only if both together are worth less', () => {
    const pair = [
      result('large', { bytes: 10_000, seconds: 0 }),
      result('dear', { parent: 'large', bytes: 1, seconds: 50 }),
    ];
    expect(
      keys(chooseVictims([...pair, result('other', { bytes: 200, seconds: 2 })], 10_100, 'value')),
    ).toEqual(['dear', 'large']);
    expect(
      keys(
        chooseVictims([...pair, result('other', { bytes: 200, seconds: 0.5 })], 10_100, 'value'),
      ),
    ).toEqual(['other']);
  });

  it('what takes no space goes with what it stands on, and never by itself', () => {
    const items = [
      result('a', { seconds: 0 }),
      result('empty', { parent: 'a', bytes: 0, seconds: 0 }),
      result('b'),
    ];
    expect(keys(chooseVictims(items, 100, 'value'))).toEqual(['empty', 'a']);
  });

  it('never something below what is kept, never too little, and never more than one branch too much', () => {
    const forest = fc
      .array(
        fc.record({
          parent: fc.nat(),
          bytes: fc.nat(100),
          seconds: fc.nat(50),
          idle: fc.nat(20),
          foundRatio: fc.double({ min: 0.01, max: 1, noNaN: true }),
        }),
        { maxLength: 30 },
      )
      .map((items) =>
        items.map((item, i): Weighed => ({
          ...item,
          key: String(i),
          parent: i === 0 || item.parent % 3 === 0 ? undefined : String(item.parent % i),
        })),
      );
    fc.assert(
      fc.property(
        forest,
        fc.nat(1500),
        fc.constantFrom('value' as const, 'lru' as const),
        (items, keep, policy) => {
          const victims = chooseVictims(items, keep, policy);
          const gone = new Set(keys(victims));
          const kept = items.filter(({ key }) => !gone.has(key));
          expect(gone.size).toBe(victims.length);
          expect(kept.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(keep);
          expect(kept.filter(({ parent }) => parent !== undefined && gone.has(parent))).toEqual([]);
          victims.forEach(({ parent }, i) =>
            expect(victims.slice(0, i).some(({ key }) => key === parent)).toBe(false),
          );
          if (items.reduce((sum, { bytes }) => sum + bytes, 0) <= keep) expect(victims).toEqual([]);
        },
      ),
    );
  });

  it('a share of few cases is drawn to a half', () => {
    expect([
      foundRatioOf({ times: 0, found: 0 }),
      foundRatioOf({ times: 1, found: 1 }),
      foundRatioOf({ times: 98, found: 98 }),
    ]).toEqual([0.5, 2 / 3, 0.99]);
  });
});
