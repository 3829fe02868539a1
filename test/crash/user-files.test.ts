import { join } from 'node:path';
import { command } from '../support/command';
import { MBUILD, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';
import { straceMissing } from './faults';
import { envOf } from './works';

describeWith(
  'a file of the user that cannot be opened',
  { programs: ['strace'], also: straceMissing },
  () => {
    const temp = useTemp();

    const works = {
      Dockerfile: (dir: string) => ['build', dir],
      '.dockerignore': (dir: string) => ['build', dir],
      'tree.tar': (dir: string) => ['import', join(dir, 'tree.tar')],
    } as const;
    const own = {
      Dockerfile: 'DOCKERFILE_NOT_FOUND',
      '.dockerignore': 'IGNORE_FILE_INVALID',
      'tree.tar': 'ARCHIVE_INVALID',
    } as const;

    it.each(
      (Object.keys(works) as (keyof typeof works)[]).flatMap(
        (name) =>
          [
            ['EMFILE', name, 'IO_FAILED'],
            ['EIO', name, 'IO_FAILED'],
            ['EACCES', name, own[name]],
          ] as const,
      ),
    )('for %s: %s is told as %s', async (error, name, code) => {
      const dir = writeFiles(temp.dir('files'), {
        Dockerfile: 'FROM scratch\nCOPY x /\n',
        '.dockerignore': 'y\n',
        x: 'x',
        'tree.tar': Buffer.alloc(1024),
      });
      const store = new Mbuild(join(temp.dir('store'), 'store'));
      const result = await command(
        'strace',
        [
          '-qq',
          '-f',
          '-o',
          '/dev/null',
          '-P',
          join(dir, name),
          '-e',
          'trace=openat',
          '-e',
          `inject=openat:error=${error}`,
          MBUILD,
          ...works[name](dir),
        ],
        { env: envOf(store) },
      );
      expect([/\[([A-Z_]+)\]/.exec(result.stderr)?.[1], result.code, result.stderr]).toEqual([
        code,
        expect.any(Number),
        expect.stringContaining(name),
      ]);
    });
  },
);
