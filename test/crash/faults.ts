import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { cleanEnv, command, type CommandResult } from '../support/command';
import { MBUILD, Mbuild } from '../support/mbuild';
import { findProgram } from '../support/needs';
import { mountsLeft, writeFiles, type TempDirs } from '../support/temp';

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
export const CHANGING = 'write,pwrite64,writev,rename,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,symlink,mknod,mknodat,chmod,fchmodat,fchownat,utimensat,ftruncate';

/** True for the long version of the tests. */
export const SOAK = process.env['MBUILD_SOAK'] === '1';

/** For `describeWith`: why system calls cannot be made to fail here; `undefined` when they can. */
export function straceMissing(): string | undefined {
  if (findProgram('strace') === undefined) return 'needs strace';
  const { status, stderr } = spawnSync('strace', ['-qq', '-o', '/dev/null', '-e', 'trace=none', 'true'], { encoding: 'utf8' });
  return status === 0 ? undefined : `strace may not trace: ${stderr.trim()}`;
}

/** A store with a base and an earlier image, copied for each trial, and a build in it that is to be disturbed. */
export class Trials {
  readonly #template: string;
  readonly #context: string;
  #reference = '';

  constructor(private readonly temp: TempDirs) {
    this.#template = temp.dir('template');
    this.#context = writeFiles(temp.dir('context'), {
      'one.txt': 'one', 'tree/two.txt': 'two', 'tree/three.txt': 'three',
      // More than what is hashed on the spot, so that a worker takes part.
      ...Object.fromEntries(Array.from({ length: 80 }, (_, i) => [`many/${i}`, `${i}`])),
      Dockerfile: [
        'FROM small-base AS first', 'RUN --mount=type=cache,target=/cache echo built > /built && echo x >> /cache/count', 'COPY many /many',
        'FROM small-base', 'WORKDIR /work', 'COPY one.txt tree ./', 'COPY --from=first /built /built', 'RUN rm /etc/group && echo changed >> /etc/passwd && mkdir d && ln -s x d/l', 'CMD ["sh"]', '',
      ].join('\n'),
      'earlier.Dockerfile': 'FROM small-base\nRUN echo earlier > /earlier\n',
    });
  }

  /** Makes the template, and the digest that every build must come to. */
  async prepare(): Promise<void> {
    const mbuild = this.#mbuild(this.#template);
    await smallBase(mbuild);
    await mbuild.ok(['build', '-q', '-t', 'earlier', '-f', join(this.#context, 'earlier.Dockerfile'), this.#context]);
    const store = this.open();
    this.#reference = await this.#build(store);
    rmSync(store.root, { recursive: true });
  }

  /** A fresh copy of the store. */
  open(): Mbuild {
    const root = join(this.temp.dir('trial'), 'store');
    execFileSync('cp', ['-a', this.#template, root]);
    return this.#mbuild(root);
  }

  /** The command line of the build, for strace to start. */
  get #buildArgs(): string[] {
    return ['build', '--progress=plain', '-t', 'new', this.#context];
  }

  /** The calls that the build makes, in their order, from the first that has to do with the store. */
  async calls(names: string): Promise<Call[]> {
    const store = this.open();
    const log = join(this.temp.dir('strace'), 'log');
    await command('strace', ['-qq', '-o', log, '-e', `trace=${names}`, '-e', 'signal=none', MBUILD, ...this.#buildArgs], { env: this.#env(store) });
    const lines = readFileSync(log, 'latin1').split('\n').filter((line) => line.includes('('));
    rmSync(store.root, { recursive: true });
    const counts = new Map<string, number>();
    const calls = lines.map((line): Call => {
      const name = line.slice(0, line.indexOf('('));
      counts.set(name, (counts.get(name) ?? 0) + 1);
      return { name, n: counts.get(name) ?? 1 };
    });
    return calls.slice(lines.findIndex((line) => line.includes(store.root)));
  }

  /** Runs the build with a fault. */
  disturb(store: Mbuild, { call: { name, n }, action, onwards, follow }: Fault): Promise<CommandResult> {
    return command('strace', [
      '-qq', ...(follow === true ? ['-f'] : []), '-o', '/dev/null', '-e', `trace=${name}`, '-e', `inject=${name}:${action}:when=${n}${onwards === true ? '+' : ''}`, MBUILD, ...this.#buildArgs,
    ], { env: this.#env(store) });
  }

  /**
   * What is wrong with a store after a fault, by what a user would see: it verifies, the same build succeeds and gives the same image,
   * and what the fault left goes with the next prune. Empty when nothing is. The store is deleted when all is well.
   */
  async faultsLeft(store: Mbuild): Promise<string[]> {
    const faults: string[] = [];
    const check = async (when: string, wanted: RegExp): Promise<void> => {
      const { code, stdout, stderr } = await store.run(['system', 'check']);
      if (code !== 0 || !wanted.test(stdout)) faults.push(`${when}, system check: ${code}\n${stdout}${stderr}`);
    };
    await check('after the fault', /^Checked/m);
    const built = await this.#build(store).catch((error: unknown) => String(error));
    if (built !== this.#reference) faults.push(`the build gives ${built} instead of ${this.#reference}`);
    await store.ok(['prune', '-f']).catch((error: unknown) => faults.push(String(error)));
    await check('after a prune', /nothing is wrong/);
    for (const folder of ['tmp', 'active', 'leases', 'locks', 'sandbox']) {
      const left = namesIn(join(store.root, folder)).filter((name) => folder !== 'sandbox' || /\d/.test(name));
      if (left.length > 0) faults.push(`left in ${folder}: ${left.join(' ')}`);
    }
    const names = (await store.ok(['images', '--format', '{{.Repository}}'])).split('\n').sort().join(' ');
    if (names !== 'earlier new small-base') faults.push(`the images are ${names}`);
    faults.push(...mountsLeft(store.root).map((mount) => `mounted: ${mount}`));
    if (faults.length === 0) rmSync(store.root, { recursive: true });
    return faults;
  }

  async #build(store: Mbuild): Promise<string> {
    const { id } = await store.build(['-t', 'new', this.#context]);
    return id;
  }

  #mbuild(root: string): Mbuild {
    return new Mbuild(root, { SOURCE_DATE_EPOCH: '1700000000' });
  }

  #env(store: Mbuild): Record<string, string> {
    return cleanEnv({ MBUILD_ROOT: store.root, SOURCE_DATE_EPOCH: '1700000000' });
  }
}

function namesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** All of a list, or some of it at equal distances. */
export function sample<T>(list: readonly T[], most: number): T[] {
  if (list.length <= most) return [...list];
  return Array.from({ length: most }, (_, i) => list[Math.floor(((i + 0.5) * list.length) / most)]).flatMap((item) => (item === undefined ? [] : [item]));
}
