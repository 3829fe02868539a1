import fc from 'fast-check';
import { Chain, Variables } from '../../src/graph/persistent';

describe('persistent lists and variables', () => {
  it('are what arrays are, whichever version is added to', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(), fc.nat())), (steps) => {
        const versions: (readonly [Chain<number>, readonly number[]])[] = [[Chain.of(), []]];
        for (const [from, item] of steps) {
          const [chain, list] = versions[from % versions.length] ?? [Chain.of(), []];
          versions.push([chain.with(item), [...list, item]]);
        }
        for (const [chain, list] of versions) {
          expect(chain.toArray()).toEqual(list);
          expect([...chain]).toEqual(list);
        }
      }),
    );
  });

  it('are what maps are, whichever version is assigned to', () => {
    const step = fc.tuple(fc.nat(), fc.constantFrom('a', 'b', 'c'), fc.string());
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const versions: (readonly [Variables, ReadonlyMap<string, string>])[] = [
          [Variables.of(), new Map()],
        ];
        for (const [from, name, value] of steps) {
          const [variables, map] = versions[from % versions.length] ?? [Variables.of(), new Map()];
          versions.push([variables.with(name, value), new Map(map).set(name, value)]);
        }
        for (const [variables, map] of versions) {
          expect([...variables.inFirstOrder()]).toEqual([...map]);
          expect(new Map(variables)).toEqual(map);
          for (const name of ['a', 'b', 'c', 'd']) {
            expect(variables.get(name)).toBe(map.get(name));
            expect(variables.has(name)).toBe(map.has(name));
          }
          const bytes = [...map].reduce(
            (sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value),
            0,
          );
          expect(variables.bytes).toBe(bytes);
        }
      }),
    );
  });

  it('have the latest assignment last', () => {
    const variables = Variables.of([
      ['a', '1'],
      ['b', '2'],
      ['a', '3'],
    ]);
    expect([...variables]).toEqual([
      ['b', '2'],
      ['a', '3'],
    ]);
  });
});
