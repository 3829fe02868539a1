import { readFileSync } from 'node:fs';
import { errnoOf } from '../diagnostics/error';

/** Lines of resolv.conf(5) that take the place of the host's. */
export interface ResolverOptions {
  /** Addresses. */
  readonly nameservers?: readonly string[] | undefined;
  /** Domains; `.` is none. */
  readonly search?: readonly string[] | undefined;
  readonly options?: readonly string[] | undefined;
}

/** The resolv.conf of the host, or another, each kind of line replaced that somebody asked for. */
export function resolvConf(
  { nameservers = [], search = [], options = [] }: ResolverOptions,
  own = readHostFile(),
): Buffer {
  const given = [
    ...nameservers.map((address) => `nameserver ${address}`),
    ...lineOf(
      'search',
      search.filter((domain) => domain !== '.'),
    ),
    ...lineOf('options', options),
  ];
  const replaced = [
    ...(nameservers.length > 0 ? ['nameserver'] : []),
    ...(search.length > 0 ? ['search', 'domain'] : []),
    ...(options.length > 0 ? ['options'] : []),
  ];
  if (replaced.length === 0) return own;
  const kept = own
    .toString('utf8')
    .split('\n')
    .filter((line) => line.trim() !== '' && !replaced.includes(line.trim().split(/\s+/)[0] ?? ''));
  return Buffer.from([...kept, ...given, ''].join('\n'));
}

function lineOf(keyword: string, words: readonly string[]): string[] {
  return words.length === 0 ? [] : [`${keyword} ${words.join(' ')}`];
}

function readHostFile(): Buffer {
  try {
    return readFileSync('/etc/resolv.conf');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return Buffer.alloc(0);
    throw error;
  }
}
