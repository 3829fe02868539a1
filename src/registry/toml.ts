/** A TOML value as far as configuration files of registries go: no dates. */
export type TomlValue =
  string | number | boolean | readonly TomlValue[] | { readonly [key: string]: TomlValue };

type Table = { [key: string]: TomlValue | Table | Table[] };

/** What ends the reading of a text that is not TOML. */
export class TomlError extends Error {}

/**
 * Reads TOML 1.0: tables, arrays of tables, dotted and quoted keys, strings of all four kinds,
 * numbers, booleans, arrays, inline tables.
 * @throws TomlError naming the line.
 */
export function parseToml(text: string): { readonly [key: string]: TomlValue } {
  return new Parser(text).document() as { readonly [key: string]: TomlValue };
}

/** Lists and tables inside of each other. */
const MAX_DEPTH = 64;

class Parser {
  #at = 0;
  #depth = 0;

  constructor(readonly text: string) {}

  document(): Table {
    const root: Table = Object.create(null) as Table;
    let table = root;
    for (this.#blank(); this.#at < this.text.length; this.#blank()) {
      if (this.#take('[[')) table = this.#open(root, this.#heading(']]'), true);
      else if (this.#take('[')) table = this.#open(root, this.#heading(']'), false);
      else this.#pair(table);
      this.#space();
      if (this.#at < this.text.length && !/[\n\r]/.test(this.#peek()))
        throw this.#error('a line has more than one value');
    }
    return root;
  }

  #heading(end: string): string[] {
    const keys = this.#keys();
    if (!this.#take(end)) throw this.#error(`${end} is missing`);
    return keys;
  }

  /**
   * The table that a heading names; of an array of tables the last one, or with `isNew` another
   * one.
   */
  #open(root: Table, keys: readonly string[], isNew: boolean): Table {
    let table = root;
    keys.forEach((key, i) => {
      const last = i === keys.length - 1;
      const there = table[key];
      if (last && isNew) {
        const list = Array.isArray(there) ? (there as Table[]) : [];
        if (there !== undefined && !Array.isArray(there))
          throw this.#error(`${key} is not a list of tables`);
        const fresh: Table = Object.create(null) as Table;
        list.push(fresh);
        table[key] = list;
        table = fresh;
        return;
      }
      const next: unknown = Array.isArray(there)
        ? there.at(-1)
        : (there ?? (table[key] = Object.create(null) as Table));
      if (typeof next !== 'object' || next === null) throw this.#error(`${key} is not a table`);
      table = next as Table;
    });
    return table;
  }

  #pair(table: Table): void {
    const keys = this.#keys();
    if (!this.#take('=')) throw this.#error('= is missing');
    this.#space();
    const value = this.#value();
    const last = keys.pop() ?? '';
    const holder = keys.length === 0 ? table : this.#open(table, keys, false);
    if (holder[last] !== undefined) throw this.#error(`${last} is set twice`);
    holder[last] = value;
  }

  #keys(): string[] {
    const keys: string[] = [];
    do {
      this.#space();
      const bare = this.#match(/[A-Za-z0-9_-]+/y);
      if (bare !== undefined) keys.push(bare);
      else if (this.#peek() === '"' || this.#peek() === "'") keys.push(this.#string());
      else throw this.#error('a key is missing');
      this.#space();
    } while (this.#take('.'));
    return keys;
  }

  #value(): TomlValue {
    if (++this.#depth > MAX_DEPTH) throw this.#error(`more than ${MAX_DEPTH} levels`);
    try {
      return this.#valueInside();
    } finally {
      this.#depth--;
    }
  }

  #valueInside(): TomlValue {
    const next = this.#peek();
    if (next === '"' || next === "'") return this.#string();
    if (this.#take('[')) return this.#list();
    if (this.#take('{')) return this.#inline();
    const word = this.#match(/[^\s,\]}#]+/y) ?? '';
    if (word === 'true' || word === 'false') return word === 'true';
    const number = Number(word.replace(/(?<=\d)_(?=\d)/g, ''));
    if (word === '' || Number.isNaN(number))
      throw this.#error(`${JSON.stringify(word)} is not a value`);
    return number;
  }

  #list(): TomlValue[] {
    const items: TomlValue[] = [];
    for (this.#blank(); !this.#take(']'); this.#blank()) {
      items.push(this.#value());
      this.#blank();
      if (!this.#take(',') && this.#peek() !== ']') throw this.#error('a list has no end');
    }
    return items;
  }

  #inline(): TomlValue {
    const table: Table = Object.create(null) as Table;
    for (this.#space(); !this.#take('}'); this.#space()) {
      this.#pair(table);
      this.#space();
      if (!this.#take(',') && this.#peek() !== '}') throw this.#error('a table has no end');
    }
    return table as TomlValue;
  }

  #string(): string {
    for (const quote of ['"""', "'''", '"', "'"]) {
      if (!this.#take(quote)) continue;
      const end = this.#endOf(quote);
      const raw = this.text.slice(this.#at, end);
      this.#at = end + quote.length;
      if (quote.length === 1 && raw.includes('\n')) throw this.#error('a string has no end');
      const body = quote.length === 3 ? raw.replace(/^\r?\n/, '') : raw;
      return quote.startsWith('"') ? this.#unescape(body) : body;
    }
    throw this.#error('a string is missing');
  }

  #endOf(quote: string): number {
    for (let at = this.#at; at < this.text.length; at++) {
      if (this.text[at] === '\\' && quote.startsWith('"')) at++;
      else if (this.text.startsWith(quote, at)) return at;
    }
    throw this.#error('a string has no end');
  }

  #unescape(raw: string): string {
    return raw.replace(
      /\\(?:([btnfr"\\])|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(\s*\n\s*)|(.?))/g,
      (...[, simple, short, long, fold]: (string | undefined)[]) => {
        if (simple !== undefined) return ESCAPES[simple] ?? simple;
        const code = short ?? long;
        if (code !== undefined && parseInt(code, 16) <= 0x10ffff)
          return String.fromCodePoint(parseInt(code, 16));
        if (fold !== undefined) return '';
        throw this.#error('an escape is not valid');
      },
    );
  }

  /** Spaces, comments and ends of lines. */
  #blank(): void {
    this.#match(/(?:[ \t\r\n]|#[^\n]*)*/y);
  }

  #space(): void {
    this.#match(/[ \t]*(?:#[^\n]*)?/y);
  }

  #peek(): string {
    return this.text[this.#at] ?? '';
  }

  #take(token: string): boolean {
    if (!this.text.startsWith(token, this.#at)) return false;
    this.#at += token.length;
    return true;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.text)?.[0];
    this.#at += found?.length ?? 0;
    return found;
  }

  #error(what: string): TomlError {
    return new TomlError(`line ${this.text.slice(0, this.#at).split('\n').length}: ${what}`);
  }
}

const ESCAPES: Readonly<Record<string, string>> = { b: '\b', t: '\t', n: '\n', f: '\f', r: '\r' };
