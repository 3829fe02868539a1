import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { cleanEnv } from '../support/command';

const DOCKERFILE = `FROM small-base AS build
ARG COMMIT
WORKDIR /app
COPY package.json ./
RUN cat package.json > installed
COPY src/lib src/lib
RUN cat src/lib/* > lib.out
COPY . .
RUN find . -type f | sort > files.txt
FROM small-base
COPY --chown=app run.sh /run.sh
COPY --from=build /app/lib.out /lib.out
RUN cat /lib.out > /all
`;

/**
 * A repository whose history has what histories have: renames, modes, reverts, merges, links,
 * ignore files, and a beginning without a Dockerfile.
 */
export class History {
  #random = 7;
  #count = 0;

  constructor(readonly dir: string) {
    this.git('init', '-q', '-b', 'main', '.');
    this.write('src/lib/a.txt', 'a\n');
    this.commit('no Dockerfile yet');
    this.write('Dockerfile', DOCKERFILE);
    for (const [path, text] of [
      ['package.json', '{}\n'],
      ['run.sh', '#!/bin/sh\n'],
      ['.dockerignore', '*.md\ndocs\n'],
      ['docs/a.txt', 'docs\n'],
      ['src/main.ts', 'main\n'],
    ] as const)
      this.write(path, text);
    symlinkSync('src/main.ts', join(dir, 'link'));
    for (let i = 0; i < 20; i++) this.write(`src/lib/f${i}.txt`, `${i}\n`);
    this.commit('all that is needed');
  }

  /** Makes commits of all kinds until there are so many. */
  grow(commits: number): void {
    while (this.#count < commits) this.#change();
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.dir, path)), { recursive: true });
    writeFileSync(join(this.dir, path), text);
  }

  commit(subject: string): void {
    this.git('add', '--all');
    this.git('commit', '-q', '--allow-empty', '-m', subject);
    this.#count++;
  }

  git(...args: string[]): string {
    const who = {
      GIT_AUTHOR_NAME: 'a',
      GIT_AUTHOR_EMAIL: 'a@b',
      GIT_COMMITTER_NAME: 'a',
      GIT_COMMITTER_EMAIL: 'a@b',
      GIT_COMMITTER_DATE: `${1_700_000_000 + this.#count * 3600} +0000`,
    };
    return execFileSync('git', ['-c', 'gc.auto=0', ...args], {
      cwd: this.dir,
      env: cleanEnv(who),
    }).toString();
  }

  #change(): void {
    const n = this.#count;
    const file = (name: string): string => join(this.dir, name);
    switch (this.#next(12)) {
      case 0:
        appendFileSync(file('package.json'), '\n');
        break;
      case 1:
      case 2:
        appendFileSync(file(`src/lib/f${this.#next(10)}.txt`), `${n}\n`);
        break;
      case 3:
      case 4:
        appendFileSync(file('src/main.ts'), `${n}\n`);
        break;
      case 5:
        this.write('notes.md', `${n}\n`);
        break;
      case 6:
        chmodSync(file('run.sh'), n % 2 === 0 ? 0o755 : 0o644);
        break;
      case 7:
        renameSync(file('docs/a.txt'), file('docs/b.txt'));
        this.commit('a rename of what is ignored');
        renameSync(file('docs/b.txt'), file('docs/a.txt'));
        break;
      case 8:
        this.write('src/main.ts', 'main\n');
        break;
      case 9:
        this.git('checkout', '-q', '-b', `side-${n}`);
        this.write(`src/side-${n}.ts`, 'side\n');
        this.commit('on the side');
        this.git('checkout', '-q', 'main');
        this.git('merge', '-q', '--no-ff', '-m', 'a merge', `side-${n}`);
        return;
      case 10:
        rmSync(file('link'), { force: true });
        symlinkSync(n % 2 === 0 ? 'src/main.ts' : 'package.json', file('link'));
        break;
      default:
        this.write('.dockerignore', n % 2 === 0 ? '*.md\ndocs\n' : '*.md\ndocs\nsrc/*\n!src/lib\n');
    }
    this.commit(`change ${n}`);
  }

  /** The same numbers in every run. */
  #next(below: number): number {
    this.#random = (this.#random * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((this.#random / 2 ** 31) * below);
  }
}
