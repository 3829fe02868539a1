import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { singleFlight, type Flight, type Queue } from '../../src/solver/single-flight';
import { useTemp } from '../support/temp';

describe('what is done under a lock', () => {
  const temp = useTemp();
  const queue = (signal = new AbortController().signal): Queue => ({
    signal,
    name: 'a test',
    waits: () => undefined,
  });

  /** A promise that is settled from outside. */
  function gate(): { readonly open: () => void; readonly opened: Promise<void> } {
    let open: () => void = () => undefined;
    const opened = new Promise<void>((resolve) => (open = resolve));
    return { open: () => open(), opened };
  }

  test('is done by one at a time, and the next waits until it has landed', async () => {
    const dir = temp.dir();
    const landing = gate();
    const order: string[] = [];
    const first = await singleFlight(dir, 'key', queue(), async () => ({
      value: 1,
      landed: landing.opened.then(() => order.push('landed')),
    }));
    expect(first.value).toBe(1);
    const second = singleFlight(dir, 'key', queue(), async (): Promise<Flight<number>> => {
      order.push('second');
      return { value: 2, landed: Promise.resolve() };
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(order).toEqual([]);
    landing.open();
    expect((await second).value).toBe(2);
    expect(order).toEqual(['landed', 'second']);
  });

  test('does not wait for what has another name', async () => {
    const dir = temp.dir();
    const landing = gate();
    const held = await singleFlight(dir, 'one', queue(), async () => ({
      value: 1,
      landed: landing.opened,
    }));
    const other = singleFlight(dir, 'two', queue(), async () => ({
      value: 2,
      landed: Promise.resolve(),
    }));
    expect((await other).value).toBe(2);
    landing.open();
    await held.landed;
  });

  test('frees the lock when it fails, also when it fails to land', async () => {
    const dir = temp.dir();
    await expect(
      singleFlight(dir, 'key', queue(), () => Promise.reject(new Error('failed'))),
    ).rejects.toThrow('failed');
    const flight = await singleFlight(dir, 'key', queue(), async () => ({
      value: 1,
      landed: Promise.reject(new Error('crashed')),
    }));
    await flight.landed;
    expect(existsSync(join(dir, 'key'))).toBe(false);
  });

  test('is not begun by who is called off while he waits', async () => {
    const dir = temp.dir();
    const landing = gate();
    const held = await singleFlight(dir, 'key', queue(), async () => ({
      value: 1,
      landed: landing.opened,
    }));
    const stop = new AbortController();
    const work = jest.fn<Promise<Flight<number>>, []>();
    const waiting = singleFlight(dir, 'key', queue(stop.signal), work);
    stop.abort(new Error('called off'));
    await expect(waiting).rejects.toMatchObject({ cause: stop.signal.reason });
    expect(work).not.toHaveBeenCalled();
    landing.open();
    await held.landed;
  });
});
