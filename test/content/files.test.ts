import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { followFile } from '../../src/content/files';

let root: string;
beforeEach(() => (root = mkdtempSync(path.join(tmpdir(), 'mbuild-files-'))));
afterEach(() => rmSync(root, { recursive: true }));

describe('a file that is written', () => {
  it('is read while it grows and after it got its name, up to its end', async () => {
    const file = path.join(root, 'temporary');
    writeFileSync(file, 'one ');
    let isWhole = false;
    const read: string[] = [];
    for await (const chunk of followFile(file, () => isWhole, new AbortController().signal)) {
      read.push(chunk.toString());
      if (read.length === 1) appendFileSync(file, 'two ');
      if (read.length === 2) {
        renameSync(file, path.join(root, 'final'));
        appendFileSync(path.join(root, 'final'), 'three');
        isWhole = true;
      }
    }
    expect(read).toEqual(['one ', 'two ', 'three']);
  });

  it('is not waited for any more once nobody wants it', async () => {
    const file = path.join(root, 'temporary');
    writeFileSync(file, '');
    const stop = new AbortController();
    const next = followFile(file, () => false, stop.signal).next();
    stop.abort(new Error('enough'));
    await expect(next).rejects.toThrow('enough');
  });
});
