import { readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { smallBase } from '../support/bases';
import { command, type CommandResult } from '../support/command';
import { MBUILD } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';
import { SOAK, Trials, straceMissing } from './faults';
import { restart } from './power-loss';
import { EARLIER, envOf, openStore } from './works';

jest.setTimeout(SOAK ? 7_200_000 : 180_000);

/** What a machine in trouble answers to who reads. */
const ERRORS = ['EIO', 'EMFILE', 'ENOMEM', 'EACCES', 'EROFS', 'ENOSPC'];
/** Calls that read, or ask. */
const READS = 'open,openat,read,pread64,getdents64,statx,newfstatat,lstat,stat,readlink,lgetxattr';
/**
 * Directories of a store in which something stands for images, layers, containers and the cache.
 */
const PLACES = [
  'blobs/sha256',
  'chains',
  'images',
  'names',
  'layers',
  'cache/records',
  'containers',
  '.',
];

const NEXT = 'FROM earlier\nRUN echo next > /next\n';

describeWith(
  'a store of which something cannot be read',
  { root: true, programs: ['strace'], also: straceMissing },
  () => {
    const temp = useTemp();
    let sound: string;
    let next: string;

    beforeAll(async () => {
      sound = join(temp.dir('sound'), 'store');
      const store = openStore(sound);
      await smallBase(store);
      const context = writeFiles(temp.dir('earlier'), { Dockerfile: EARLIER });
      await store.ok(['build', '-q', '-t', 'earlier', context]);
      await store.ok(['create', '--name', 'made', 'earlier', 'true']);
      next = writeFiles(temp.dir('next'), { Dockerfile: NEXT });
    });

    /** A file of each kind, or all. */
    function filesOf(root: string): string[] {
      return PLACES.flatMap((place) => {
        const files = readdirSync(join(root, place), {
          recursive: place === 'names' || place === 'containers',
        })
          .map((name) => join(root, place, String(name)))
          .filter((file) => place !== '.' || file.endsWith('.json'));
        return SOAK ? files : files.slice(0, 1);
      });
    }

    /** Runs mbuild where every read of a file fails. */
    function runWith(
      error: string,
      file: string,
      store: ReturnType<typeof openStore>,
      args: readonly string[],
    ): Promise<CommandResult> {
      return command(
        'strace',
        [
          '-qq',
          '-f',
          '-o',
          '/dev/null',
          '-P',
          file,
          '-e',
          `trace=${READS}`,
          '-e',
          `inject=${READS}:error=${error}`,
          MBUILD,
          ...args,
        ],
        { env: envOf(store) },
      );
    }

    const commands: readonly (readonly [string, () => readonly string[]])[] = [
      ['images', () => ['images', '-a']],
      ['system df', () => ['system', 'df']],
      ['ps', () => ['ps', '-a']],
      ['inspect', () => ['inspect', 'earlier']],
      ['run', () => ['run', '--rm', 'earlier', 'true']],
      ['build', () => ['build', '-q', '-t', 'next', next]],
      ['save', () => ['save', '-o', join(temp.dir('out'), 'x.tar'), 'earlier']],
      ['tag', () => ['tag', 'earlier', 'other']],
      ['image prune', () => ['image', 'prune', '-f']],
      ['builder prune', () => ['builder', 'prune', '-f']],
      ['system check', () => ['system', 'check']],
      ['system check --repair', () => ['system', 'check', '--repair']],
    ];

    it.each(commands.map(([name, args], at) => [name, args, at] as const))(
      'loses nothing by mbuild %s, which gives a reason or does without',
      async (name, args, at) => {
        const trials = new Trials(temp, { name, args, outcome: async () => '' });
        await trials.copyOf(sound);
        const files = filesOf(trials.template).map((file) => relative(trials.template, file));
        for (const [i, file] of files.entries()) {
          // Of all pairs of a command and a file, some: each command has others.
          if (!SOAK && i % 4 !== at % 4) continue;
          for (const error of SOAK ? ERRORS : [ERRORS[i % ERRORS.length] ?? 'EIO']) {
            const store = trials.open();
            restart(store.root);
            const { code, stderr } = await runWith(error, join(store.root, file), store, args());
            const reason = /\[([A-Z_]+)\]/.exec(stderr)?.[1] ?? (code === 0 ? 'none' : stderr);
            const after = {
              file,
              error,
              isForeseen:
                /^(none|NO_SPACE|IO_FAILED|PERMISSION_DENIED|STORE_UNUSABLE|EXEC_FAILED|SANDBOX_FAILED|COPY_FAILED|)$/.test(
                  reason,
                ) || reason,
              run: await store.run(['run', '--rm', '--pull=never', 'earlier', 'cat', '/earlier']),
              base: (await store.run(['run', '--rm', '--pull=never', 'small-base', 'true'])).code,
              container: (await store.run(['start', '-a', 'made'])).code,
              check:
                (await store.run(['system', 'check'])).stdout.match(
                  /nothing is wrong|leftover/,
                )?.[0] !== undefined,
            };
            expect(after).toEqual({
              file,
              error,
              isForeseen: true,
              run: { code: 0, stdout: 'earlier\n', stderr: '' },
              base: 0,
              container: 0,
              check: true,
            });
            trials.discard(store);
          }
        }
      },
    );
  },
);
