import { constants, createHash, createPrivateKey, privateDecrypt, randomUUID } from 'node:crypto';
import { fromJson, list, object, toJson } from '../value';
import { define, refuse, type Library } from './define';

/** Encodings and hashes. */
export const ENCODING: Library = {
  base64decode: define(['string'], (text) => {
    if (!/^[A-Za-z0-9+/\r\n]*={0,2}$/.test(text)) throw refuse('this is not base64');
    return Buffer.from(text, 'base64').toString();
  }),
  base64encode: define(['string'], (text) => Buffer.from(text).toString('base64')),
  // They take buffers of bytes, which no expression of a bake file makes: docker refuses a string,
  // too.
  byteslen: define(['any'], refuseBytes),
  bytesslice: define(['any', 'number', 'number'], refuseBytes),
  csvdecode: define(['string'], decodeCsv),
  jsondecode: define(['string'], (text) => {
    try {
      return fromJson(JSON.parse(text));
    } catch (error) {
      throw refuse(error instanceof Error ? error.message : String(error));
    }
  }),
  jsonencode: define(['any'], (value) => escapeHtml(JSON.stringify(toJson(value)))),
  md5: define(['string'], (text) => hash('md5', text)),
  sha1: define(['string'], (text) => hash('sha1', text)),
  sha256: define(['string'], (text) => hash('sha256', text)),
  sha512: define(['string'], (text) => hash('sha512', text)),
  rsadecrypt: define(['string', 'string'], (secret, key) => {
    try {
      return privateDecrypt(
        { key: createPrivateKey(key), padding: constants.RSA_PKCS1_PADDING },
        Buffer.from(secret, 'base64'),
      ).toString();
    } catch (error) {
      throw refuse(error instanceof Error ? error.message : String(error));
    }
  }),
  urlencode: define(['string'], (text) => new URLSearchParams([['', text]]).toString().slice(1)),
  uuidv4: define([], () => randomUUID()),
  uuidv5: define(['string', 'string'], nameUuid),
};

function refuseBytes(): never {
  throw refuse('bytes are needed; strlen and substr work on text');
}

function hash(algorithm: string, text: string): string {
  return createHash(algorithm).update(text).digest('hex');
}

/** As Go's encoding/json writes what could end a script element. */
function escapeHtml(json: string): string {
  return json.replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

const NAMESPACES: Readonly<Record<string, string>> = {
  dns: '6ba7b810-9dad-11d1-80b4-00c04fd430c8',
  url: '6ba7b811-9dad-11d1-80b4-00c04fd430c8',
  oid: '6ba7b812-9dad-11d1-80b4-00c04fd430c8',
  x500: '6ba7b814-9dad-11d1-80b4-00c04fd430c8',
};

/** RFC 9562, section 5.5. */
function nameUuid(namespace: string, name: string): string {
  const text = (NAMESPACES[namespace] ?? namespace).replaceAll('-', '');
  if (!/^[0-9a-f]{32}$/i.test(text)) throw refuse(`"${namespace}" is not a namespace of UUIDs`);
  const digest = createHash('sha1').update(Buffer.from(text, 'hex')).update(name).digest();
  digest[6] = ((digest[6] ?? 0) & 0x0f) | 0x50;
  digest[8] = ((digest[8] ?? 0) & 0x3f) | 0x80;
  const hex = digest.toString('hex', 0, 16);
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join('-');
}

/** RFC 4180: the first row names the attributes. */
function decodeCsv(text: string): ReturnType<typeof list> {
  const [names, ...rows] = csvRows(text);
  if (names === undefined) throw refuse('the first line must name the columns');
  return list(
    rows.map((row) => {
      if (row.length !== names.length) throw refuse('the rows differ in length');
      return object(names.map((name, i) => [name, row[i] ?? '']));
    }),
  );
}

function csvRows(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  const field = /(?:"((?:[^"]|"")*)"|([^,\r\n"]*))(,|\r?\n|$)/y;
  while (field.lastIndex < text.length) {
    const found = field.exec(text);
    if (found === null) throw refuse('this is not CSV: a quotation mark is out of place');
    row.push(found[1]?.replaceAll('""', '"') ?? found[2] ?? '');
    if (found[3] === ',') continue;
    if (row.length > 1 || row[0] !== '') rows.push(row);
    row = [];
  }
  return rows;
}
