import { StringDecoder } from 'node:string_decoder';

/**
 * A line longer than this is broken, so that a stream without line feeds cannot fill the memory.
 * Characters.
 */
const MAX_LINE = 64 * 1024;

/**
 * Cuts the bytes of one stream into lines; characters split over two chunks are put together again.
 */
export class LineSplitter {
  readonly #decoder = new StringDecoder('utf8');
  #rest = '';

  /** The lines that are whole now, without their line feeds. */
  push(data: Uint8Array): string[] {
    this.#rest += this.#decoder.write(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
    const lines = this.#rest.split('\n');
    this.#rest = lines.pop() ?? '';
    while (this.#rest.length > MAX_LINE) {
      lines.push(this.#rest.slice(0, MAX_LINE));
      this.#rest = this.#rest.slice(MAX_LINE);
    }
    return lines;
  }

  /** What is left without a line feed, if anything; the splitter is empty afterwards. */
  end(): string[] {
    const rest = this.#rest + this.#decoder.end();
    this.#rest = '';
    return rest === '' ? [] : [rest];
  }
}
