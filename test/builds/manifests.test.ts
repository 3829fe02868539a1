import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import {
  loadManifest,
  readManifest,
  treePath,
  storeManifest,
  type SelectionManifest,
} from '../../src/cache/manifest';
import { HASH_KEPT, packEntries, unpackEntries } from '../../src/cache/manifest-entries';
import type { EntryRecord } from '../../src/context/digest';
import { BuildHistory } from '../../src/history/file-history';
import { collectExplanations } from '../../src/history/collect';
import { compareManifests } from '../../src/history/compare-files';
import { useTemp } from '../support/temp';

const digest = `sha256:${'a'.repeat(64)}`;
const raw = fc
  .array(
    fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)),
    { minLength: 1, maxLength: 8 },
  )
  .map((chars) => chars.join(''));
const entry: fc.Arbitrary<EntryRecord> = fc.record({
  source: fc.constant(0),
  path: raw,
  type: fc.constantFrom('file', 'directory', 'symlink', 'link', 'fifo', 'char', 'block'),
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: fc.nat(),
  gid: fc.nat(),
  size: fc.option(fc.nat(), { nil: undefined }),
  content: fc.option(fc.constantFrom('b'.repeat(64), 'e'.repeat(64)), { nil: undefined }),
  xattrs: fc.option(fc.constantFrom('security.capability=01', 'user.a=02'), { nil: undefined }),
  target: fc.option(raw, { nil: undefined }),
  device: fc.option(fc.constant('1:3'), { nil: undefined }),
});

/** Paths that are told apart as they are shown. */
const readable = entry.map((one): EntryRecord => ({
  ...one,
  path: one.path.replace(/[\x80-\xff]/g, 'x'),
}));

function manifestOf(entries: readonly EntryRecord[]): SelectionManifest {
  return { digest, ofContext: true, places: [''], entries: packEntries(entries) };
}

