import fc from 'fast-check';
import { batchesOf, eachAtOnce } from '../../src/linux/batches';

describe('batches', () => {
  test('hold every item once and in order, none more than its limits allow', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(20)),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 30 }),
        (sizes, items, bytes) => {
          const batches = [...batchesOf(sizes, (size) => size, { items, bytes })];
          expect(batches.flatMap((batch) => batch.items)).toEqual(sizes);
          for (const batch of batches) {
            expect(sizes.slice(batch.from, batch.from + batch.items.length)).toEqual(batch.items);
            expect(batch.items.length).toBeLessThanOrEqual(items);
            // What is larger by itself goes alone.
            if (batch.items.length > 1)
              expect(batch.items.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(bytes);
          }
        },
      ),
    );
  });

  test('are worked on so many at a time, and no more are begun after a failure', async () => {
    let running = 0;
    let most = 0;
    const begun: number[] = [];
    const work = async (piece: number): Promise<void> => {
      begun.push(piece);
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      if (piece === 4) throw new Error('four');
    };
    await expect(eachAtOnce([1, 2, 3, 4, 5, 6, 7, 8, 9], 2, work)).rejects.toThrow('four');
    expect(most).toBe(2);
    expect(begun).not.toContain(9);
  });

  test('that fail say so when nothing is written any more', async () => {
    let running = 0;
    const work = async (piece: number): Promise<void> => {
      running++;
      for (let turn = 0; turn < piece; turn++)
        await new Promise((resolve) => setImmediate(resolve));
      running--;
      if (piece === 1) throw new Error('one');
    };
    await expect(eachAtOnce([1, 9], 2, work)).rejects.toThrow('one');
    expect(running).toBe(0);
  });
});
