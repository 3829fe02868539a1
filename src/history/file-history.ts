import { createHash, randomBytes } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { namesIn, readJson, replaceFile } from '../content/files';
import { MbuildError, isMbuildError } from '../diagnostics/error';
import { removeFile, removeTree } from '../linux/remove-tree';
import { treeSize } from '../linux/tree-size';
import type { BuildRecord } from './build-record';

/** The shortest part of an id that names a build. */
const MIN_PART = 3;

/** Builds of one Dockerfile and context. */
export function projectOf(context: string, dockerfile: string): string {
  return createHash('sha256').update(`${context}\0${dockerfile}`).digest('hex').slice(0, 16);
}

/** A fresh id: ids sort by time, and end in what tells builds of one moment apart. */
export function newBuildId(now: number): string {
  return now.toString(36) + randomBytes(3).toString('hex').slice(0, 5);
}

/** One file a build: `<root>/builds/<project>/<id>.json`, its logs beside it in `<id>.logs/`. */
export class BuildHistory {
  readonly #folder: string;

  constructor(private readonly root: string) {
    this.#folder = path.join(root, 'builds');
  }

  put(record: BuildRecord): void {
    replaceFile(this.root, this.#file(record.project, record.id), JSON.stringify(record));
  }

  /**
   * Builds of a project, the latest first; each is read when it is asked for. One that cannot be
   * read is left out.
   */
  *ofProject(project: string): Generator<BuildRecord> {
    for (const id of this.idsOf(project)) {
      const record = this.#read(project, id);
      if (record !== undefined) yield record;
    }
  }

  /** All builds, the latest first; one that cannot be read is told to `unreadable`. */
  *all(unreadable?: (id: string) => void): Generator<BuildRecord> {
    for (const { project, id } of this.#names()) {
      const record = this.#read(project, id);
      if (record === undefined) unreadable?.(id);
      else yield record;
    }
  }

  /**
   * A build by its id, by the beginning or the end of it, by `last` (`latest`), by `prev`, or by
   * `last~N`, `prev~N`, `~N`: the N-th before that one.
   * @throws MbuildError BUILD_NOT_FOUND.
   */
  find(text = 'latest'): BuildRecord {
    const record = this.search(text);
    if (record !== undefined) return record;
    throw new MbuildError(
      'BUILD_NOT_FOUND',
      this.#names().length === 0 ? 'no build is recorded in this store' : `no such build: ${text}`,
      { hint: "list the builds with 'mbuild builds'" },
    );
  }

  /**
   * The same; `undefined` when there is none.
   * @throws MbuildError BUILD_NOT_FOUND when several fit, STORE_CORRUPT.
   */
  search(text: string): BuildRecord | undefined {
    const names = this.#names();
    const back = backOf(text);
    const fitting =
      back === undefined
        ? names.filter(
            ({ id }) =>
              id === text ||
              (text.length >= MIN_PART && (id.startsWith(text) || id.endsWith(text))),
          )
        : names.slice(back, back + 1);
    const [only, another] = fitting;
    if (only === undefined) return undefined;
    if (another !== undefined)
      throw new MbuildError(
        'BUILD_NOT_FOUND',
        `${text} names several builds: ${fitting.map(({ id }) => id).join(', ')}`,
      );
    const record = this.#read(only.project, only.id);
    if (record === undefined)
      throw new MbuildError('STORE_CORRUPT', `the record of build ${only.id} cannot be read`, {
        hint: `delete ${this.#file(only.project, only.id)}`,
      });
    return record;
  }

  /** A build by its whole id; `undefined` when it is not recorded any more. */
  get(id: string): BuildRecord | undefined {
    const found = this.#names().find((name) => name.id === id);
    return found === undefined ? undefined : this.#read(found.project, found.id);
  }

  /** Ids of a project's builds, the latest first. */
  idsOf(project: string): string[] {
    return idsIn(path.join(this.#folder, project)).reverse();
  }

  /** Bytes of a build's record and logs. */
  size({ project, id }: Pick<BuildRecord, 'project' | 'id'>): number {
    return (
      (statSync(this.#file(project, id), { throwIfNoEntry: false })?.size ?? 0) +
      treeSize(this.logFolder({ project, id })).bytes
    );
  }

  delete({ project, id }: Pick<BuildRecord, 'project' | 'id'>): void {
    removeFile(this.#file(project, id));
    removeTree(this.logFolder({ project, id }));
  }

  /** Where the logs of a build are. */
  logFolder({ project, id }: Pick<BuildRecord, 'project' | 'id'>): string {
    return path.join(this.#folder, project, `${id}.logs`);
  }

  /** The log of one row, compressed; `undefined` when it wrote nothing. */
  logFile(build: Pick<BuildRecord, 'project' | 'id'>, row: number): string | undefined {
    const file = path.join(this.logFolder(build), `${row}.gz`);
    return existsSync(file) ? file : undefined;
  }

  /** The project and id of every build, the latest first. */
  #names(): { readonly project: string; readonly id: string }[] {
    return namesIn(this.#folder)
      .flatMap((project) => idsIn(path.join(this.#folder, project)).map((id) => ({ project, id })))
      .sort((a, b) => (a.id < b.id ? 1 : -1));
  }

  #read(project: string, id: string): BuildRecord | undefined {
    try {
      const record = readJson<BuildRecord>(this.#file(project, id));
      return record?.version === 1 && record.id === id && Array.isArray(record.steps)
        ? record
        : undefined;
    } catch (error) {
      // Nothing depends on it; `find` tells of it when it is asked for by name.
      if (isMbuildError(error, 'STORE_CORRUPT')) return undefined;
      throw error;
    }
  }

  #file(project: string, id: string): string {
    return path.join(this.#folder, project, `${id}.json`);
  }
}

function idsIn(folder: string): string[] {
  return namesIn(folder).flatMap((name) =>
    name.endsWith('.json') ? [name.slice(0, -'.json'.length)] : [],
  );
}

/** Names of builds, and how many there are after them; `~2` stands alone too. */
const NAMED: ReadonlyMap<string, number> = new Map([
  ['', 0],
  ['last', 0],
  ['latest', 0],
  ['prev', 1],
]);

/**
 * How many builds before the latest a word means: `last`, `prev~2`; no shell expands these.
 * `undefined` when it is another word, such as an id.
 */
function backOf(text: string): number | undefined {
  const match = /^([a-z]*)(?:~(\d{1,6}))?$/.exec(text);
  if (match === null || text === '') return undefined;
  const [, name = '', back = '0'] = match;
  const from = NAMED.get(name);
  return from === undefined ? undefined : from + Number(back);
}