describe('descriptions of selections', () => {
  const temp = useTemp();

  it('come back as they were stored, but for the ends of hashes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(entry, { selector: ({ path }) => path, maxLength: 20 }),
        raw,
        async (entries, place) => {
          const root = temp.dir('manifest');
          const manifest: SelectionManifest = {
            digest,
            ofContext: true,
            places: [place],
            entries: packEntries(entries),
          };
          await storeManifest(root, manifest);
          const back = await loadManifest(root, digest);
          expect(back).toEqual(manifest);
          expect(back === undefined ? undefined : unpackEntries(back.entries)).toEqual(
            entries.map((one) => ({ ...one, content: one.content?.slice(0, 2 * HASH_KEPT) })),
          );
        },
      ),
      { numRuns: 50 },
    );
  });

  it('are told apart by the entries that differ, wherever those lie', () => {
    const name = ({ path, ...facts }: EntryRecord): [string, unknown] => [
      treePath({ places: [''] }, { path, ...facts }),
      facts,
    ];
    fc.assert(
      fc.property(
        fc.uniqueArray(readable, { selector: ({ path }) => path, maxLength: 12 }),
        fc.uniqueArray(readable, { selector: ({ path }) => path, maxLength: 3 }),
        fc.nat(12),
        fc.nat(3),
        (all, others, at, removed) => {
          const paths = new Set(others.map(({ path }) => path));
          const now = [...all.slice(0, at), ...others, ...all.slice(at + removed)].filter(
            (one, i, list) =>
              !paths.has(one.path) || list.findIndex(({ path }) => path === one.path) === i,
          );
          const told = compareManifests(manifestOf(all), manifestOf(now));
          const [before, after] = [new Map(all.map(name)), new Map(now.map(name))];
          const changed = [...new Set([...before.keys(), ...after.keys()])].filter(
            (path) => !isDeepStrictEqual(before.get(path), after.get(path)),
          );
          // Directories are told where nothing is in them.
          expect(
            [...new Set(told.map(({ path }) => path))].filter((path) => !changed.includes(path)),
          ).toEqual([]);
          const isDirectory = (path: string): boolean =>
            [before, after].some(
              (side) => (side.get(path) as EntryRecord | undefined)?.type === 'directory',
            );
          expect(
            changed.filter(
              (path) => !isDirectory(path) && told.every((cause) => cause.path !== path),
            ),
          ).toEqual([]);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('that lie about themselves are compared as far as they go', async () => {
    const whole = manifestOf([
      {
        source: 0,
        path: 'a',
        type: 'file',
        mode: 0o644,
        uid: 0,
        gid: 0,
        size: 1,
        content: 'b'.repeat(64),
      },
    ]);
    const lying: SelectionManifest = {
      ...whole,
      entries: {
        count: 7,
        bytes: -1,
        hashes: Buffer.from('b'),
        lines: Buffer.from('x|y\0\0|||\n\0'),
      },
    };
    expect(compareManifests(whole, lying)).toEqual([
      { kind: 'file', path: 'a', change: 'removed' },
    ]);
    expect(compareManifests(lying, whole)).toEqual([
      { kind: 'file', path: 'a', change: 'added', ignorable: true },
    ]);
    for (const head of [
      '{"version":2,"count":1e9,"bytes":0,"places":[]}',
      '{"version":2,"count":-1,"bytes":0,"places":[]}',
      '{"version":2,"count":0,"bytes":0,"places":[1]}',
      '{"version":3}',
      'null',
      '',
    ]) {
      expect(await readManifest(Buffer.from(`${head}\nxx`), digest)).toBeUndefined();
    }
  });

  it('that are damaged count as missing', async () => {
    const root = temp.dir('damaged');
    await storeManifest(root, { digest, ofContext: true, places: [''], entries: packEntries([]) });
    const folder = join(root, 'cache', 'manifests');
    for (const name of readdirSync(folder)) writeFileSync(join(folder, name), 'x');
    expect(await loadManifest(root, digest)).toBeUndefined();
  });

  it('take less than a hundredth of what they describe', async () => {
    const root = temp.dir('size');
    const entries = Array.from({ length: 2000 }, (_, i): EntryRecord => ({
      source: 0,
      path: `src/module-${i % 40}/file-${i}.ts`,
      type: 'file',
      mode: 0o644,
      uid: 0,
      gid: 0,
      size: 4000 + i,
      content: (i * 7919).toString(16).padStart(12, '0').repeat(6).slice(0, 64),
    }));
    await storeManifest(root, {
      digest,
      ofContext: true,
      places: [''],
      entries: packEntries(entries),
    });
    const [stored] = readdirSync(join(root, 'cache', 'manifests'), { withFileTypes: true });
    const { size } = await import('node:fs').then(({ statSync }) =>
      statSync(join(root, 'cache', 'manifests', stored?.name ?? '')),
    );
    expect(size).toBeLessThan(
      entries.reduce((sum, { size: bytes }) => sum + (bytes ?? 0), 0) / 100,
    );
  });

  it('go when nothing refers to them any more', async () => {
    const root = temp.dir('collect');
    const kept = `sha256:${'c'.repeat(64)}`;
    for (const name of [digest, kept])
      await storeManifest(root, {
        digest: name,
        ofContext: true,
        places: [''],
        entries: packEntries([]),
      });
    new BuildHistory(root).put({
      version: 1,
      id: 'build1',
      project: 'project',
      started: '',
      durationMs: 0,
      outcome: 'done',
      context: '',
      dockerfile: '',
      bases: [],
      rows: [],
      cache: { hits: 0, misses: 1, hitRatio: 0, secondsSaved: 0, bytesSaved: 0 },
      steps: [
        {
          name: '',
          stage: '',
          index: 0,
          line: 1,
          text: '',
          key: 'k',
          cached: false,
          durationMs: 0,
          row: 1,
          input: { kind: 'copy', parent: 'p' as never, inputs: { sources: [kept] } },
        },
      ],
    });
    // As an earlier version called its own.
    writeFileSync(join(root, 'cache', 'manifests', 'c'.repeat(64)), 'x');
    collectExplanations(root, { list: () => [] });
    expect(readdirSync(join(root, 'cache', 'manifests'))).toEqual([`${'c'.repeat(64)}.3`]);
  });
});
