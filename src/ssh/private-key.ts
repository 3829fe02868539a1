import { createPrivateKey, sign, type JsonWebKey, type KeyObject } from 'node:crypto';
import { MbuildError } from '../diagnostics/error';
import { WireError, WireReader, sshInteger, sshString } from './wire';

/** A private key that signs. */
export interface SshKey {
  /** The public half as SSH sends it. RFC 4253, section 6.6. */
  readonly publicKey: Buffer;
  /** @param flags of the request: which hash an RSA key takes. */
  readonly sign: (data: Buffer, flags: number) => Buffer;
}

/** What a kind of key does. */
interface KeyKind {
  readonly publicKey: Buffer;
  /** The name of the signature, and the signature. */
  readonly sign: (data: Buffer, flags: number) => readonly [name: string, signature: Buffer];
}

/** draft-ietf-sshm-ssh-agent, section 3.6.1. */
const RSA_SHA2_256 = 2;
const RSA_SHA2_512 = 4;

/** RFC 5656, section 6.2.1 and 10.1: the name of SSH, and its hash. */
const CURVES: Readonly<Record<string, readonly [name: string, hash: string]>> = {
  'P-256': ['nistp256', 'sha256'],
  'P-384': ['nistp384', 'sha384'],
  'P-521': ['nistp521', 'sha512'],
};

/**
 * Reads a private key: PEM (PKCS#1, SEC1, PKCS#8) or OpenSSH's own form; RSA, ECDSA or Ed25519.
 * @param name as messages call it; nothing of the content is in them.
 * @throws MbuildError SECRET_MISSING.
 */
export function readPrivateKey(content: Buffer, name: string): SshKey {
  const { publicKey, sign: signWith } = kindOf(keyObject(content, name), name);
  return {
    publicKey,
    sign: (data, flags) => {
      const [algorithm, signature] = signWith(data, flags);
      return Buffer.concat([sshString(algorithm), sshString(signature)]);
    },
  };
}

function keyObject(content: Buffer, name: string): KeyObject {
  const text = content.toString('latin1');
  const [, own] =
    /-----BEGIN OPENSSH PRIVATE KEY-----([^-]*)-----END OPENSSH PRIVATE KEY-----/.exec(text) ?? [];
  if (/^(?:Proc-Type: 4,ENCRYPTED|-----BEGIN ENCRYPTED PRIVATE KEY-----)/m.test(text))
    throw protectedKey(name);
  try {
    if (own === undefined) return createPrivateKey({ key: content, format: 'pem' });
    const jwk = opensshKey(Buffer.from(own, 'base64'), name);
    return createPrivateKey({ key: jwk, format: 'jwk' });
  } catch (cause) {
    if (cause instanceof MbuildError) throw cause;
    throw new MbuildError('SECRET_MISSING', `${name} is not a private key that can be read`, {
      hint: 'give a private key of RSA, ECDSA or Ed25519, as ssh-keygen makes it, or the socket of an agent',
      cause,
    });
  }
}

function protectedKey(name: string): MbuildError {
  return new MbuildError('SECRET_MISSING', `${name} is protected by a passphrase`, {
    hint: 'add it to an agent with ssh-add, and pass --ssh default',
  });
}

/** OpenSSH, PROTOCOL.key. */
function opensshKey(bytes: Buffer, name: string): JsonWebKey {
  const reader = new WireReader(bytes);
  if (reader.take(15).toString('latin1') !== 'openssh-key-v1\0') throw new WireError('no magic');
  const cipher = reader.string().toString('latin1');
  if (cipher !== 'none') throw protectedKey(name);
  reader.string();
  reader.string();
  if (reader.number() !== 1) throw new WireError('several keys');
  reader.string();
  const secret = new WireReader(reader.string());
  if (secret.number() !== secret.number()) throw new WireError('the check differs');
  const type = secret.string().toString('latin1');
  if (type === 'ssh-ed25519') return ed25519Key(secret);
  if (type === 'ssh-rsa') return rsaKey(secret);
  if (type.startsWith('ecdsa-sha2-nistp')) return ecdsaKey(secret);
  throw unknownKind(type, name);
}

function ed25519Key(secret: WireReader): JsonWebKey {
  const x = text(secret.string());
  // The seed, and the public half once more.
  return { kty: 'OKP', crv: 'Ed25519', x, d: text(secret.string().subarray(0, 32)) };
}

