/*
 * JSON that others wrote: registries, archives, other tools' files. Go, which most of them are written in, has `null` for what is
 * empty, so a member that is null is a member that is missing. Everything else must have the type that its format says.
 */

/** How deep foreign JSON may nest. Images, caches and settings need about ten levels. */
export const MAX_JSON_DEPTH = 64;

/**
 * What is wrong with a piece of JSON, in words that follow the name of the piece:
 * `is not valid JSON`, `has an "Env" that is …`.
 */
export class JsonError extends Error {
  override readonly name = 'JsonError';
}

/** Reads a value that is not null. @throws JsonError, with `at` as the name of the value. */
export type JsonReader<T> = (value: unknown, at: string) => T;

type Members = Readonly<Record<string, JsonReader<unknown>>>;

/** What {@link object} makes: members that were missing or null are absent. */
export type ReadObject<M extends Members> = {
  readonly [K in keyof M]?: ReturnType<M[K]> | undefined;
};

const [QUOTE, BACKSLASH, OPEN_LIST, OPEN_OBJECT, CLOSE_LIST, CLOSE_OBJECT] = Buffer.from('"\\[{]}');

/** Parses JSON of bounded depth. @throws JsonError. */
export function parseJson(source: Uint8Array | string): unknown {
  const bytes = Buffer.isBuffer(source) ? source : Buffer.from(source as Uint8Array);
  if (isDeeper(bytes, MAX_JSON_DEPTH))
    throw new JsonError(`nests more than ${MAX_JSON_DEPTH} levels deep`);
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    // What V8 says of it quotes the text, which may hold a secret.
    throw new JsonError('is not valid JSON');
  }
}

/** Parses a JSON object and reads its members. @throws JsonError. */
export function parseJsonObject<M extends Members>(
  source: Uint8Array | string,
  members: M,
): ReadObject<M> {
  const value = parseJson(source);
  if (!isObject(value)) throw new JsonError('is not a JSON object');
  return object(members)(value, '');
}

/** Counts brackets outside of strings, before anything is made of them. */
function isDeeper(bytes: Buffer, most: number): boolean {
  let depth = 0;
  let isText = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (isText) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) isText = false;
    } else if (byte === QUOTE) isText = true;
    else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      if (++depth > most) return true;
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth--;
  }
  return false;
}

/** True for an object that is no list. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export const text: JsonReader<string> = (value, at) => {
  if (typeof value !== 'string') throw wrong(at, 'a string');
  return value;
};

export const number: JsonReader<number> = (value, at) => {
  if (typeof value !== 'number') throw wrong(at, 'a number');
  return value;
};

/** A whole number from 0 on. */
export const count: JsonReader<number> = (value, at) => {
  if (!Number.isSafeInteger(value) || Number(value) < 0) throw wrong(at, 'a whole number');
  return Number(value);
};

export const flag: JsonReader<boolean> = (value, at) => {
  if (typeof value !== 'boolean') throw wrong(at, 'true or false');
  return value;
};

/** Whatever it is. */
export const anything: JsonReader<unknown> = (value) => value;

export function list<T>(item: JsonReader<T>): JsonReader<readonly T[]> {
  return (value, at) => {
    if (!Array.isArray(value)) throw wrong(at, 'a list');
    return value.map((entry, i) => {
      if (entry === null) throw new JsonError(`has null in ${nameOf(at)}`);
      return item(entry, member(at, String(i)));
    });
  };
}

/**
 * Names of one's own choice with a value each. A value that is null is `empty`, or its name is left
 * out.
 */
export function dictionary<T>(
  item: JsonReader<T>,
  empty?: T,
): JsonReader<Readonly<Record<string, T>>> {
  return (value, at) => {
    if (!isObject(value)) throw wrong(at, 'an object');
    return Object.fromEntries(
      Object.entries(value).flatMap(([name, entry]) => {
        if (entry !== null) return [[name, item(entry, member(at, name))]];
        return empty === undefined ? [] : [[name, empty]];
      }),
    );
  };
}

/** Known members are read, others that are not null stay as they are. */
export function object<M extends Members>(members: M): JsonReader<ReadObject<M>> {
  return (value, at) => {
    if (!isObject(value)) throw wrong(at, 'an object');
    return Object.fromEntries(
      Object.entries(value).flatMap(([name, entry]) => {
        if (entry === null) return [];
        const read = Object.hasOwn(members, name) ? members[name] : undefined;
        return [[name, read === undefined ? entry : read(entry, member(at, name))]];
      }),
    ) as ReadObject<M>;
  };
}

function member(at: string, name: string): string {
  return at === '' ? name : `${at}.${name}`;
}

function nameOf(at: string): string {
  return JSON.stringify(at.slice(0, 80));
}

function wrong(at: string, wanted: string): JsonError {
  return new JsonError(
    at === '' ? `is not ${wanted}` : `has a ${nameOf(at)} that is not ${wanted}`,
  );
}
