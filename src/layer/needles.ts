/** Looks for byte strings in a stream, also where one lies across two chunks. */
export class NeedleSearch {
  readonly #missing: Map<number, Buffer>;
  readonly #overlap: number;
  #tail: Buffer = Buffer.alloc(0);

  constructor(private readonly needles: readonly Uint8Array[]) {
    this.#missing = new Map(needles.map((needle, i) => [i, Buffer.from(needle)]));
    this.#overlap = Math.max(0, ...needles.map((needle) => needle.length - 1));
  }

  /** Numbers of the needles that were found so far. */
  get found(): number[] {
    return this.needles.flatMap((_, i) => (this.#missing.has(i) ? [] : [i]));
  }

  push(chunk: Buffer): void {
    if (this.#missing.size === 0) return;
    const seam = Buffer.concat([this.#tail, chunk.subarray(0, this.#overlap)]);
    for (const [i, needle] of this.#missing) if (seam.includes(needle) || chunk.includes(needle)) this.#missing.delete(i);
    this.#tail = Buffer.from(chunk.length >= this.#overlap ? chunk.subarray(chunk.length - this.#overlap) : seam.subarray(-this.#overlap));
  }
}
