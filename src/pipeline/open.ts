import type { BuildRequest, BuildRun } from './build-run';
import { NamedContexts } from './named-contexts';
import type { BuildOptions } from './options';
import { buildRemote, contextFetcher } from './remote';
import { BuildSecrets } from './secrets';
import { openSshAgents, type SshAgents } from './ssh-agents';
import { tempName } from '../content/files';
import { watchSources } from '../context/fetched';
import { openContext, type OpenedContext } from '../context/open';
import type { Engine } from '../engine';
import { BuildJournal } from '../history/journal';
import { Lease } from '../images/store/lease';
import { toText } from '../linux/paths';
import { formatPlatform } from '../oci/platform';
import { vertexIds } from '../progress/events';

/**
 * Opens what a build reads, does something with it, and closes it again, however that ends: `build`
 * and `plan` begin here.
 * @throws MbuildError for a context, Dockerfile, ignore file or secret that cannot be read, and
 * what `work` throws.
 */
export async function withBuild<T>(
  request: BuildRequest,
  work: (run: BuildRun) => Promise<T>,
): Promise<T> {
  const lease = new Lease(request.engine.root);
  try {
    const ssh = await openSshAgents(request.options.ssh ?? [], request.engine.root);
    try {
      const run = await openBuild(request, lease, ssh);
      try {
        return await work(run);
      } finally {
        await closeBuild(run);
      }
    } finally {
      ssh.close();
    }
  } finally {
    lease.release();
  }
}

async function openBuild(request: BuildRequest, lease: Lease, ssh: SshAgents): Promise<BuildRun> {
  const { options, engine, scope } = request;
  const { root } = engine;
  const newVertex = vertexIds();
  const secrets = new BuildSecrets(options.secrets ?? []);
  const guard = await guardOf(options);
  const plain = buildRemote(secrets, ssh, engine, lease);
  const { remote: watched, fetched } = watchSources(plain);
  // What is fetched instead is what counts as a material.
  const remote = guard?.remote(watched) ?? watched;
  const fetcher = contextFetcher(remote, options, newVertex, scope);
  const { contexts: named = {}, contextModes } = options;
  const contexts = new NamedContexts(named, root, fetcher, contextModes);
  const context = await openContext(options, root, fetcher);
  const cacheMounts = options.noCacheMounts === true ? tempName(root, 'cache-mounts') : root;
  const journal = openJournal(options, context, engine);
  const opened = { lease, secrets, ssh, guard, remote, fetched, context, contexts };
  return { ...request, ...opened, newVertex, cacheMounts, journal };
}

/** Holds the build to its source policy, from its Dockerfile on. */
async function guardOf(options: BuildOptions): Promise<BuildRun['guard']> {
  if (options.sourcePolicyFile === undefined) return undefined;
  const guard = (await import('./source-guard')).sourceGuard(options.sourcePolicyFile);
  guard.dockerfile(options.context);
  return guard;
}

async function closeBuild({ contexts, context, cacheMounts, engine }: BuildRun): Promise<void> {
  await contexts.close();
  context.close();
  if (cacheMounts !== engine.root) (await import('../linux/remove-tree')).removeTree(cacheMounts);
}

/** The journal goes by the context's real path, so that one project is one however it is named. */
function openJournal(options: BuildOptions, context: OpenedContext, engine: Engine): BuildJournal {
  const { target, platforms } = options;
  const platform = platforms?.[0];
  return new BuildJournal(engine.root, engine.cache, {
    context: placeOf(options, context),
    dockerfile: context.dockerfile.name,
    target,
    logLimit: options.stepLogLimit,
    platform: platform === undefined ? undefined : formatPlatform(platform),
  });
}

function placeOf({ context: source }: BuildOptions, { tree }: OpenedContext): string {
  if (source.kind === 'directory') return toText(tree.path);
  return 'url' in source ? source.url.replace(/\/\/[^/@]*@/, '//') : '-';
}
