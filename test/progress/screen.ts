/** A terminal of the given width: enough of one to see what the renderer leaves on it. */
export class FakeScreen {
  readonly lines: string[] = [''];
  #row = 0;
  #column = 0;

  constructor(public columns: number) {}

  write(text: string): void {
    for (const [token] of text.matchAll(/\x1b\[(\d*)([A-Za-z])|[^\x1b]/gu)) this.#token(token);
  }

  /** What stands on the screen, without spaces at the ends of lines. */
  text(): string[] {
    const lines = this.lines.map((line) => line.trimEnd());
    while (lines.at(-1) === '') lines.pop();
    return lines;
  }

  #token(token: string): void {
    const sequence = /^\x1b\[(\d*)([A-Za-z])$/.exec(token);
    if (sequence === null) return this.#character(token);
    const line = this.lines[this.#row] ?? '';
    if (sequence[2] === 'A') this.#row = Math.max(0, this.#row - Number(sequence[1] || 1));
    else if (sequence[2] === 'K') this.lines[this.#row] = line.slice(0, this.#column);
    else if (sequence[2] === 'J')
      this.lines.splice(this.#row, Infinity, line.slice(0, this.#column));
  }

  #character(character: string): void {
    if (character === '\r') this.#column = 0;
    else if (character === '\n') this.#newLine();
    else {
      if (this.#column >= this.columns) this.#newLine();
      const line = (this.lines[this.#row] ?? '').padEnd(this.#column);
      this.lines[this.#row] =
        line.slice(0, this.#column) + character + line.slice(this.#column + 1);
      this.#column += 1;
    }
  }

  #newLine(): void {
    this.#row += 1;
    this.#column = 0;
    this.lines[this.#row] ??= '';
  }
}
