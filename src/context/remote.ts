import { MbuildError } from '../diagnostics/error';
import { isDigest, type Digest } from '../oci/digest';
import type { Download, DownloadServices } from './download';
import type { GitCheckout } from './git-checkout';
import type { GitServices } from './git-command';

/** A file on a web server that ADD takes. */
export interface RemoteFile {
  readonly name: string;
  readonly digest: Digest;
  /** The file, fetched if it is not there yet. */
  readonly fetch: () => Promise<Download>;
}

/** A repository that ADD takes, at a commit. */
export interface RemoteRepository {
  readonly commit: string;
  readonly subdir: string | undefined;
  readonly submodules: boolean;
  readonly keepGitDir: boolean;
  /** What else the files depend on; empty as a rule. */
  readonly variants?: readonly string[] | undefined;
  /** What git's directory holds besides the commit, where it is kept. */
  readonly origin: readonly [remote: string, ref: string | undefined];
  readonly checkout: () => Promise<GitCheckout>;
}

/** What a build takes from elsewhere. Nothing is loaded of it before it is asked for. */
export interface RemoteSources {
  /**
   * With a checksum nothing is fetched before it is needed.
   * @throws MbuildError DOWNLOAD_FAILED, CHECKSUM_MISMATCH, … as `downloadFile`.
   */
  file(url: string, checksum: string | undefined, signal: AbortSignal): Promise<RemoteFile>;
  /** @throws MbuildError as `resolveGit`. */
  repository(
    url: string,
    options: { readonly checksum?: string | undefined; readonly keepGitDir?: boolean | undefined },
    signal: AbortSignal,
  ): Promise<RemoteRepository>;
}

/** The remote sources of one build. */
export function remoteSources(services: DownloadServices & GitServices): RemoteSources {
  return {
    async file(url, checksum, signal) {
      const { downloadFile, downloadName } = await import('./download');
      const address = httpAddress(url);
      const expected = checksum === undefined ? undefined : checksumOf(checksum);
      const name = downloadName(address);
      const fetch = (): Promise<Download> => downloadFile(address, expected, services, signal);
      if (expected !== undefined) return { name, digest: expected, fetch };
      const download = await fetch();
      return { name, digest: download.digest, fetch: () => Promise.resolve(download) };
    },
    async repository(url, options, signal) {
      const [{ parseGitAddress, checkCommit }, { resolveGit }, { checkoutGit }, { hasGitLfs }] =
        await Promise.all([
          import('./git-url'),
          import('./git'),
          import('./git-checkout'),
          import('./git-lfs'),
        ]);
      const parsed = parseGitAddress(url);
      if (options.checksum !== undefined) checkCommit(options.checksum, parsed.display);
      if (
        options.checksum !== undefined &&
        parsed.commit !== undefined &&
        !parsed.commit.startsWith(options.checksum) &&
        !options.checksum.startsWith(parsed.commit)
      ) {
        throw new MbuildError(
          'GIT_FAILED',
          `the checksums ${options.checksum} and ${parsed.commit} of ${parsed.display} contradict each other`,
        );
      }
      const address = { ...parsed, commit: longer(options.checksum, parsed.commit) };
      const keepGitDir = options.keepGitDir === true || address.keepGitDir === true;
      const resolved = await resolveGit(address, services, signal);
      return {
        commit: resolved.commit,
        subdir: address.subdir,
        submodules: address.submodules,
        keepGitDir,
        variants: [
          ...(address.mtime === 'commit' ? ['mtime=commit'] : []),
          ...(hasGitLfs() ? ['lfs'] : []),
        ],
        origin: [address.display, resolved.ref],
        checkout: () => checkoutGit(resolved, keepGitDir, services, signal),
      };
    },
  };
}

/** Of two beginnings of one commit the one that says more. */
function longer(a: string | undefined, b: string | undefined): string | undefined {
  return (a?.length ?? 0) > (b?.length ?? 0) ? a : b;
}

/** @throws MbuildError DOWNLOAD_FAILED. */
export function httpAddress(url: string): URL {
  if (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)) return new URL(url);
  throw new MbuildError(
    'DOWNLOAD_FAILED',
    `${url.replace(/\/\/[^/]*@/, '//').slice(0, 300)} is not an http address`,
  );
}

function checksumOf(checksum: string): Digest {
  if (isDigest(checksum)) return checksum;
  throw new MbuildError(
    'DOCKERFILE_SEMANTIC',
    `--checksum=${checksum} is not a valid checksum of a file`,
    { hint: 'write sha256: and 64 characters of 0-9 and a-f' },
  );
}
