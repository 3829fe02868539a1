/**
 * Which stages wait for which while they are planned, several at the same time: a stage that is
 * asked for twice is planned once, and only a stage that would wait for itself is a circle.
 */
export class StageWaits {
  readonly #waits = new Map<number, Set<number>>();

  /**
   * Notes that a stage waits for another. False, and nothing is noted, when that one waits for the
   * first already.
   */
  add(waiting: number, awaited: number): boolean {
    if (this.#leadsTo(awaited, waiting)) return false;
    const known = this.#waits.get(waiting) ?? new Set();
    this.#waits.set(waiting, known.add(awaited));
    return true;
  }

  #leadsTo(from: number, to: number): boolean {
    const seen = new Set<number>();
    const open = [from];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      if (next === to) return true;
      if (seen.has(next)) continue;
      seen.add(next);
      open.push(...(this.#waits.get(next) ?? []));
    }
    return false;
  }
}
