import { isIPv4, isIPv6 } from 'node:net';
import { list } from '../value';
import { define, defineVariadic, refuse, type Library } from './define';

/** An address block: the address as a number, its bits in all, and the bits of the prefix. */
interface Prefix {
  readonly address: bigint;
  readonly bits: 32 | 128;
  readonly length: number;
}

/** Functions on networks (RFC 4632, RFC 4291). */
export const NETWORK: Library = {
  cidrhost: define(['string', 'number'], (prefix, host) => {
    const { address, bits, length } = parsePrefix(prefix);
    const room = 1n << BigInt(bits - length);
    const number = BigInt(host) < 0n ? room + BigInt(host) : BigInt(host);
    if (number < 0n || number >= room) throw refuse(`${prefix} has no room for host ${host}`);
    return format(address + number, bits);
  }),
  cidrnetmask: define(['string'], (prefix) => {
    const { bits, length } = parsePrefix(prefix);
    if (bits === 128) throw refuse('networks of IPv6 have no mask in that form');
    return format(mask(32, length), 32);
  }),
  cidrsubnet: define(['string', 'number', 'number'], (prefix, newBits, number) =>
    subnet(parsePrefix(prefix), newBits, BigInt(number)),
  ),
  cidrsubnets: defineVariadic(['string'], 'number', ([prefix], lengths) =>
    list(consecutive(parsePrefix(prefix), lengths)),
  ),
};

function parsePrefix(text: string): Prefix {
  const [ip = '', length = ''] = text.split('/');
  const family = isIPv4(ip) ? 'ipv4' : 'ipv6';
  const bits = family === 'ipv4' ? 32 : 128;
  const valid = (isIPv4(ip) || isIPv6(ip)) && /^\d{1,3}$/.test(length) && Number(length) <= bits;
  if (!valid) throw refuse(`${JSON.stringify(text)} is not a network such as 10.0.0.0/8`);
  const address = numberOf(ip) & mask(bits, Number(length));
  return { address, bits, length: Number(length) };
}

function mask(bits: number, length: number): bigint {
  return ((1n << BigInt(length)) - 1n) << BigInt(bits - length);
}

function numberOf(ip: string): bigint {
  if (isIPv4(ip)) return ip.split('.').reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
  const [head = '', tail] = expandEmbedded(ip).split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0');
  return [...before, ...zeros, ...after].reduce(
    (sum, part) => (sum << 16n) | BigInt(`0x${part}`),
    0n,
  );
}

/** `::ffff:1.2.3.4` with its end in hexadecimal. */
function expandEmbedded(ip: string): string {
  return ip.replace(/\d+\.\d+\.\d+\.\d+$/, (v4) => {
    const value = numberOf(v4);
    return `${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`;
  });
}

function format(address: bigint, bits: 32 | 128): string {
  if (bits === 32) return [24n, 16n, 8n, 0n].map((shift) => (address >> shift) & 0xffn).join('.');
  const groups = Array.from({ length: 8 }, (_, i) =>
    ((address >> BigInt(112 - 16 * i)) & 0xffffn).toString(16),
  );
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

function subnet({ address, bits, length }: Prefix, newBits: number, number: bigint): string {
  const longer = length + newBits;
  if (longer > bits) throw refuse(`the network has no room for ${newBits} more bits`);
  if (number < 0n || number >= 1n << BigInt(newBits))
    throw refuse(`${newBits} bits have no room for number ${number}`);
  return `${format(address + (number << BigInt(bits - longer)), bits)}/${longer}`;
}

function consecutive(prefix: Prefix, lengths: readonly number[]): string[] {
  const { address, bits, length } = prefix;
  const end = address + (1n << BigInt(bits - length));
  let next = address;
  return lengths.map((newBits) => {
    const longer = length + newBits;
    if (newBits < 1 || longer > bits)
      throw refuse(`the network has no room for ${newBits} more bits`);
    const size = 1n << BigInt(bits - longer);
    const start = ((next + size - 1n) / size) * size;
    if (start + size > end) throw refuse('the network has no room for all of these');
    next = start + size;
    return `${format(start, bits)}/${longer}`;
  });
}
