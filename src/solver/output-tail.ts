const KEPT = 16 * 1024;

/** The last part of what a command wrote, in order, for its error message. */
export class OutputTail {
  #chunks: Buffer[] = [];
  #length = 0;

  add(data: Uint8Array): void {
    this.#chunks.push(Buffer.from(data));
    this.#length += data.length;
    while (this.#length - (this.#chunks[0]?.length ?? 0) >= KEPT)
      this.#length -= this.#chunks.shift()?.length ?? 0;
  }

  /** At most the last 16 KiB, from the start of a line where there is one. */
  text(): string {
    const all = Buffer.concat(this.#chunks);
    if (all.length <= KEPT) return all.toString('utf8');
    const kept = all.subarray(-KEPT);
    return kept.subarray(kept.indexOf(0x0a) + 1).toString('utf8');
  }
}
