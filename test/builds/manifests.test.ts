import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { loadManifest, storeManifest, type SelectionManifest } from '../../src/cache/manifest';
import type { EntryRecord } from '../../src/context/digest';
import { BuildHistory } from '../../src/history/file-history';
import { collectExplanations } from '../../src/history/collect';
import { compareManifests } from '../../src/history/compare';
import { useTemp } from '../support/temp';

const digest = `sha256:${'a'.repeat(64)}`;
const raw = fc.array(fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)), { minLength: 1, maxLength: 8 }).map((chars) => chars.join(''));
const entry: fc.Arbitrary<EntryRecord> = fc.record({
  source: fc.constant(0), path: raw, type: fc.constantFrom('file', 'directory', 'symlink', 'link', 'fifo', 'char', 'block'), mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: fc.nat(), gid: fc.nat(), size: fc.option(fc.nat(), { nil: undefined }), content: fc.option(fc.constant('b'.repeat(64)), { nil: undefined }),
  capability: fc.option(fc.constant('01'), { nil: undefined }), target: fc.option(raw, { nil: undefined }), device: fc.option(fc.constant('1:3'), { nil: undefined }),
});

describe('descriptions of selections', () => {
  const temp = useTemp();

  it('come back as they were stored, but for the ends of hashes', async () => {
    await fc.assert(fc.asyncProperty(fc.uniqueArray(entry, { selector: ({ path }) => path, maxLength: 20 }), raw, async (entries, place) => {
      const root = temp.dir('manifest');
      const manifest: SelectionManifest = { digest, ofContext: true, places: [place], entries };
      await storeManifest(root, manifest);
      const back = await loadManifest(root, digest);
      expect(back === undefined ? undefined : compareManifests(manifest, back)).toEqual([]);
      expect(back?.entries.map(({ path, size, target }) => [path, size, target])).toEqual(entries.map(({ path, size, target }) => [path, size, target]));
    }), { numRuns: 50 });
  });

  it('that are damaged count as missing', async () => {
    const root = temp.dir('damaged');
    await storeManifest(root, { digest, ofContext: true, places: [''], entries: [] });
    const folder = join(root, 'cache', 'manifests');
    for (const name of readdirSync(folder)) writeFileSync(join(folder, name), 'x');
    expect(await loadManifest(root, digest)).toBeUndefined();
  });

  it('take less than a hundredth of what they describe', async () => {
    const root = temp.dir('size');
    const entries = Array.from({ length: 2000 }, (_, i): EntryRecord => ({ source: 0, path: `src/module-${i % 40}/file-${i}.ts`, type: 'file', mode: 0o644, uid: 0, gid: 0, size: 4000 + i, content: (i * 7919).toString(16).padStart(12, '0').repeat(6).slice(0, 64) }));
    await storeManifest(root, { digest, ofContext: true, places: [''], entries });
    const [stored] = readdirSync(join(root, 'cache', 'manifests'), { withFileTypes: true });
    const { size } = await import('node:fs').then(({ statSync }) => statSync(join(root, 'cache', 'manifests', stored?.name ?? '')));
    expect(size).toBeLessThan(entries.reduce((sum, { size: bytes }) => sum + (bytes ?? 0), 0) / 100);
  });

  it('go when nothing refers to them any more', async () => {
    const root = temp.dir('collect');
    const kept = `sha256:${'c'.repeat(64)}`;
    for (const name of [digest, kept]) await storeManifest(root, { digest: name, ofContext: true, places: [''], entries: [] });
    new BuildHistory(root).put({
      version: 1, id: 'build1', project: 'project', started: '', durationMs: 0, outcome: 'done', context: '', dockerfile: '', bases: [], rows: [], cache: { hits: 0, misses: 1, hitRatio: 0, secondsSaved: 0, bytesSaved: 0 },
      steps: [{ name: '', stage: '', index: 0, line: 1, text: '', key: 'k', cached: false, durationMs: 0, row: 1, input: { kind: 'copy', parent: 'p' as never, inputs: { sources: [kept] } } }],
    });
    collectExplanations(root, { list: () => [] });
    expect(readdirSync(join(root, 'cache', 'manifests'))).toEqual(['c'.repeat(64)]);
  });
});
