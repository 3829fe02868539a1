import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { rootCertificates } from 'node:tls';
import { MbuildError, errnoOf } from '../diagnostics/error';

type Environment = Readonly<Record<string, string | undefined>>;

/** What a TLS connection is opened with: `tls.connect`. */
export interface TlsOptions {
  readonly ca: string[];
  readonly cert?: string[];
  readonly key?: string[];
  readonly rejectUnauthorized: boolean;
}

/**
 * Where distributions keep the CAs that they trust; the first that is there. Go,
 * crypto/x509/root_linux.go.
 */
const SYSTEM_CA_FILES = [
  '/etc/ssl/certs/ca-certificates.crt', // Debian, Ubuntu, Alpine
  '/etc/pki/tls/certs/ca-bundle.crt', // Fedora, RHEL, UBI
  '/etc/ssl/ca-bundle.pem', // SUSE
  '/etc/pki/tls/cacert.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem', // RHEL 7 and later
  '/etc/ssl/cert.pem', // Alpine
];
const SYSTEM_CA_DIRECTORIES = ['/etc/ssl/certs', '/etc/pki/tls/certs'];

/**
 * The CAs and the client certificates for a host: Node's own CAs, the system's or those of
 * SSL_CERT_FILE and SSL_CERT_DIR, NODE_EXTRA_CA_CERTS, and what docker's `certs.d/<host[:port]>`
 * holds: `*.crt` are CAs, each `NAME.cert` with its `NAME.key` proves who the client is.
 * @throws MbuildError TLS_FAILED for a certificate without its key.
 */
export function certificatesFor(
  host: string,
  env: Environment,
  folders: readonly string[],
): Omit<TlsOptions, 'rejectUnauthorized'> {
  const own = folders
    .map((folder) => path.join(folder, host))
    .filter((folder) => existsSync(folder));
  const authorities = own.flatMap((folder) => filesIn(folder, /\.crt$/));
  const clients = own.flatMap((folder) => filesIn(folder, /\.cert$/)).map(withKey);
  return {
    ca: [...rootCertificates, ...systemAuthorities(env), ...authorities.flatMap(readPem)],
    ...(clients.length === 0
      ? {}
      : { cert: clients.map(({ cert }) => cert), key: clients.map(({ key }) => key) }),
  };
}

function systemAuthorities(env: Environment): string[] {
  // The launcher takes NODE_EXTRA_CA_CERTS out of Node's way, as reading it costs every start 40
  // ms, and passes it on.
  const extra = [env['MBUILD_EXTRA_CA_CERTS'], env['NODE_EXTRA_CA_CERTS']];
  const bundle = [env['SSL_CERT_FILE'] ?? '', ...SYSTEM_CA_FILES].find((file) => existsSync(file));
  const found = [...extra, bundle].flatMap((file) => (file ? readPem(file) : []));
  const directories = env['SSL_CERT_DIR']
    ? env['SSL_CERT_DIR'].split(':')
    : SYSTEM_CA_DIRECTORIES.filter(() => bundle === undefined);
  return [...found, ...directories.flatMap((folder) => filesIn(folder, /./)).flatMap(readPem)];
}

function withKey(file: string): { readonly cert: string; readonly key: string } {
  const key = file.replace(/\.cert$/, '.key');
  const [cert, secret] = [readText(file), readText(key)];
  if (cert !== undefined && secret !== undefined) return { cert, key: secret };
  throw new MbuildError('TLS_FAILED', `${file} has no key: ${key} cannot be read`, {
    hint: 'a client certificate NAME.cert needs a file NAME.key in the same directory; a CA has the name NAME.crt',
  });
}

/** What is not a certificate is passed over, as Go does: /etc/ssl/certs holds other files too. */
function readPem(file: string): string[] {
  const text = readText(file);
  return text?.includes('-----BEGIN') === true ? [text] : [];
}

function filesIn(folder: string, pattern: RegExp): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => pattern.test(name))
      .sort()
      .map((name) => path.join(folder, name));
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return [];
  }
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}
