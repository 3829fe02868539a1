import type { BuildOptions } from './options';
import type { ContextSource } from '../context/open';
import { isGitAddress } from '../context/git-url';
import type { RemoteSources } from '../context/remote';
import { MbuildError } from '../diagnostics/error';
import type { PlanOptions } from '../graph/plan';
import { formatReference, parseReference } from '../oci/reference';
import { evaluate, type Source } from '../policy/evaluate';
import { readSourcePolicy, type SourcePolicy } from '../policy/source-policy';

const IMAGE = 'docker-image://';
const GIT = 'git://';
const CHECKSUM = 'http.checksum';

/** Holds a build to a source policy. Each call throws what {@link evaluate} throws. */
export class SourceGuard {
  constructor(private readonly policy: SourcePolicy) {}

  /** Images are looked up by the name that the policy has for them. */
  images(find: PlanOptions['findImage']): PlanOptions['findImage'] {
    return async (name, platform) => {
      // Another target of a bake is not a source.
      if (name.startsWith('target:')) return find(name, platform);
      const ref = parseReference(name);
      const identifier = ref === undefined ? name : `${IMAGE}${formatReference(ref)}`;
      const { identifier: used } = this.#evaluate({ identifier, attrs: {} });
      if (used === identifier) return find(name, platform);
      return find(this.#converted(identifier, used, IMAGE).slice(IMAGE.length), platform);
    };
  }

  /** Files and repositories are fetched from where the policy says. */
  remote(remote: RemoteSources): RemoteSources {
    return {
      file: async (url, checksum, signal) => {
        const attrs = checksum === undefined ? {} : { [CHECKSUM]: checksum };
        const used = this.#evaluate({ identifier: url, attrs });
        this.#converted(url, used.identifier, /^https?:\/\//);
        const wanted = used.attrs[CHECKSUM] ?? checksum;
        const file = await remote.file(used.identifier, wanted, signal);
        if (used.identifier === url) return file;
        // The file is called as the Dockerfile has it.
        const { downloadName } = await import('../context/download');
        return { ...file, name: downloadName(new URL(url)) };
      },
      repository: (url, options, signal) => {
        const scheme = /^(?:[a-z]+:\/\/)?/.exec(url)?.[0] ?? '';
        const identifier = `${GIT}${url.slice(scheme.length)}`;
        const used = this.#evaluate({ identifier, attrs: {} }).identifier;
        const rest = this.#converted(identifier, used, GIT).slice(GIT.length);
        return remote.repository(`${scheme}${rest}`, options, signal);
      },
    };
  }

  /** A Dockerfile of this machine, before it is read. */
  dockerfile(context: ContextSource): void {
    if (!('url' in context)) this.#local('dockerfile');
  }

  /** A context whose files are asked for; `undefined` for the build's own. */
  context(name: string | undefined, { context, contexts }: BuildOptions): void {
    const isLocal =
      name === undefined
        ? !('url' in context)
        : !isGitAddress(contexts?.[name] ?? '') && !/^https?:/.test(contexts?.[name] ?? '');
    if (isLocal) this.#local(name ?? 'context');
  }

  /** Trees of this machine can be denied, and not converted. */
  #local(name: string): void {
    const identifier = `local://${name}`;
    const used = this.#evaluate({ identifier, attrs: {} }).identifier;
    this.#converted(identifier, used, identifier);
  }

  #evaluate(source: Source): Source {
    return evaluate(this.policy, source);
  }

  /** @throws MbuildError UNSUPPORTED for a source that becomes one of another kind. */
  #converted(from: string, to: string, kind: string | RegExp): string {
    if (typeof kind === 'string' ? to.startsWith(kind) : kind.test(to)) return to;
    throw new MbuildError(
      'UNSUPPORTED',
      `the source policy ${this.policy.file} converts ${from} to ${to}, a source of another kind`,
      {
        hint: 'images can become other images, files other files, repositories other repositories',
      },
    );
  }
}

/** The guard of a build. @throws MbuildError USAGE, UNSUPPORTED. */
export function sourceGuard(file: string): SourceGuard {
  return new SourceGuard(readSourcePolicy(file));
}
