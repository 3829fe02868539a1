import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { FileCacheStore } from '../../src/cache/file-cache';
import type { CacheKey, ResultId } from '../../src/cache/key';
import type { CacheRecord } from '../../src/cache/record';

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

describe('copies', () => {
  const parent = 'a'.repeat(64) as ResultId;
  const record: CacheRecord = {
    version: 1,
    key: 'b'.repeat(64) as CacheKey,
    input: { kind: 'copy', parent, inputs: { dest: '/' } },
    result: parent,
    created: '2020-01-01T00:00:00Z',
    durationMs: 1,
  };
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(path.join(os.tmpdir(), 'mbuild-test-cache-'));
    mkdirSync(path.join(root, 'tmp'));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it('onto a tree are known to other processes from the first record to the last', () => {
    const cache = new FileCacheStore(root);
    expect(cache.knowsCopyOnto(parent)).toBe(false);
    cache.put(record);
    expect(new FileCacheStore(root).knowsCopyOnto(parent)).toBe(true);
    expect(new FileCacheStore(root).knowsCopyOnto('c'.repeat(64) as ResultId)).toBe(false);
    cache.delete(record.key);
    expect(new FileCacheStore(root).knowsCopyOnto(parent)).toBe(false);
  });

  it('that a loss of power took from the index are in it again after a prune', () => {
    const cache = new FileCacheStore(root);
    cache.put(record);
    rmSync(path.join(root, 'cache', 'families'), { recursive: true });
    cache.forget(0);
    expect(cache.knowsCopyOnto(parent)).toBe(true);
  });

  it.each(['run', 'mkdir'])('are not what a record of kind %s is', (kind) => {
    new FileCacheStore(root).put({ ...record, input: { ...record.input, kind } });
    expect(new FileCacheStore(root).knowsCopyOnto(parent)).toBe(false);
  });
});
