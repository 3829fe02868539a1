import { BlockList, isIP } from 'node:net';
import { MbuildError } from '../diagnostics/error';

/*
 * Which requests go through a proxy: as Go's programs read HTTP_PROXY, HTTPS_PROXY and NO_PROXY (golang.org/x/net/http/httpproxy),
 * for docker and all that surrounds it are written in Go. ALL_PROXY, which Go does not read, counts where the others are missing.
 */

type Environment = Readonly<Record<string, string | undefined>>;

const PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };
const SCHEMES = ['http:', 'https:', 'socks5:', 'socks5h:'];

/**
 * The proxy that a request to `url` goes through; `undefined` for none.
 * @throws MbuildError USAGE for a proxy that cannot be used.
 */
export function proxyFor(url: URL, env: Environment): URL | undefined {
  const name = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  const [variable, value] = firstOf(env, [name, 'ALL_PROXY']) ?? [];
  if (value === undefined || isLoopback(url.host) || isExcepted(url, env)) return undefined;
  return parseProxy(value, variable ?? name);
}

/** True for a host that is the machine itself: never reached through a proxy. */
export function isLoopback(host: string): boolean {
  const name = hostnameOf(host);
  return (
    name === 'localhost' ||
    name.endsWith('.localhost') ||
    name === '::1' ||
    (isIP(name) === 4 && name.startsWith('127.'))
  );
}

/** Capitals count before small letters; an empty variable is none. */
function firstOf(env: Environment, names: readonly string[]): [string, string] | undefined {
  for (const name of names.flatMap((upper) => [upper, upper.toLowerCase()])) {
    const value = env[name]?.trim();
    if (value) return [name, value];
  }
  return undefined;
}

/** An address without a scheme is that of an http proxy. */
function parseProxy(text: string, variable: string): URL {
  const whole = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.canParse(whole) ? new URL(whole) : undefined;
  if (url === undefined || url.hostname === '' || !SCHEMES.includes(url.protocol))
    throw new MbuildError('USAGE', `${variable} is not a valid proxy address`, {
      hint: 'write it as http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT',
    });
  return url;
}

function isExcepted(url: URL, env: Environment): boolean {
  const [, list = ''] = firstOf(env, ['NO_PROXY']) ?? [];
  const host = hostnameOf(url.host).toLowerCase();
  const port = url.port || PORTS[url.protocol] || '';
  return list
    .toLowerCase()
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
    .some((entry) => entry === '*' || suits(entry, host, port));
}

/**
 * One entry: an address or a network of addresses, a domain with those under it, `.domain` or
 * `*.domain` for those alone; with a port or without.
 */
function suits(entry: string, host: string, port: string): boolean {
  if (entry.includes('/')) return inNetwork(host, entry);
  const [, name = entry, wanted] = /^(\[[^\]]*\]|[^:]*):(\d+)$/.exec(entry) ?? [];
  if (wanted !== undefined && wanted !== port) return false;
  const bare = name.replace(/^\[(.*)\]$/, '$1');
  if (isIP(bare) !== 0) return isSameAddress(bare, host);
  const domain = bare.replace(/^\*(?=\.)/, '').replace(/\.$/, '');
  if (domain.startsWith('.')) return host.endsWith(domain);
  return host === domain || host.endsWith(`.${domain}`);
}

function isSameAddress(one: string, other: string): boolean {
  const list = new BlockList();
  list.addAddress(one, familyOf(one));
  return isIP(other) !== 0 && list.check(other, familyOf(other));
}

/** `10.0.0.0/8`, `fd00::/8`. */
export function inNetwork(address: string, network: string): boolean {
  const [base = '', bits = ''] = network.split('/');
  const most = isIP(base) === 6 ? 128 : 32;
  if (isIP(address) === 0 || isIP(base) === 0 || !/^\d{1,3}$/.test(bits) || Number(bits) > most)
    return false;
  const list = new BlockList();
  list.addSubnet(base, Number(bits), familyOf(base));
  return list.check(address, familyOf(address));
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}

/** The host of `host[:port]`, an IPv6 address without its brackets. */
export function hostnameOf(host: string): string {
  return host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}
