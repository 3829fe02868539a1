import { MbuildError, errnoOf, isMbuildError } from '../diagnostics/error';

const TRANSIENT = [
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'UND_ERR_SOCKET',
  'UND_ERR_BODY_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'UND_ERR_CONNECT_TIMEOUT',
  'EAI_AGAIN',
];
const UNREACHABLE = [
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
];

/**
 * What an answer is that no server should send: headers of more than 16 KiB, and what does not
 * parse as http. undici's codes.
 */
const BAD_ANSWERS: Readonly<Record<string, string>> = {
  UND_ERR_HEADERS_OVERFLOW: 'its answer has headers of more than 16 KiB',
  HPE_HEADER_OVERFLOW: 'its answer has headers of more than 16 KiB',
};

/**
 * True for an error that may pass when the same is tried again: a connection that broke or fell
 * silent.
 */
export function isTransient(error: unknown): boolean {
  const code = errnoOf(error) ?? errnoOf((error as { cause?: unknown } | undefined)?.cause);
  return code !== undefined && TRANSIENT.includes(code);
}

/**
 * A failed connection as an MbuildError; what is transient stays recognisable through its cause.
 */
export function networkError(error: unknown, url: URL, signal: AbortSignal): unknown {
  if (signal.aborted)
    return new MbuildError('CANCELED', `the transfer from ${url.host} was stopped`, {
      cause: error,
    });
  if (isMbuildError(error)) return error;
  const code = errnoOf(error) ?? '';
  const detail = (error as Error).message || code;
  if (/^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_|ERR_SSL_|ERR_OSSL_|EPROTO$)/.test(code))
    return new MbuildError('TLS_FAILED', `no trusted connection to ${url.host}: ${detail}`, {
      cause: error,
      hint: `put the registry's CA into /etc/docker/certs.d/${url.host}/ca.crt or SSL_CERT_FILE, or allow the host with --insecure-registry`,
    });
  if (UNREACHABLE.includes(code))
    return new MbuildError('REGISTRY_UNREACHABLE', `cannot reach ${url.host}: ${detail}`, {
      cause: error,
      hint: 'check the name, the network and the proxy settings (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)',
    });
  if (!isTransient(error) && /^(UND_ERR|HPE)_/.test(code))
    return new MbuildError(
      'REGISTRY_FAILED',
      `${url.host} gave an invalid answer: ${BAD_ANSWERS[code] ?? detail}`,
      { cause: error },
    );
  return error;
}
