import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import path from 'node:path';
import { createFile, namesIn, readJson, replaceFile, storing, tempName } from '../content/files';
import { isAlive } from '../content/presence';
import { MbuildError, isMbuildError } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import { ownIdentity, type ProcessIdentity } from '../linux/process';
import { removeFile, removeTree } from '../linux/remove-tree';
import type { ActiveSnapshot, LayerId } from '../snapshot/snapshotter';
import type { Container, ContainerId, ContainerRecord, ContainerState } from './container';
import { isContainerName, randomName } from './names';

/**
 * `<root>/container-names/<name>.json`: reserves a name, so that of two processes only one gets it.
 */
interface NameRecord {
  readonly id: ContainerId;
  /** Who is making the container. */
  readonly owner: ProcessIdentity;
}

/** The exit code of what was killed along with its supervisor. */
const KILLED = 137;

/**
 * Containers as folders: `<root>/containers/<id>/` with `config.json`, `state.json`, `log` and
 * `layer/` (the writable layer, as the snapshotter prepares it). A folder appears whole, by a
 * rename. The layers that containers stand on are kept from collection by
 * {@link ContainerStore.layers}.
 */
export class ContainerStore {
  readonly #containers: string;
  readonly #names: string;

  constructor(private readonly root: string) {
    this.#containers = path.join(root, 'containers');
    this.#names = path.join(root, 'container-names');
  }