function ecdsaKey(secret: WireReader): JsonWebKey {
  const curve = secret.string().toString('latin1');
  const crv = Object.keys(CURVES).find((one) => CURVES[one]?.[0] === curve);
  if (crv === undefined) throw new WireError('an unknown curve');
  const point = secret.string();
  const size = (point.length - 1) / 2;
  const d = unsigned(secret.string(), size);
  return {
    kty: 'EC',
    crv,
    x: text(point.subarray(1, 1 + size)),
    y: text(point.subarray(1 + size)),
    d: text(d),
  };
}

function rsaKey(secret: WireReader): JsonWebKey {
  const [n, e, d, qi, p, q] = Array.from({ length: 6 }, () => secret.string()) as [
    Buffer,
    Buffer,
    Buffer,
    Buffer,
    Buffer,
    Buffer,
  ];
  const parts = { n, e, d, p, q, qi, dp: remainder(d, p), dq: remainder(d, q) };
  const numbers = Object.entries(parts).map(([name, value]) => [name, text(unsigned(value))]);
  return { kty: 'RSA', ...(Object.fromEntries(numbers) as JsonWebKey) };
}

/** d mod (prime - 1): what the Chinese remainder theorem needs, and OpenSSH does not keep. */
function remainder(d: Buffer, prime: Buffer): Buffer {
  const value = BigInt(`0x${d.toString('hex')}`) % (BigInt(`0x${prime.toString('hex')}`) - 1n);
  const digits = value.toString(16);
  return Buffer.from(digits.padStart(digits.length + (digits.length % 2), '0'), 'hex');
}

/** A number without leading zeros, or with as many as make up a size. */
function unsigned(value: Buffer, size = 0): Buffer {
  let start = 0;
  while (start < value.length && value[start] === 0) start++;
  const digits = value.subarray(start);
  return digits.length >= size
    ? digits
    : Buffer.concat([Buffer.alloc(size - digits.length), digits]);
}

function text(bytes: Buffer): string {
  return bytes.toString('base64url');
}

function kindOf(key: KeyObject, name: string): KeyKind {
  const type = key.asymmetricKeyType;
  if (type === 'rsa') return rsaKind(key);
  if (type === 'ed25519') return ed25519Kind(key);
  if (type === 'ec') return ecdsaKind(key, name);
  throw unknownKind(type ?? key.type, name);
}

function unknownKind(type: string, name: string): MbuildError {
  return new MbuildError('SECRET_MISSING', `${name} is a key of the kind ${type}`, {
    hint: 'mbuild signs with RSA, ECDSA and Ed25519; for others pass the socket of an agent',
  });
}

function ed25519Kind(key: KeyObject): KeyKind {
  const { x } = key.export({ format: 'jwk' });
  return {
    publicKey: Buffer.concat([sshString('ssh-ed25519'), sshString(bytesOf(x))]),
    sign: (data) => ['ssh-ed25519', sign(null, data, key)],
  };
}

function rsaKind(key: KeyObject): KeyKind {
  const { n, e } = key.export({ format: 'jwk' });
  return {
    publicKey: Buffer.concat([
      sshString('ssh-rsa'),
      sshInteger(bytesOf(e)),
      sshInteger(bytesOf(n)),
    ]),
    sign: (data, flags) => {
      if ((flags & RSA_SHA2_512) !== 0) return ['rsa-sha2-512', sign('sha512', data, key)];
      if ((flags & RSA_SHA2_256) !== 0) return ['rsa-sha2-256', sign('sha256', data, key)];
      return ['ssh-rsa', sign('sha1', data, key)];
    },
  };
}

function ecdsaKind(key: KeyObject, name: string): KeyKind {
  const { crv = '', x, y } = key.export({ format: 'jwk' });
  const [curve, hash] = CURVES[crv] ?? [];
  if (curve === undefined) throw unknownKind(`ECDSA ${crv}`, name);
  const algorithm = `ecdsa-sha2-${curve}`;
  const point = Buffer.concat([Buffer.of(4), bytesOf(x), bytesOf(y)]);
  return {
    publicKey: Buffer.concat([sshString(algorithm), sshString(curve), sshString(point)]),
    sign: (data) => {
      const both = sign(hash, data, { key, dsaEncoding: 'ieee-p1363' });
      const half = both.length / 2;
      // RFC 5656, section 3.1.2.
      const signature = [sshInteger(both.subarray(0, half)), sshInteger(both.subarray(half))];
      return [algorithm, Buffer.concat(signature)];
    },
  };
}

function bytesOf(value: string | undefined): Buffer {
  return Buffer.from(value ?? '', 'base64url');
}
