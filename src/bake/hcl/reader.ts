import type { SourceFile } from '../../diagnostics/range';
import { mistake, type Span } from './syntax';

const IDENTIFIER = /[\p{ID_Start}_][\p{ID_Continue}-]*/uy;

/**
 * A place in a file that moves on as its text is read. Between brackets line feeds are white space.
 */
export class Reader {
  position = 0;
  #brackets = 0;

  /**
   * `text` is what is read, where that is not all of the file: its places are places of the file.
   */
  constructor(
    readonly file: SourceFile,
    readonly text: string = file.text,
  ) {}

  atEnd(): boolean {
    return this.position >= this.text.length;
  }

  /** From `start` to here. */
  span(start: number): Span {
    return { file: this.file, start, end: Math.max(this.position, start) };
  }

  /** Passes over spaces and comments; over line feeds, too, between brackets or when told so. */
  skipSpace(lineFeeds = this.#brackets > 0): void {
    for (;;) {
      const character = this.text[this.position];
      if (character === ' ' || character === '\t' || character === '\r') this.position += 1;
      else if (character === '\n' && lineFeeds) this.position += 1;
      else if (character === '#' || this.looksAt('//')) this.#skipLine();
      else if (this.looksAt('/*')) this.#skipComment();
      else return;
    }
  }

  looksAt(text: string): boolean {
    return this.text.startsWith(text, this.position);
  }

  /** Takes the text when it stands here, after white space. */
  take(text: string): boolean {
    this.skipSpace();
    if (!this.looksAt(text)) return false;
    this.position += text.length;
    return true;
  }

  /** @throws MbuildError BAKE_INVALID where the text does not stand here. */
  expect(text: string, where: string): void {
    if (!this.take(text)) throw this.unexpected(`expected "${text}" ${where}`);
  }

  /** The identifier that stands here, after white space; `undefined` when none does. */
  identifier(): string | undefined {
    this.skipSpace();
    return this.match(IDENTIFIER)?.[0];
  }

  /** Takes the keyword when it stands here as a whole word. */
  keyword(word: string): boolean {
    const before = this.position;
    if (this.identifier() === word) return true;
    this.position = before;
    return false;
  }

  /** Takes what a sticky expression finds here. */
  match(expression: RegExp): RegExpExecArray | undefined {
    expression.lastIndex = this.position;
    const found = expression.exec(this.text);
    if (found === null) return undefined;
    this.position += found[0].length;
    return found;
  }

  /** Reads something between brackets, in which line feeds mean nothing. */
  bracketed<T>(read: () => T): T {
    this.#brackets += 1;
    const result = read();
    this.#brackets -= 1;
    return result;
  }

  /** Reads something in which line feeds mean again what they mean outside of brackets. */
  lined<T>(read: () => T): T {
    const outer = this.#brackets;
    this.#brackets = 0;
    const result = read();
    this.#brackets = outer;
    return result;
  }

  /** The error for what stands here. */
  unexpected(message: string): Error {
    const character = this.text[this.position];
    const found = character === undefined ? 'the file ends' : `found ${JSON.stringify(character)}`;
    return mistake(
      { file: this.file, start: this.position, end: this.position + 1 },
      `${message}, ${found}`,
    );
  }

  #skipLine(): void {
    const end = this.text.indexOf('\n', this.position);
    this.position = end < 0 ? this.text.length : end;
  }

  #skipComment(): void {
    const end = this.text.indexOf('*/', this.position + 2);
    if (end < 0) throw this.unexpected('this comment has no end');
    this.position = end + 2;
  }
}
