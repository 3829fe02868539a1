import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * Histories that every builder takes: what they find is recorded, and compared with what a replay
 * predicts.
 */
export const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] as const;
export const COMMITS = 30;

/** What of the Dockerfile changes. */
interface Words {
  label: number;
  env: number;
  cmd: number;
  run: number;
  comment: number;
}

type Shape = (words: Words, base: string) => string;

/** Dockerfiles as projects have them, each with other instructions between its steps. */
const SHAPES: readonly Shape[] = [
  // Settings at the end, where they cost nothing.
  (w, base) => `# ${w.comment}
FROM ${base}
WORKDIR /app
COPY package.json ./
RUN cat package.json > installed && echo ${w.run}
COPY . .
RUN ls -R src > files
ENV MODE=${w.env}
LABEL version="${w.label}"
CMD ["echo", "${w.cmd}"]
`,
  // Settings at the top: a chain of instructions breaks there.
  (w, base) => `FROM ${base}
LABEL version="${w.label}"
ENV MODE=${w.env}
WORKDIR /app
RUN echo ${w.run} > step
COPY package.json ./
# ${w.comment}
RUN cat package.json > installed
COPY src src
CMD ["echo", "${w.cmd}"]
`,
  // Two stages; the second takes what the first made.
  (w, base) => `FROM ${base} AS build
WORKDIR /app
COPY package.json ./
RUN cat package.json > installed
COPY src src
RUN cat src/a.txt > out && echo ${w.run}
FROM ${base}
ENV MODE=${w.env}
# ${w.comment}
COPY --from=build /app/out /out
COPY run.sh /run.sh
RUN cat /out > /all
LABEL version="${w.label}"
CMD ["/run.sh", "${w.cmd}"]
`,
  // A user that a step makes, and owners by name and by number.
  (w, base) => `FROM ${base}
RUN echo 'app:x:1000:1000::/:/bin/sh' >> /etc/passwd && echo 'app:x:1000:' >> /etc/group
ARG VERSION=${w.env}
COPY --chown=app:app package.json /app/
RUN echo ${w.run} $VERSION > /step
COPY --chown=1000:1000 src /app/src
# ${w.comment}
USER app
EXPOSE 80${w.label}
RUN cat /app/src/a.txt
CMD ["echo", "${w.cmd}"]
`,
  // Settings in the middle.
  (w, base) => `FROM ${base}
WORKDIR /app
COPY run.sh /run.sh
RUN echo ${w.run} > one
ENV MODE=${w.env}
COPY src/a.txt a.txt
RUN echo two > two
# ${w.comment}
EXPOSE 80${w.label}
COPY src src
RUN echo three > three
CMD ["echo", "${w.cmd}"]
`,
];

/** A repository and a working directory of it, the same for the same seed. */
export class BuilderHistory {
  #random: number;
  #count = 0;
  readonly #words: Words = { label: 0, env: 0, cmd: 0, run: 0, comment: 0 };
  readonly #shape: Shape;

  constructor(
    readonly dir: string,
    private readonly seed: number,
    /**
     * Of the base image: recorded histories have bases of their own, so that none finds what
     * another has built.
     */
    private readonly base: string,
  ) {
    this.#random = seed * 7919;
    this.#shape = SHAPES[seed % SHAPES.length] ?? (() => '');
    this.#git('init', '-q', '-b', 'main', '.');
    this.#write('package.json', '{}\n');
    this.#write('run.sh', '#!/bin/sh\n');
    this.#write('README.md', 'read me\n');
    this.#write('.dockerignore', '.git\n*.md\nDockerfile\n.dockerignore\n');
    for (const name of ['a', 'b', 'c']) this.#write(`src/${name}.txt`, `${name}\n`);
    this.#writeDockerfile();
    this.#commit('the beginning');
  }

  /** Makes the next commit. True where only times of files changed. */
  next(): boolean {
    const n = this.#count;
    switch (this.#below(13)) {
      case 0:
      case 1:
        this.#write(`src/${['a', 'b', 'c'][this.#below(3)] ?? 'a'}.txt`, `${n}\n`);
        break;
      case 2:
        this.#write('package.json', `{"version": ${n}}\n`);
        break;
      case 3:
        this.#write('README.md', `${n}\n`);
        break;
      case 4:
        this.#words.label++;
        break;
      case 5:
        this.#words.env++;
        break;
      case 6:
        this.#words.cmd++;
        break;
      case 7:
        this.#words.run = this.#below(3);
        break;
      case 8:
        this.#words.comment++;
        break;
      case 9:
        chmodSync(join(this.dir, 'run.sh'), n % 2 === 0 ? 0o755 : 0o644);
        break;
      case 10:
        this.#write('src/a.txt', 'a\n');
        break;
      case 11:
        renameSync(join(this.dir, 'src/c.txt'), join(this.dir, 'src/d.txt'));
        this.#commit(`change ${n}, a rename`);
        renameSync(join(this.dir, 'src/d.txt'), join(this.dir, 'src/c.txt'));
        break;
      default:
        this.#touch();
        this.#commit(`change ${n}, times alone`);
        return true;
    }
    this.#writeDockerfile();
    this.#commit(`change ${n}`);
    return false;
  }

  #writeDockerfile(): void {
    this.#write('Dockerfile', this.#shape(this.#words, this.base));
  }

  #touch(): void {
    for (const name of ['package.json', 'run.sh', 'src/a.txt', 'src/b.txt', 'src/c.txt', 'src'])
      utimesSync(join(this.dir, name), this.#count + 1e9, this.#count + 1e9);
  }

  #write(name: string, text: string): void {
    mkdirSync(dirname(join(this.dir, name)), { recursive: true });
    rmSync(join(this.dir, name), { force: true });
    writeFileSync(join(this.dir, name), text, { mode: name === 'run.sh' ? 0o755 : 0o644 });
  }

  #commit(subject: string): void {
    this.#git('add', '--all');
    this.#git('commit', '-q', '--allow-empty', '-m', subject);
    this.#count++;
  }

  #git(...args: string[]): void {
    const date = `${1_700_000_000 + this.seed * 1e6 + this.#count * 3600} +0000`;
    const who = { GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@b', GIT_AUTHOR_DATE: date };
    const committer = {
      GIT_COMMITTER_NAME: 'a',
      GIT_COMMITTER_EMAIL: 'a@b',
      GIT_COMMITTER_DATE: date,
    };
    const { PATH } = process.env;
    execFileSync('git', ['-c', 'gc.auto=0', ...args], {
      cwd: this.dir,
      env: { PATH, HOME: '/nonexistent', GIT_CONFIG_NOSYSTEM: '1', ...who, ...committer },
    });
  }

  #below(most: number): number {
    this.#random = (this.#random * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((this.#random / 2 ** 31) * most);
  }
}
