import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { FileCacheStore } from '../../src/cache/file-cache';

describe('remembered digests', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(path.join(os.tmpdir(), 'mbuild-test-cache-'));
    mkdirSync(path.join(root, 'tmp'));
    mkdirSync(path.join(root, 'cache', 'digests'), { recursive: true });
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it('are told to the next process', () => {
    new FileCacheStore(root).remember('name', 'digest');
    expect(new FileCacheStore(root).recall('name')).toBe('digest');
    expect(new FileCacheStore(root).recall('other')).toBeUndefined();
  });

  it.each(['', 'null', '{', '7'])('count as forgotten where the file holds %j', (content) => {
    writeFileSync(path.join(root, 'cache', 'digests', 'name'), content);
    expect(new FileCacheStore(root).recall('name')).toBeUndefined();
  });
});
