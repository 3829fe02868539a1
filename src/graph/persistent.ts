/**
 * A list that is never changed: adding to it gives a new one. Adding to the newest of its kind
 * costs constant time, for all of them share one array, of which each shows its beginning; stages
 * have instructions by the ten thousand.
 */
export class Chain<T> implements Iterable<T> {
  private constructor(
    private readonly shared: T[],
    readonly length: number,
  ) {}

  static of<T>(items: Iterable<T> = []): Chain<T> {
    const shared = [...items];
    return new Chain(shared, shared.length);
  }

  /** The same with one more at the end. */
  with(item: T): Chain<T> {
    const shared =
      this.shared.length === this.length ? this.shared : this.shared.slice(0, this.length);
    shared.push(item);
    return new Chain(shared, this.length + 1);
  }

  toArray(): readonly T[] {
    return this.shared.slice(0, this.length);
  }

  [Symbol.iterator](): Iterator<T> {
    return this.toArray()[Symbol.iterator]();
  }
}

/** What all {@link Variables} of one kind share: assignments, and where those of each name are. */
interface Assignments {
  readonly log: (readonly [name: string, value: string])[];
  readonly places: Map<string, number[]>;
}

/**
 * Names with values, never changed: an assignment gives new ones, at constant cost as a
 * {@link Chain} has it.
 */
export class Variables implements Iterable<readonly [name: string, value: string]> {
  private constructor(
    private readonly shared: Assignments,
    /** How many assignments there were. */
    readonly length: number,
    /** Bytes of names and values, as UTF-8. */
    readonly bytes: number,
  ) {}

  static of(entries: Iterable<readonly [name: string, value: string]> = []): Variables {
    let variables = new Variables({ log: [], places: new Map() }, 0, 0);
    for (const [name, value] of entries) variables = variables.with(name, value);
    return variables;
  }

  /** The same with a value, which is the latest. */
  with(name: string, value: string): Variables {
    if (this.shared.log.length !== this.length)
      return Variables.of(this.shared.log.slice(0, this.length)).with(name, value);
    const before = this.get(name);
    const replaced = before === undefined ? 0 : sizeOf(name, before);
    const places = this.shared.places.get(name) ?? [];
    places.push(this.length);
    this.shared.places.set(name, places);
    this.shared.log.push([name, value]);
    return new Variables(this.shared, this.length + 1, this.bytes - replaced + sizeOf(name, value));
  }

  get(name: string): string | undefined {
    const place = this.#placesOf(name).at(-1);
    return place === undefined ? undefined : this.shared.log[place]?.[1];
  }

  has(name: string): boolean {
    return this.#placesOf(name).length > 0;
  }

  /** In order of last assignment. */
  *[Symbol.iterator](): Generator<readonly [name: string, value: string]> {
    for (const [at, entry] of this.shared.log.slice(0, this.length).entries())
      if (this.#placesOf(entry[0]).at(-1) === at) yield entry;
  }

  /** In order of first assignment, with the latest values. */
  *inFirstOrder(): Generator<readonly [name: string, value: string]> {
    for (const [at, [name]] of this.shared.log.slice(0, this.length).entries()) {
      const value = this.get(name);
      if (value !== undefined && this.#placesOf(name)[0] === at) yield [name, value];
    }
  }

  /** Where a name is assigned, as far as these go. */
  #placesOf(name: string): readonly number[] {
    const places = this.shared.places.get(name) ?? [];
    return (places.at(-1) ?? 0) < this.length
      ? places
      : places.filter((place) => place < this.length);
  }
}

function sizeOf(name: string, value: string): number {
  return Buffer.byteLength(name) + Buffer.byteLength(value);
}
