import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBaseTar } from '../support/bases';
import { cleanEnv, succeed } from '../support/command';
import { fixture, MBUILD, Mbuild } from '../support/mbuild';
import { describeWith, findProgram } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';
import { listTree, treeDifference, type TreeEntry } from '../support/tree';
import { UNPACKERS } from '../support/unpack';

describeWith('the layer of a step', { root: true, programs: ['tar', 'python3'] }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let layout: string;
  let truth: TreeEntry[];

  // The same script runs once in a step and once in a plain chroot, whose tree is the truth.
  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    const work = temp.dir('truth');
    const root = join(work, 'root');
    mkdirSync(root);
    execFileSync('tar', ['-xpf', smallBaseTar(work), '-C', root], { env: cleanEnv() });
    execFileSync('sh', [fixture('layers', 'prepare.sh')], { cwd: root, env: cleanEnv() });
    copyFileSync(fixture('layers', 'change.sh'), join(root, 'change.sh'));
    const tar = join(work, 'base.tar');
    execFileSync(
      'tar',
      [
        '-cf',
        tar,
        '--format=pax',
        '--numeric-owner',
        '--xattrs',
        '--xattrs-include=*',
        '-C',
        root,
        '.',
      ],
      { env: cleanEnv() },
    );
    await mbuild.ok(['import', tar, 'layers-base']);

    execFileSync(findProgram('chroot') ?? 'chroot', [root, '/bin/sh', '/change.sh'], {
      env: { PATH: '/bin:/usr/bin' },
    });
    truth = comparable(listTree(root, { mtime: true }));

    const context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM layers-base\nRUN sh /change.sh\n',
    });
    layout = join(temp.dir('layout'), 'oci');
    await mbuild.build([
      '-t',
      'layers:test',
      '--output',
      `type=oci,tar=false,dest=${layout}`,
      context,
    ]);
  });

  for (const [name, { programs, unpack }] of Object.entries(UNPACKERS)) {
    const absent = programs.filter((program) => findProgram(program) === undefined);
    (absent.length > 0 ? it.skip : it)(
      `unpacks with ${name} to exactly what the step left${absent.length > 0 ? ` (skipped: needs ${absent.join(', ')})` : ''}`,
      () => {
        const root = unpack(layout, tagOf(layout), temp.dir('unpack'));
        expect(treeDifference(truth, comparable(listTree(root, { mtime: true })))).toEqual([]);
      },
    );
  }

  it('is small: what did not change is not in it', () => {
    const manifest = readJson<{ layers: { digest: string }[] }>(
      layout,
      readJson<{ manifests: { digest: string }[] }>(layout).manifests[0]?.digest,
    );
    const top = blobPath(layout, manifest.layers.at(-1)?.digest ?? '');
    const names = execFileSync('tar', ['-tf', top]).toString().split('\n');
    expect(names).not.toContain('metadata/untouched');
    expect(names.filter((name) => /^\.?\/?(bin|etc|proc|sys|dev)\//.test(name))).toEqual([]);
    expect(names.filter((name) => name.includes('.wh.')).length).toBeGreaterThan(3);
  });

  it('leaves no layer for a step that changed nothing, and says so in the history', async () => {
    const context = writeFiles(temp.dir('context'), {
      Dockerfile:
        'FROM layers-base\nRUN true\nRUN echo x > /x && rm /x && touch -r /keep /\nENV A=b\nRUN echo y > /y\n',
    });
    const out = join(temp.dir('layout'), 'oci');
    await mbuild.build(['-t', 'empty:test', '--output', `type=oci,tar=false,dest=${out}`, context]);
    const manifest = readJson<{ config: { digest: string }; layers: unknown[] }>(
      out,
      readJson<{ manifests: { digest: string }[] }>(out).manifests[0]?.digest,
    );
    const config = readJson<{
      history: { created_by: string; empty_layer?: boolean }[];
      rootfs: { diff_ids: string[] };
    }>(out, manifest.config.digest);
    expect(config.history.filter((entry) => entry.empty_layer !== true)).toHaveLength(
      config.rootfs.diff_ids.length,
    );
    expect(
      config.history
        .slice(-4)
        .map((entry) => [
          entry.created_by.replace(/ \/bin\/sh -c/, ''),
          entry.empty_layer ?? false,
        ]),
    ).toEqual([
      ['RUN true # buildkit', true],
      ['RUN echo x > /x && rm /x && touch -r /keep / # buildkit', expect.any(Boolean)],
      ['ENV A=b', true],
      ['RUN echo y > /y # buildkit', false],
    ]);
  });

  it('is the same in every build that starts from nothing, once times are fixed', async () => {
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM layers-base\nRUN sh /change.sh\nCOPY Dockerfile /\n',
    });
    const ids: string[] = [];
    for (let i = 0; i < 2; i++)
      ids.push(
        (
          await mbuild.build(
            ['--no-cache', '--build-arg', 'SOURCE_DATE_EPOCH=1600000000', context],
            { env: { SOURCE_DATE_EPOCH: '1600000000' } },
          )
        ).id,
      );
    expect(ids[0]).toMatch(/^sha256:/);
    expect(ids[1]).toBe(ids[0]);
  });

  it('carries a file over 8 GiB', async () => {
    const size = 8 * 2 ** 30 + 1;
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: `FROM layers-base AS make\nRUN dd if=/dev/null of=/huge bs=1 seek=${size} 2>/dev/null\nFROM scratch\nCOPY --from=make /huge /huge\n`,
    });
    const target = ['--target', 'make', '--output', 'type=tar,dest=-', context];
    const listing = await succeed(
      'sh',
      ['-c', '"$0" build "$@" 2>/dev/null | tar -tv | grep huge', MBUILD, ...target],
      { env: cleanEnv({ MBUILD_ROOT: mbuild.root }) },
    );
    expect(listing).toContain(` ${size} `);
  }, 300_000);
});

// The root itself is in no layer; each program makes it as it likes. Directories get the time of
// their last change, which differs between two runs; so do files that the script did not give a
// time.
function comparable(tree: readonly TreeEntry[]): TreeEntry[] {
  const timed = new Set(['timed', 'timed/old', 'timed/new', 'metadata/touched']);
  return tree
    .filter(({ path }) => path !== '.')
    .map(({ mtime, ...entry }) =>
      timed.has(entry.path) && mtime !== undefined ? { ...entry, mtime } : entry,
    );
}

function tagOf(layout: string): string {
  const { manifests } = readJson<{ manifests: { annotations?: Record<string, string> }[] }>(layout);
  return manifests[0]?.annotations?.['org.opencontainers.image.ref.name'] ?? '';
}

function blobPath(layout: string, digest: string): string {
  return join(layout, 'blobs/sha256', digest.replace('sha256:', ''));
}

function readJson<T>(layout: string, digest?: string): T {
  return JSON.parse(
    readFileSync(
      digest === undefined ? join(layout, 'index.json') : blobPath(layout, digest),
      'utf8',
    ),
  ) as T;
}
