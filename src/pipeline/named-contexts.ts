import type { BuildOptions } from './options';
import { isGitAddress } from '../context/git-url';
import type { ContextModes } from '../context/local';
import { openNamedDirectory, openNamedRemote, type ContextFetcher } from '../context/open';
import type { SourceTree } from '../context/source-tree';
import { MbuildError } from '../diagnostics/error';
import type { NamedContext } from '../graph/graph';
import type { PlanOptions } from '../graph/plan';
import type { Platform } from '../oci/platform';

/** A tree that goes when the build ends. */
interface OpenedTree {
  readonly tree: SourceTree;
  readonly close: () => void;
}

/** What a context that is an image layout begins with. */
export const LAYOUT = 'oci-layout://';
const IMAGE = 'docker-image://';
const STAGE = 'target:';

/**
 * The named contexts of a build. Those that are files (folders, repositories, archives) are opened
 * when they are first used, and once.
 */
export class NamedContexts {
  readonly #trees = new Map<string, Promise<OpenedTree>>();

  /** @param root the store's folder. */
  constructor(
    private readonly contexts: NonNullable<BuildOptions['contexts']>,
    private readonly root: string,
    private readonly fetcher: ContextFetcher,
    private readonly modes?: ContextModes,
  ) {}

  /**
   * What a name stands for: a stage, an image that `findImage` finds, or files. buildx, "Additional
   * build contexts".
   */
  async plan(
    name: string,
    platform: Platform,
    findImage: PlanOptions['findImage'],
  ): Promise<NamedContext> {
    const value = this.contexts[name] ?? '';
    if (value.startsWith(STAGE)) return { kind: 'stage', name: value.slice(STAGE.length) };
    if (value.startsWith(LAYOUT)) return { kind: 'image', image: await findImage(value, platform) };
    if (value.startsWith(IMAGE))
      return { kind: 'image', image: await findImage(value.slice(IMAGE.length), platform) };
    return { kind: 'files' };
  }

  /** The files of a context. @throws MbuildError CONTEXT_NOT_FOUND, and as `openContext`. */
  async tree(name: string): Promise<SourceTree> {
    const opening = this.#trees.get(name) ?? this.#open(name);
    this.#trees.set(name, opening);
    return (await opening).tree;
  }

  /** Deletes what was fetched. */
  async close(): Promise<void> {
    for (const opened of await Promise.allSettled(this.#trees.values()))
      if (opened.status === 'fulfilled') opened.value.close();
  }

  async #open(name: string): Promise<OpenedTree> {
    const value = this.contexts[name];
    if (value === undefined)
      throw new MbuildError('CONTEXT_NOT_FOUND', `the build context ${name} does not exist`, {
        hint: `name it with --build-context ${name}=DIRECTORY`,
      });
    const remote = { fetcher: this.fetcher, store: this.root, modes: this.modes };
    if (isGitAddress(value)) return openNamedRemote(name, { kind: 'git', url: value }, remote);
    if (/^https?:\/\//.test(value))
      return openNamedRemote(name, { kind: 'http', url: value }, remote);
    return { tree: openNamedDirectory(name, value, this.root, this.modes), close: () => undefined };
  }
}
