import { count, parseJsonObject, text, JsonError } from '../oci/json';
import type { Credentials } from './credentials';

/** What a registry asks for in `WWW-Authenticate`. */
export type Challenge =
  | { readonly scheme: 'basic' }
  | {
      readonly scheme: 'bearer';
      readonly realm: string;
      readonly service?: string | undefined;
      readonly scope?: string | undefined;
    };

/**
 * Reads the first challenge that mbuild can answer, Bearer before Basic. RFC 9110, 11.6.1;
 * distribution, "Token Authentication".
 */
export function parseChallenge(header: string | undefined): Challenge | undefined {
  if (header === undefined) return undefined;
  const bearer = /(?:^|,\s*)bearer\s+(.*)$/is.exec(header)?.[1];
  if (bearer !== undefined) {
    const parameters = new Map<string, string>();
    for (const [, name = '', quoted, bare] of bearer.matchAll(
      /([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/g,
    )) {
      if (!parameters.has(name.toLowerCase()))
        parameters.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? bare ?? '');
    }
    const realm = parameters.get('realm');
    if (realm !== undefined)
      return {
        scheme: 'bearer',
        realm,
        service: parameters.get('service'),
        scope: parameters.get('scope'),
      };
  }
  return /(?:^|,\s*)basic(?:\s|$)/i.test(header) ? { scheme: 'basic' } : undefined;
}

/** The value of an `Authorization: Basic` header; `undefined` for what cannot be one. */
export function basicHeader(credentials: Credentials | undefined): string | undefined {
  if (credentials?.kind !== 'password') return undefined;
  return `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`, 'utf8').toString('base64')}`;
}

/** A token with its end, in milliseconds since the epoch. */
export interface Token {
  readonly value: string;
  readonly expires: number;
}

/** Seconds; registries write them as text too. */
const seconds = (value: unknown, at: string): number =>
  count(typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : value, at);

/**
 * Reads a token server's answer. Tokens live 60 s when nothing is said; an empty `token` beside an
 * `access_token` is none. `undefined` for an answer without a token that can stand in a header.
 * Distribution, "Token Response Fields".
 */
export function parseToken(answer: Buffer, now: number): Token | undefined {
  try {
    const members = { token: text, access_token: text, expires_in: seconds };
    const read = parseJsonObject(answer, members);
    const value = read.token || read.access_token;
    if (!value || !/^[\x21-\x7e]+$/.test(value)) return undefined;
    // Given up a little early, so that a token does not end on the way.
    return { value, expires: now + (Math.max(60, read.expires_in ?? 60) - 10) * 1000 };
  } catch (error) {
    if (error instanceof JsonError) return undefined;
    throw error;
  }
}
