import { execFileSync, spawnSync } from 'node:child_process';
import { lstatSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { command, type CommandResult } from '../support/command';
import { MBUILD, type Mbuild } from '../support/mbuild';
import { findProgram } from '../support/needs';
import { mountsLeft, namesIn, type TempDirs } from '../support/temp';
import { losePower, randomOf } from './power-loss';
import { envOf, openStore, type Work } from './works';

/** One system call of mbuild's main thread. */
export interface Call {
  readonly name: string;
  /** It is the n-th of its name. */
  readonly n: number;
}

/** What is done to a system call. */
export interface Fault {
  readonly call: Call;
  /** `signal=KILL`, `error=ENOSPC`. */
  readonly action: string;
  /** Also to all that follow of its name. */
  readonly onwards?: boolean;
  /** Also in worker threads and steps, each of which is counted on its own. */
  readonly follow?: boolean;
}

/** Calls that change a store. */
export const CHANGING = [
  'write,pwrite64,writev,copy_file_range,sendfile,truncate,ftruncate,fallocate,fsync,fdatasync',
  'rename,renameat,renameat2,link,linkat,unlink,unlinkat,symlink,symlinkat,mkdir,mkdirat,rmdir',
  'mknod,mknodat,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,utimensat,setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr',
].join(',');

/** True for the long version of the tests. */
export const SOAK = process.env['MBUILD_SOAK'] !== undefined;
/** True for the longest: every call of every work, which takes hours. */
export const ALL_CALLS = process.env['MBUILD_SOAK'] === 'all';

/** For `describeWith`: why system calls cannot be made to fail here; `undefined` when they can. */
export function straceMissing(): string | undefined {
  if (findProgram('strace') === undefined) return 'needs strace';
  const { status, stderr } = spawnSync(
    'strace',
    ['-qq', '-o', '/dev/null', '-e', 'trace=none', 'true'],
    { encoding: 'utf8' },
  );
  return status === 0 ? undefined : `strace may not trace: ${stderr.trim()}`;
}

/**
 * A store with a base and an earlier image, copied for each trial, and a work in it that is to be
 * disturbed.
 */
export class Trials {
  readonly template: string;
  /** What comes of the work when nothing disturbs it. */
  #reference: readonly string[] = [];

  constructor(
    private readonly temp: TempDirs,
    readonly work: Work,
  ) {
    this.template = temp.dir('template');
  }

  /** Makes the template. @param sound a store with the two images. */
  async copyOf(sound: string): Promise<void> {
    execFileSync('cp', ['-a', `${sound}/.`, this.template]);
    await this.work.prepare?.(openStore(this.template));
  }

  /**
   * Makes the template, and what every trial must come to.
   * @param sound a store with the two images.
   */
  async prepare(sound: string): Promise<void> {
    await this.copyOf(sound);
    const store = this.open();
    await store.ok(this.work.args(store));
    this.#reference = await this.#result(store);
    this.discard(store);
  }

  /** A fresh copy of the store. */
  open(): Mbuild {
    const root = join(this.temp.dir('trial'), 'store');
    execFileSync('cp', ['-a', this.template, root]);
    return openStore(root);
  }

  /**
   * The calls that the work makes, in their order, from the first that has to do with the store.
   */
  async calls(names: string): Promise<Call[]> {
    const store = this.open();
    const log = join(this.temp.dir('strace'), 'log');
    await command(
      'strace',
      [
        '-qq',
        '-o',
        log,
        '-e',
        `trace=${names}`,
        '-e',
        'signal=none',
        MBUILD,
        ...this.work.args(store),
      ],
      { env: envOf(store) },
    );
    const lines = readFileSync(log, 'latin1')
      .split('\n')
      .filter((line) => line.includes('('));
    this.discard(store);
    const counts = new Map<string, number>();
    const calls = lines.map((line): Call => {
      const name = line.slice(0, line.indexOf('('));
      counts.set(name, (counts.get(name) ?? 0) + 1);
      return { name, n: counts.get(name) ?? 1 };
    });
    return calls.slice(lines.findIndex((line) => line.includes(store.root)));
  }

  /** Does the work with a fault. */
  disturb(
    store: Mbuild,
    { call: { name, n }, action, onwards, follow }: Fault,
  ): Promise<CommandResult> {
    return command(
      'strace',
      [
        '-qq',
        ...(follow === true ? ['-f'] : []),
        '-o',
        '/dev/null',
        '-e',
        `trace=${name}`,
        '-e',
        `inject=${name}:${action}:when=${n}${onwards === true ? '+' : ''}`,
        MBUILD,
        ...this.work.args(store),
      ],
      { env: envOf(store) },
    );
  }

  /** A store in which the work was done, and which then lost its power. */
  async withoutPower(seed: number): Promise<Mbuild> {
    const store = this.open();
    await store.ok(this.work.args(store));
    losePower(store.root, this.template, randomOf(seed));
    return store;
  }

  /**
   * What is wrong with a store after a fault, by what a user would see: it verifies, the same work
   * done again comes to the same, and what the fault left goes with the next prune. Empty when
   * nothing is; the store is then deleted.
   */
  async faultsLeft(store: Mbuild): Promise<string[]> {
    const { code, stdout, stderr } = await store.run(['system', 'check']);
    const faults = code === 0 ? [] : [`system check: ${code}\n${stdout}${stderr}`];
    faults.push(
      ...(await this.#again(store)),
      ...(await this.#differences(store)),
      ...mountsLeft(store.root).map((mount) => `mounted: ${mount}`),
    );
    if (faults.length === 0) this.discard(store);
    return faults;
  }

  /**
   * The same after a loss of power, of which some damage may be told instead of mended: but not in
   * what the work was done again for, and once that is repaired, nothing differs.
   */
  async damageLeft(store: Mbuild): Promise<string[]> {
    const faults = await this.#again(store);
    const { code, stdout } = await store.run(['system', 'check']);
    faults.push(
      ...stdout
        .split('\n')
        .filter((line) => /^(image|name) \S*(new|pulled|earlier|small-base)/.test(line)),
    );
    if (code !== 0) {
      await store.ok(['system', 'check', '--repair']);
      faults.push(...(await this.#again(store)));
    }
    // What was pulled is a layer also without its blob.
    faults.push(...(await this.#differences(store)).filter((line) => !/blobs/.test(line)));
    if (faults.length === 0) this.discard(store);
    return faults;
  }

  /** Does the work once more. */
  async #again(store: Mbuild): Promise<string[]> {
    let { code, stderr } = await store.run(this.work.args(store));
    // A blob that is found to be damaged is removed then, and made again the next time.
    if (stderr.includes('[STORE_CORRUPT]'))
      ({ code, stderr } = await store.run(this.work.args(store)));
    // What was to be taken away may be gone already.
    return code === 0 || stderr.includes('no such image')
      ? []
      : [`the same again: ${code}\n${stderr}`];
  }

  /** What there is that should not be, and what should be and is missing. */
  async #differences(store: Mbuild): Promise<string[]> {
    const result = await this.#result(store).catch((error: unknown) => [String(error)]);
    return [
      ...result.filter((line) => !this.#reference.includes(line)),
      ...this.#reference.filter((line) => !result.includes(line)).map((line) => `missing: ${line}`),
    ];
  }

  discard(store: Mbuild): void {
    rmSync(join(store.root, '..'), { recursive: true });
  }

  /** What the work came to, and all that a store holds after a prune. */
  async #result(store: Mbuild): Promise<string[]> {
    const outcome = await this.work.outcome(store);
    await store.ok(['prune', '-f']);
    return [`outcome: ${outcome}`, await store.ok(['system', 'check']), ...contents(store.root)];
  }
}

/** Folders whose files have the same names whenever the same was done. */
const NAMED = ['chains', 'names', 'cache/records', 'cache/families', 'cache/digests'];
/** Folders whose files have names of chance, or of the time. */
const COUNTED = ['layers', 'blobs/sha256', 'images', 'containers'];
/** Folders in which nothing stays. */
const PASSING = ['tmp', 'active', 'leases', 'locks'];

/** What is in a store, without what differs each time. */
function contents(root: string): string[] {
  return [
    ...NAMED.flatMap((folder) => filesIn(join(root, folder)).map((file) => relative(root, file))),
    ...COUNTED.map((folder) => `${namesIn(join(root, folder)).length} in ${folder}`),
    ...PASSING.flatMap((folder) =>
      namesIn(join(root, folder)).map((name) => `left: ${folder}/${name}`),
    ),
    ...namesIn(join(root, 'sandbox'))
      .filter((name) => name.includes('.'))
      .map((name) => `left: sandbox/${name}`),
  ];
}

function filesIn(folder: string): string[] {
  return namesIn(folder)
    .sort()
    .flatMap((name) => {
      const file = join(folder, name);
      return lstatSync(file).isDirectory() ? filesIn(file) : [file];
    });
}

/** All of a list, or some of it at equal distances. */
function sample<T>(list: readonly T[], most: number): T[] {
  if (list.length <= most) return [...list];
  return Array.from(
    { length: most },
    (_, i) => list[Math.floor(((i + 0.5) * list.length) / most)],
  ).flatMap((item) => (item === undefined ? [] : [item]));
}

/** Some calls, of as many kinds as possible. */
export function sampleKinds(calls: readonly Call[], most: number): Call[] {
  const kinds = [...new Set(calls.map(({ name }) => name))];
  const each = Math.max(1, Math.floor(most / kinds.length));
  return sample(
    kinds.flatMap((kind) =>
      sample(
        calls.filter(({ name }) => name === kind),
        each,
      ),
    ),
    most,
  );
}
