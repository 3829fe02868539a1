import type { BuildOptions } from './options';
import type { BuildSecrets } from './secrets';
import type { SshAgents } from './ssh-agents';
import type { ContextFetcher } from '../context/open';
import { remoteSources, type RemoteSources } from '../context/remote';
import type { Engine } from '../engine';
import type { Lease } from '../images/store/lease';
import { withRow, type BuildScope, type VertexId } from '../progress/events';

/**
 * What the build may fetch, with its secrets and its SSH agent. What was fetched is kept from
 * collection by the lease.
 */
export function buildRemote(
  secrets: BuildSecrets,
  ssh: SshAgents,
  engine: Engine,
  lease: Lease,
): RemoteSources {
  return remoteSources({
    root: engine.root,
    offline: engine.offline,
    content: engine.content,
    files: engine.files,
    hold: (digest) => lease.hold({ blobs: [digest] }),
    secret: (id) => secrets.readers.get(id)?.(),
    sshAgent: ssh.sockets.get('default'),
  });
}

/**
 * Fetches contexts, each with a row of progress. `BUILDKIT_CONTEXT_KEEP_GIT_DIR` says whether git's
 * directory is one of the files.
 */
export function contextFetcher(
  remote: RemoteSources,
  options: BuildOptions,
  newVertex: () => VertexId,
  scope: BuildScope,
): ContextFetcher {
  const keepGitDir = ['1', 'true'].includes(
    options.buildArgs?.['BUILDKIT_CONTEXT_KEEP_GIT_DIR'] ?? '',
  );
  return {
    git: (url) =>
      withRow('[internal] load git source', newVertex(), scope, async (id) => {
        const repository = await remote.repository(url, { keepGitDir }, scope.signal);
        scope.events({ kind: 'note', id, text: `${repository.origin[0]} at ${repository.commit}` });
        const checkout = await repository.checkout();
        for (const diagnostic of checkout.warnings ?? [])
          scope.events({ kind: 'warning', diagnostic });
        return checkout;
      }),
    http: (url) =>
      withRow('[internal] load remote build context', newVertex(), scope, async () =>
        (await remote.file(url, undefined, scope.signal)).fetch(),
      ),
  };
}
