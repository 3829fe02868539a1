import { MbuildError, isMbuildError } from '../diagnostics/error';
import { JsonError, anything, parseJsonObject } from '../oci/json';
import { DEFAULT_REGISTRY, familiarRepository } from '../oci/reference';
import type { Repository } from './registry';
import { readBody, type HttpResponse } from './transport';

/** Docker Hub's own host. */
export const HUB_HOST = 'registry-1.docker.io';

/** A status that may be another one on the next try, thrown where an upload must be resumed. */
export class PassingStatus extends Error {
  constructor(readonly response: HttpResponse) {
    super(`status ${response.status}`);
  }
}

/**
 * True for what docker and skopeo take for success where the specification names one status: any
 * from 200 to 299.
 */
export function isSuccess({ status }: HttpResponse): boolean {
  return status >= 200 && status < 300;
}

/** A connection that kept breaking, as an MbuildError. */
export function lostConnection(error: unknown, url: URL): unknown {
  if (error instanceof PassingStatus)
    return new MbuildError(
      'REGISTRY_FAILED',
      `${url.host} kept answering with status ${error.response.status}`,
      { hint: hintOf(error.response) },
    );
  if (isMbuildError(error)) return error;
  return new MbuildError(
    'REGISTRY_UNREACHABLE',
    `the connection to ${url.host} keeps breaking: ${(error as Error).message}`,
    { cause: error, hint: 'try again: what was fetched so far is kept' },
  );
}

/** A refusal that credentials might change. */
export async function denied(
  response: HttpResponse,
  repository: Repository,
  hadCredentials: boolean,
): Promise<MbuildError> {
  const said = await reason(response);
  const what = repository.repository === '' ? repository.registry : familiarRepository(repository);
  return new MbuildError(
    'REGISTRY_DENIED',
    `${response.url.host} denies access to ${what}${said}`,
    {
      hint: hadCredentials
        ? 'the credentials are wrong or lack the permission, or the repository does not exist'
        : `log in with: mbuild login ${repository.registry}, or the repository does not exist`,
    },
  );
}

/** An answer that is not what was asked for, with what went wrong in the registry's own words. */
export async function failure(response: HttpResponse, doing: string): Promise<MbuildError> {
  return new MbuildError(
    'REGISTRY_FAILED',
    `${response.url.host} answered ${response.status} when ${doing}${await reason(response)}`,
    { hint: hintOf(response) },
  );
}

function hintOf({ status, url }: HttpResponse): string | undefined {
  if (status === 413)
    return 'a proxy in front of the registry limits the size of requests: send smaller pieces with --push-chunk-size 1m';
  if (status !== 429) return undefined;
  return url.host === HUB_HOST
    ? `Docker Hub limits the number of requests: log in with 'mbuild login', or set a mirror in daemon.json ("registry-mirrors")`
    : `the registry limits the number of requests: log in with 'mbuild login ${url.host}', or try again later`;
}

/** The message of an error answer: distribution-spec, "Error Codes". */
async function reason(response: HttpResponse): Promise<string> {
  try {
    const { errors } = parseJsonObject(await readBody(response, 64 << 10), { errors: anything });
    const [first] = Array.isArray(errors) ? (errors as unknown[]) : [];
    const { message, code } = (first ?? {}) as Readonly<Record<string, unknown>>;
    const said = [message, code].find((item) => typeof item === 'string' && item !== '');
    return typeof said === 'string' ? `: ${said.slice(0, 200)}` : '';
  } catch (error) {
    response.body.destroy();
    if (error instanceof JsonError || error instanceof Error) return '';
    throw error;
  }
}

/** The host behind a registry's name. */
export function hostOf(registry: string): string {
  return registry === DEFAULT_REGISTRY ? HUB_HOST : registry;
}