  /**
   * All containers, the latest first. One whose record cannot be read is told to `unreadable`.
   * @throws its MbuildError STORE_CORRUPT where nobody is to be told.
   */
  list(unreadable?: (id: ContainerId, why: MbuildError) => void): Container[] {
    const found = namesIn(this.#containers).flatMap((name) => {
      const id = name as ContainerId;
      try {
        return this.#load(id) ?? [];
      } catch (error) {
        if (unreadable === undefined || !isMbuildError(error, 'STORE_CORRUPT')) throw error;
        unreadable(id, error);
        return [];
      }
    });
    return found.sort((a, b) => (a.record.created < b.record.created ? 1 : -1));
  }

  /** By id, name or the beginning of an id that only one has. */
  find(nameOrId: string): Container | undefined {
    const named = isContainerName(nameOrId)
      ? readJson<NameRecord>(this.#nameFile(nameOrId))
      : undefined;
    const byName = named === undefined ? undefined : this.#load(named.id);
    if (byName !== undefined || !/^[0-9a-f]{1,64}$/.test(nameOrId)) return byName;
    const ids = namesIn(this.#containers).filter((id) => id.startsWith(nameOrId));
    return ids.length === 1 ? this.#load(ids[0] as ContainerId) : undefined;
  }

  /**
   * The same for one that must be there.
   * @throws MbuildError CONTAINER_NOT_FOUND, with a name that is nearly the same.
   */
  get(nameOrId: string): Container {
    const found = this.find(nameOrId);
    if (found !== undefined) return found;
    throw new MbuildError('CONTAINER_NOT_FOUND', `no such container: ${nameOrId}`, {
      hint:
        didYouMean(
          nameOrId,
          this.list().map(({ record }) => record.name),
        ) ?? "list the containers with 'mbuild ps -a'",
    });
  }

  /** What the container is now; `undefined` when it is not there any more. */
  state(id: ContainerId): ContainerState | undefined {
    return this.#load(id)?.state;
  }

  /**
   * Gives a name to an id, one of its own making when none is wanted.
   * @throws MbuildError CONTAINER_CONFLICT when it is taken, USAGE when it cannot be one.
   */
  reserveName(id: ContainerId, wanted?: string): string {
    if (wanted !== undefined && !isContainerName(wanted)) {
      throw new MbuildError('USAGE', `invalid container name ${JSON.stringify(wanted)}`, {
        hint: 'use two or more of a-z A-Z 0-9 _ . -, and begin with a letter or a digit',
      });
    }
    for (let tries = 0; ; tries++) {
      const name = wanted ?? randomName(tries);
      if (
        createFile(
          this.root,
          this.#nameFile(name),
          JSON.stringify({ id, owner: ownIdentity() } satisfies NameRecord),
        )
      )
        return name;
      const other = readJson<NameRecord>(this.#nameFile(name));
      // A process that died while it made a container left nothing but the name.
      if (
        other !== undefined &&
        !existsSync(this.folder(other.id)) &&
        !isAlive(other.owner, this.root)
      )
        removeFile(this.#nameFile(name));
      else if (wanted !== undefined) {
        throw new MbuildError(
          'CONTAINER_CONFLICT',
          `the container name ${wanted} is in use by container ${other?.id ?? ''}`,
          { hint: `remove it with 'mbuild rm ${wanted}', or choose another name` },
        );
      }
    }
  }

  releaseName(name: string): void {
    removeFile(this.#nameFile(name));
  }

  /** Takes a snapshot into the store as a new container's writable layer. */
  add(record: ContainerRecord, active: ActiveSnapshot): void {
    const temp = tempName(this.root, 'container');
    const folder = this.folder(record.id);
    storing(folder, () => {
      mkdirSync(temp, { recursive: true, mode: 0o700 });
      mkdirSync(this.#containers, { recursive: true, mode: 0o700 });
      renameSync(path.dirname(active.dir), path.join(temp, 'layer'));
    });
    replaceFile(this.root, path.join(temp, 'config.json'), JSON.stringify(record));
    replaceFile(
      this.root,
      path.join(temp, 'state.json'),
      JSON.stringify({ status: 'created' } satisfies ContainerState),
    );
    storing(folder, () => renameSync(temp, folder));
  }

  writeState(id: ContainerId, state: ContainerState): void {
    // A container that was removed meanwhile must not come back as a folder with nothing but a
    // state.
    if (existsSync(this.folder(id)))
      replaceFile(this.root, path.join(this.folder(id), 'state.json'), JSON.stringify(state));
  }

  /** Deletes the container with its writable layer. */
  delete({ id, name }: Pick<ContainerRecord, 'id' | 'name'>): void {
    const aside = tempName(this.root, 'container');
    storing(this.folder(id), () => {
      mkdirSync(path.dirname(aside), { recursive: true, mode: 0o700 });
      if (existsSync(this.folder(id))) renameSync(this.folder(id), aside);
    });
    if (readJson<NameRecord>(this.#nameFile(name))?.id === id) this.releaseName(name);
    removeTree(aside);
  }

  folder(id: ContainerId): string {
    return path.join(this.#containers, id);
  }

  logFile(id: ContainerId): string {
    return path.join(this.folder(id), 'log');
  }

  /** The writable layer, which the snapshotter mounts like any that is being written. */
  writableLayer({ id, image }: ContainerRecord): ActiveSnapshot {
    return {
      id: id.slice(0, 10) as LayerId,
      parent: image.stack,
      dir: path.join(this.folder(id), 'layer', 'fs'),
    };
  }

  /** Layers that containers stand on, read anew each time that they are asked for. */
  layers(): Iterable<LayerId> {
    return {
      [Symbol.iterator]: () =>
        this.list()
          .flatMap(({ record }) => record.image.stack)
          [Symbol.iterator](),
    };
  }

  #load(id: ContainerId): Container | undefined {
    const record = readJson<ContainerRecord>(path.join(this.folder(id), 'config.json'));
    const state = readJson<ContainerState>(path.join(this.folder(id), 'state.json'));
    return record === undefined || state === undefined
      ? undefined
      : { record, state: asItIs(state, this.root) };
  }

  #nameFile(name: string): string {
    return path.join(this.#names, `${name}.json`);
  }
}

/** A new id. */
export function newContainerId(): ContainerId {
  return randomBytes(32).toString('hex') as ContainerId;
}

/** What runs dies with the mbuild that watches it, which could then not write that down. */
function asItIs(state: ContainerState, root: string): ContainerState {
  if (
    state.status !== 'running' ||
    (state.supervisor !== undefined && isAlive(state.supervisor, root))
  )
    return state;
  return { ...state, status: 'exited', process: undefined, exitCode: KILLED };
}
