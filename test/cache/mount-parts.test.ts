import { createHash } from 'node:crypto';
import { linkSync, mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cutMount, tarOfPart } from '../../src/cache/mount-parts';
import { tarTree } from '../../src/layer/diff';
import { useTemp, writeFiles } from '../support/temp';

const MB = 1 << 20;

describe('the parts of a cache mount', () => {
  const temp = useTemp();

  /** A file that takes no space on the disk. */
  function file(dir: string, name: string, size: number): void {
    writeFileSync(join(dir, name), '');
    truncateSync(join(dir, name), size);
  }

  /** A cache with 100 files of a megabyte in folders. */
  function largeCache(): string {
    const dir = temp.dir('cache');
    for (let i = 0; i < 100; i++) {
      mkdirSync(join(dir, `d${i % 10}`), { recursive: true });
      file(dir, `d${i % 10}/f${i}`, MB);
    }
    return dir;
  }

  function pathsOf(dir: string): string[] {
    return cutMount(dir).map(({ found }) =>
      found.map(({ entry }) => `${entry.path} ${entry.size}`).join('\n'),
    );
  }

  it('one behind the other are the tar of the whole', async () => {
    const dir = writeFiles(temp.dir('cache'), {
      'a/one': 'one',
      'a/two': 'two'.repeat(1000),
      z: '',
    });
    linkSync(join(dir, 'a/one'), join(dir, 'zz'));
    for (let i = 0; i < 6; i++) file(dir, `large${i}`, 3 * MB);
    const parts = cutMount(dir);
    expect(parts.length).toBeGreaterThan(1);
    expect(await hashOf(...parts.map(tarOfPart))).toBe(
      await hashOf(tarTree(dir, { xattrs: 'trusted' })),
    );
  });

  it('are some megabytes each', () => {
    const parts = pathsOf(largeCache());
    expect(parts.length).toBeGreaterThan(12);
    expect(parts.length).toBeLessThan(50);
  });

  it.each<readonly [string, (dir: string) => void]>([
    ['a file that comes', (dir) => file(dir, 'd5/new', MB)],
    ['a file that goes', (dir) => rmSync(join(dir, 'd5/f35'))],
    ['a file that grows', (dir) => truncateSync(join(dir, 'd5/f35'), 3 * MB)],
  ])('stay as they are but for the one of %s, and one beside it', (_, change) => {
    const dir = largeCache();
    const before = new Set(pathsOf(dir));
    change(dir);
    const fresh = pathsOf(dir).filter((part) => !before.has(part));
    expect(fresh.length).toBeGreaterThan(0);
    expect(fresh.length).toBeLessThanOrEqual(2);
  });

  it('of an empty cache are one, and a tar', async () => {
    const parts = cutMount(temp.dir('empty'));
    expect(parts).toHaveLength(1);
    expect(await hashOf(...parts.map(tarOfPart))).toBe(
      createHash('sha256').update(Buffer.alloc(1024)).digest('hex'),
    );
  });
});

async function hashOf(...streams: readonly AsyncIterable<Buffer>[]): Promise<string> {
  const hash = createHash('sha256');
  for (const stream of streams) for await (const chunk of stream) hash.update(chunk);
  return hash.digest('hex');
}
