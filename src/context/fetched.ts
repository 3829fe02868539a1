import type { RemoteSources } from './remote';

/** What a build fetched, by the address as it was written. */
export interface FetchedSources {
  /** Digests of files. */
  readonly files: ReadonlyMap<string, string>;
  readonly repositories: ReadonlyMap<string, FetchedCommit>;
}

/** A repository as it was fetched. */
export interface FetchedCommit {
  /** Without credentials. */
  readonly remote: string;
  readonly ref: string | undefined;
  readonly commit: string;
}

/** Keeps account of what is asked of `remote`. */
export function watchSources(remote: RemoteSources): {
  readonly remote: RemoteSources;
  readonly fetched: FetchedSources;
} {
  const files = new Map<string, string>();
  const repositories = new Map<string, FetchedCommit>();
  return {
    fetched: { files, repositories },
    remote: {
      async file(url, checksum, signal) {
        const file = await remote.file(url, checksum, signal);
        files.set(url, file.digest);
        return file;
      },
      async repository(url, options, signal) {
        const repository = await remote.repository(url, options, signal);
        const [display, ref] = repository.origin;
        repositories.set(url, { remote: display, ref, commit: repository.commit });
        return repository;
      },
    },
  };
}
