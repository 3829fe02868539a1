import { temporaryDirectory } from '../../content/temporary';
import { isMbuildError } from '../../diagnostics/error';
import type { Engine } from '../../engine';
import type { BaseImage } from '../../graph/graph';
import { sourceResult, type ResultId } from '../../cache/key';
import { removeTree } from '../../linux/remove-tree';
import { chainIds, digestOf } from '../../oci/digest';
import type { ImageConfig } from '../../oci/image';
import { splitEnv } from '../../oci/env';
import { formatPlatform, type Platform } from '../../oci/platform';
import { formatReference, parseReference } from '../../oci/reference';
import type { MergedView } from '../../snapshot/view';
import type { RemoteImage } from './remote-users';

/** An image that stages start from, as far as it is at hand. */
export interface ReplayBase {
  readonly image: BaseImage;
  /** `config`: its variables, users by number and triggers are known, its files are not. */
  readonly known: 'whole' | 'config' | 'not';
  /** What its tree holds; of an image that is not known its name stands for it. */
  readonly result: ResultId;
  /** Where its users are looked up, of one that a registry told of. */
  readonly remote?: RemoteImage | undefined;
}

/** What bases are asked of. */
export type BaseServices = Pick<
  Engine,
  'root' | 'images' | 'registry' | 'admit' | 'snapshots' | 'offline'
>;

/** Words of a Dockerfile that a base may give a value to. */
const VARIABLE = /\$\{?([A-Za-z_]\w*)/g;
const DECLARED = /^\s*ARG\s+(.*)$/gim;

/** Finds images in the store, or asks a registry for their configs. What is not at hand becomes a symbol, never an error. */
export class Bases {
  readonly #found = new Map<string, Promise<ReplayBase | undefined>>();
  readonly #unknown = new Set<string>();
  readonly #failed = new Map<string, string>();
  readonly #users = new Map<string, Promise<MergedView | undefined>>();
  readonly #directories: string[] = [];

  /** @param asks registries are asked for what the store lacks. */
  constructor(
    private readonly services: BaseServices,
    private readonly asks: boolean,
    private readonly signal: AbortSignal,
  ) {}

  /** Names of images of which nothing is known. */
  get unknown(): readonly string[] {
    return [...this.#unknown];
  }

  /** Why registries did not tell of an image, by its name. */
  get failed(): ReadonlyMap<string, string> {
    return this.#failed;
  }

  /** @param text of the Dockerfile: variables in it that an unknown base may set stand for themselves. */
  async find(name: string, platform: Platform, text: string): Promise<ReplayBase> {
    const key = `${formatPlatform(platform)} ${name}`;
    const found = this.#found.get(key) ?? this.#look(name, platform);
    this.#found.set(key, found);
    const base = await found;
    if (base !== undefined) return base;
    this.#unknown.add(name);
    return unknownBase(name, platform, text);
  }

  /** The files of a base, for the users in it; `undefined` where they are not at hand. */
  async view({ image, known, remote }: ReplayBase): Promise<MergedView | undefined> {
    if (known === 'whole') return this.services.snapshots.view(await image.stack());
    return remote === undefined ? undefined : this.#usersOf(image.name, remote);
  }

  /** Removes what was fetched. */
  close(): void {
    for (const directory of this.#directories.splice(0)) removeTree(directory);
  }

  /** Asked once for each image; one whose users cannot be had is one whose users are not known. */
  #usersOf(name: string, remote: RemoteImage): Promise<MergedView | undefined> {
    const known = this.#users.get(name);
    if (known !== undefined) return known;
    const users = this.#fetchUsers(name, remote);
    this.#users.set(name, users);
    return users;
  }

  async #fetchUsers(name: string, remote: RemoteImage): Promise<MergedView | undefined> {
    const { remoteUsers } = await import('./remote-users');
    const directory = temporaryDirectory('users', this.services.root);
    this.#directories.push(directory);
    try {
      return await remoteUsers(remote, directory);
    } catch (error) {
      if (!isMbuildError(error) || error.code === 'CANCELED') throw error;
      this.#failed.set(name, error.message);
      return undefined;
    }
  }

  async #look(name: string, platform: Platform): Promise<ReplayBase | undefined> {
    const { images } = this.services;
    const reference = parseReference(name);
    const full = reference === undefined ? name : formatReference(reference);
    const stored = images.find(full, platform) ?? images.find(full);
    if (stored !== undefined)
      return {
        image: {
          name,
          config: stored.config,
          descriptor: stored.descriptor,
          stack: () => Promise.resolve(stored.stack),
        },
        known: 'whole',
        result: resultOf(stored.config),
      };
    return this.asks && !this.services.offline ? this.#ask(name, platform) : undefined;
  }

  async #ask(name: string, platform: Platform): Promise<ReplayBase | undefined> {
    const { peekImage } = await import('../../images/transfer/remote-config');
    try {
      const { registry, admit } = this.services;
      const { config, descriptor, manifest } = await peekImage(name, platform, {
        registry: () => registry,
        admit,
        signal: this.signal,
      });
      const repository = parseReference(name);
      const stack = (): never => {
        throw new Error('an image without its files has no stack');
      };
      return {
        image: { name, config, descriptor, stack },
        known: 'config',
        result: resultOf(config),
        remote:
          repository === undefined
            ? undefined
            : { repository, layers: manifest.layers, registry, signal: this.signal },
      };
    } catch (error) {
      if (!isMbuildError(error) || error.code === 'CANCELED') throw error;
      this.#failed.set(name, error.message);
      return undefined;
    }
  }
}

function resultOf({ rootfs }: ImageConfig): ResultId {
  return sourceResult(chainIds(rootfs.diff_ids).at(-1));
}

/** Stands for an image that is not at hand: a variable that it may set is `${NAME}`, its working directory `/${WORKDIR}`. */
function unknownBase(name: string, { os, architecture }: Platform, text: string): ReplayBase {
  const declared = new Set(
    [...text.matchAll(DECLARED)].flatMap(([, words = '']) =>
      words.split(/\s+/).map((word) => word.split('=')[0]),
    ),
  );
  const named = [...text.matchAll(VARIABLE)].flatMap(([, variable]) => variable ?? []);
  const variables = new Set(named.filter((variable) => !declared.has(variable)));
  const config: ImageConfig = {
    os,
    architecture,
    rootfs: { type: 'layers', diff_ids: [] },
    config: {
      Env: ['PATH', ...variables].map((variable) => `${variable}=${symbolOf(variable)}`),
      WorkingDir: '/${WORKDIR}',
    },
  };
  return {
    image: {
      name,
      config,
      descriptor: { mediaType: '', digest: digestOf(name), size: 0 },
      stack: () => Promise.resolve([]),
    },
    known: 'not',
    result: sourceResult(name),
  };
}

/** What a variable is worth that an unknown image may set. */
export function symbolOf(variable: string): string {
  return `\${${variable}}`;
}

/** The variables of a step without those that only stand for an unknown image's: the image stands for these already. */
export function withoutSymbols(env: readonly string[]): readonly string[] {
  return env.filter((entry) => {
    const [variable, value] = splitEnv(entry);
    return value !== symbolOf(variable);
  });
}
