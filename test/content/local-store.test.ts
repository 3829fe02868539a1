import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { LocalContentStore } from '../../src/content/local-store';
import { formatOwner } from '../../src/content/owner';
import { bootId, ownIdentity } from '../../src/linux/process';
import { lstatOf } from '../../src/linux/stat';
import { getXattr, removeXattr, setXattr } from '../../src/linux/xattr';
import { digestOf, hexOf } from '../../src/oci/digest';

let root: string;
beforeEach(() => (root = mkdtempSync(path.join(tmpdir(), 'mbuild-content-'))));
afterEach(() => rmSync(root, { recursive: true, force: true }));

const BYTES = Buffer.from('some bytes of a blob');
const DIGEST = digestOf(BYTES);

async function* chunks(...parts: (string | Buffer)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield Buffer.from(part);
}

/** A name in tmp like one of a process that has ended. */
function abandon(file: string): string {
  const dead = formatOwner({ ...ownIdentity(), startTime: 1 });
  const name = `${file.slice(0, file.lastIndexOf('.'))}.${dead}`;
  renameSync(file, name);
  return name;
}

describe('the content store', () => {
  it('is an OCI image layout that other users may not enter', () => {
    new LocalContentStore(path.join(root, 'store'));
    expect(JSON.parse(readFileSync(path.join(root, 'store', 'oci-layout'), 'utf8'))).toEqual({
      imageLayoutVersion: '1.0.0',
    });
    expect(JSON.parse(readFileSync(path.join(root, 'store', 'index.json'), 'utf8'))).toEqual({
      schemaVersion: 2,
      manifests: [],
    });
    expect(statSync(path.join(root, 'store')).mode & 0o777).toBe(0o700);
  });

  it('keeps what it is given under its digest', async () => {
    const store = new LocalContentStore(root);
    await expect(
      store.ingest(chunks('some bytes', ' of a blob'), { digest: DIGEST, size: BYTES.length }),
    ).resolves.toEqual({ digest: DIGEST, size: BYTES.length });
    expect(store.size(DIGEST)).toBe(BYTES.length);
    expect(store.read(DIGEST)).toEqual(BYTES);
    expect(readFileSync(path.join(root, 'blobs', 'sha256', hexOf(DIGEST)))).toEqual(BYTES);
    expect(store.list()).toEqual([DIGEST]);
    expect(await new Response(store.open(DIGEST, { start: 5 }) as never).text()).toBe(
      'bytes of a blob',
    );
    store.setAside(DIGEST);
    store.setAside(DIGEST);
    expect(store.size(DIGEST)).toBeUndefined();
  });

  it.each([
    ['other bytes', 'DIGEST_MISMATCH', BYTES.length, ['same lengths of bytes']],
    ['too few bytes', 'SIZE_MISMATCH', BYTES.length, ['some']],
    ['too many bytes', 'SIZE_MISMATCH', BYTES.length, [BYTES, 'more']],
  ])('refuses %s with %s and keeps nothing of them', async (_, code, size, parts) => {
    const store = new LocalContentStore(root);
    const text = parts
      .join('')
      .slice(0, _ === 'other bytes' ? size : undefined)
      .padEnd(_ === 'other bytes' ? size : 0);
    await expect(store.ingest(chunks(text), { digest: DIGEST, size })).rejects.toMatchObject({
      code,
    });
    expect(store.list()).toEqual([]);
    expect(readdirSync(path.join(root, 'tmp'))).toEqual([]);
  });

  it('keeps nothing of a source that breaks off', async () => {
    const store = new LocalContentStore(root);
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield BYTES;
      throw new Error('cable cut');
    }
    await expect(store.ingest(broken())).rejects.toThrow('cable cut');
    expect(store.list()).toEqual([]);
    expect(readdirSync(path.join(root, 'tmp'))).toEqual([]);
  });

  it('notices a blob that changed on disk', () => {
    const store = new LocalContentStore(root);
    store.write(BYTES);
    writeFileSync(store.path(DIGEST), 'some bytes of a bl0b');
    expect(() => store.read(DIGEST)).toThrow(expect.objectContaining({ code: 'STORE_CORRUPT' }));
  });

  describe('hands out a blob made sure of', () => {
    const NOTE = 'user.mbuild.verified';
    const other = 'some bytes of a bl0b';
    let store: LocalContentStore;
    beforeEach(async () => {
      store = new LocalContentStore(root);
      await store.ingest(chunks(BYTES));
    });
    const handOut = (): Promise<string> => new Response(store.openVerified(DIGEST) as never).text();

    it('and notices what was written to it since', async () => {
      await expect(handOut()).resolves.toBe('some bytes of a blob');
      writeFileSync(store.path(DIGEST), other);
      await expect(handOut()).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
      expect(store.size(DIGEST)).toBeUndefined();
    });

    it('and notices what it lost before the machine was started', async () => {
      writeFileSync(store.path(DIGEST), other);
      const { size, mtimeMs } = lstatOf(store.path(DIGEST)) ?? statSync(store.path(DIGEST));
      setXattr(
        store.path(DIGEST),
        NOTE,
        Buffer.from(`00000000-0000-0000-0000-000000000000 ${size} ${mtimeMs}`),
      );
      await expect(handOut()).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
    });

    it('and remembers that for the boot', async () => {
      removeXattr(store.path(DIGEST), NOTE);
      await expect(handOut()).resolves.toBe('some bytes of a blob');
      expect(String(getXattr(store.path(DIGEST), NOTE))).toMatch(
        new RegExp(`^${bootId()} ${BYTES.length} `),
      );
    });
  });

  it('says which blob is missing', () => {
    const store = new LocalContentStore(root);
    expect(() => store.read(DIGEST)).toThrow(
      expect.objectContaining({ code: 'STORE_CORRUPT', message: expect.stringContaining(DIGEST) }),
    );
    expect(() => store.open(DIGEST)).toThrow(expect.objectContaining({ code: 'STORE_CORRUPT' }));
  });

  it('makes a partial download the blob once it is whole', async () => {
    const store = new LocalContentStore(root);
    appendFileSync(store.partial(DIGEST).path, BYTES.subarray(0, 4));
    expect(store.partial(DIGEST).size).toBe(4);
    expect(store.size(DIGEST)).toBeUndefined();
    appendFileSync(store.partial(DIGEST).path, BYTES.subarray(4));
    await store.adopt({ digest: DIGEST, size: BYTES.length });
    expect(store.read(DIGEST)).toEqual(BYTES);
  });

  it('deletes a partial download that turns out wrong', async () => {
    const store = new LocalContentStore(root);
    appendFileSync(store.partial(DIGEST).path, 'wrong');
    await expect(store.adopt({ digest: DIGEST })).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
    expect(store.partial(DIGEST).size).toBe(0);
  });

  it('adopts the empty blob, for which nothing comes', async () => {
    const store = new LocalContentStore(root);
    const empty = digestOf('');
    await store.adopt({ digest: empty, size: 0 });
    expect(store.size(empty)).toBe(0);
  });

  it('goes on with the partial download of a process that has ended, and not with that of a living one', () => {
    const living = new LocalContentStore(root).partial(DIGEST);
    writeFileSync(living.path, BYTES.subarray(0, 7));
    expect(new LocalContentStore(root).partial(DIGEST).size).toBe(0);
    abandon(living.path);
    expect(new LocalContentStore(root).partial(DIGEST).size).toBe(7);
  });
});
