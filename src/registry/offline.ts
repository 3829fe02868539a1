import { MbuildError } from '../diagnostics/error';
import { familiarName, familiarRepository, type Reference } from '../oci/reference';
import type { FileRequest, FileSource, JsonRequest } from './download-file';
import type { Registry, Repository } from './registry';
import { redactUrl } from './transport';

const HINT = 'run without --offline (MBUILD_OFFLINE), or pull it into the store first';

/**
 * What is said of something that only the network has.
 * @param what e.g. `the image alpine:3`, without credentials.
 */
export function offlineError(what: string, doing = 'fetched'): MbuildError {
  return new MbuildError(
    'NOT_ALLOWED',
    `${what} cannot be ${doing}: --offline forbids the use of the network`,
    { hint: doing === 'fetched' ? HINT : 'run without --offline (MBUILD_OFFLINE)' },
  );
}

/**
 * The registries of `--offline`: every call ends at once with MbuildError NOT_ALLOWED, which names
 * what was wanted.
 */
export class OfflineRegistry implements Registry {
  resolve(ref: Reference): Promise<never> {
    return refuse(`the image ${familiarName(ref)}`);
  }

  manifest(ref: Reference): Promise<never> {
    return this.resolve(ref);
  }

  blob(repository: Repository): Promise<never> {
    return refuse(`a layer of ${familiarRepository(repository)}`);
  }

  pushBlob(repository: Repository): Promise<never> {
    return refuse(`the image ${familiarRepository(repository)}`, 'pushed');
  }

  beginBlob(repository: Repository): Promise<never> {
    return this.pushBlob(repository);
  }

  pushManifest(ref: Reference): Promise<never> {
    return refuse(`the image ${familiarName(ref)}`, 'pushed');
  }

  checkPush(repository: Repository): Promise<never> {
    return this.pushBlob(repository);
  }

  tags(repository: Repository): Promise<never> {
    return refuse(`the tags of ${familiarRepository(repository)}`);
  }

  repositories(registry: string): Promise<never> {
    return refuse(`the catalog of ${registry}`);
  }

  search(registry: string): Promise<never> {
    return refuse(`the registry ${registry}`, 'searched');
  }

  check(registry: string): Promise<never> {
    return refuse(`the registry ${registry}`, 'logged in to');
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** The web of `--offline`. */
export class OfflineFiles implements FileSource {
  fetch({ url }: FileRequest): Promise<never> {
    return refuse(redactUrl(url));
  }

  folder(url: URL): Promise<never> {
    return refuse(redactUrl(url));
  }

  call({ url }: JsonRequest): Promise<never> {
    return refuse(redactUrl(url));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function refuse(what: string, doing?: string): Promise<never> {
  return Promise.reject(offlineError(what, doing));
}
