import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { lock, tryLock, unlock } from '../../src/linux/flock';
import { decodeDevice } from '../../src/linux/device-number';
import { makeNode, makeWhiteout } from '../../src/linux/mknod';
import { fsPath, toRaw, toText } from '../../src/linux/paths';
import { bootId, runsHere, ownIdentity, startTimeOf } from '../../src/linux/process';
import {
  getOpenXattr,
  getXattr,
  listXattrs,
  readXattrs,
  removeXattr,
  setXattr,
} from '../../src/linux/xattr';

const isRoot = process.getuid?.() === 0;
const whenRoot = isRoot ? it : it.skip;
const needsRoot = isRoot ? '' : ' (skipped: needs root)';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'mbuild-linux-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

describe('raw paths', () => {
  it('survive the way to the disk and back byte by byte', () => {
    const name = 'caf\xe9 \xff\xfe';
    writeFileSync(fsPath(`${dir}/${name}`), '');
    expect(readdirSync(dir, { encoding: 'latin1' })).toEqual([name]);
  });

  it('show as text', () => {
    expect(toText(toRaw('ä/日本'))).toBe('ä/日本');
  });
});

describe('extended attributes', () => {
  it('are listed sorted, read, changed and removed', () => {
    const file = `${dir}/f\xff`;
    writeFileSync(fsPath(file), '');
    setXattr(file, 'user.b', Buffer.from('2'));
    setXattr(file, 'user.a', Buffer.from([0, 255, 0]));
    setXattr(file, 'user.empty', Buffer.alloc(0));
    expect(listXattrs(file)).toEqual(['user.a', 'user.b', 'user.empty']);
    expect([...readXattrs(file)]).toEqual([
      ['user.a', Buffer.from([0, 255, 0])],
      ['user.b', Buffer.from('2')],
      ['user.empty', Buffer.alloc(0)],
    ]);
    removeXattr(file, 'user.a');
    removeXattr(file, 'user.a');
    expect(getXattr(file, 'user.a')).toBeUndefined();
  });

  it('are read whole, whatever their number and size, by path and of an open file', () => {
    const file = `${dir}/many`;
    writeFileSync(file, '');
    const values = new Map(
      Array.from({ length: 12 }, (_, i) => [
        `user.${'n'.repeat(60)}.${10 + i}`,
        Buffer.alloc([0, 511, 512, 513, 900][i] ?? 1, i),
      ]),
    );
    for (const [name, value] of values) setXattr(file, name, value);
    expect(listXattrs(file)).toEqual([...values.keys()]);
    expect(readXattrs(file)).toEqual(values);
    const fd = openSync(file, 'r');
    try {
      for (const [name, value] of values) expect(getOpenXattr(fd, name)).toEqual(value);
      expect(getOpenXattr(fd, 'user.none')).toBeUndefined();
    } finally {
      closeSync(fd);
    }
    expect(() => getOpenXattr(-1, 'user.none')).toThrow(
      expect.objectContaining({ code: 'EBADF', syscall: 'fgetxattr' }),
    );
  });

  whenRoot(`of a symlink are its own, never its target's${needsRoot}`, () => {
    writeFileSync(`${dir}/target`, '');
    symlinkSync('target', `${dir}/link`);
    setXattr(`${dir}/link`, 'trusted.mark', Buffer.from('x'));
    expect(listXattrs(`${dir}/link`)).toEqual(['trusted.mark']);
    expect(listXattrs(`${dir}/target`)).toEqual([]);
  });

  it('of a missing file are an error with a code and the path', () => {
    expect(() => listXattrs(`${dir}/none`)).toThrow(
      expect.objectContaining({ code: 'ENOENT', path: `${dir}/none`, syscall: 'llistxattr' }),
    );
  });

  it('where there is no support are an empty list', () => {
    expect(listXattrs('/proc/self/status')).toEqual([]);
  });
});

describe('mknod', () => {
  whenRoot.each([
    ['char', { major: 5, minor: 1 }],
    ['block', { major: 4095, minor: 1_048_575 }],
  ] as const)(`makes a %s device %j${needsRoot}`, (kind, device) => {
    makeNode(`${dir}/d`, kind, 0o600, device);
    const stats = lstatSync(`${dir}/d`);
    expect(kind === 'char' ? stats.isCharacterDevice() : stats.isBlockDevice()).toBe(true);
    expect(decodeDevice(stats.rdev)).toEqual(device);
    expect(stats.mode & 0o7777).toBe(0o600);
  });

  whenRoot(`makes a whiteout${needsRoot}`, () => {
    makeWhiteout(`${dir}/w\xff`);
    const stats = lstatSync(fsPath(`${dir}/w\xff`));
    expect([stats.isCharacterDevice(), stats.rdev]).toEqual([true, 0]);
    expect(() => makeWhiteout(`${dir}/w\xff`)).toThrow(expect.objectContaining({ code: 'EEXIST' }));
  });

  it('makes a named pipe', () => {
    makeNode(`${dir}/p`, 'fifo', 0o644);
    expect(lstatSync(`${dir}/p`).isFIFO()).toBe(true);
  });
});

describe('flock', () => {
  it('lets several share a file and one alone have it', async () => {
    const [a, b] = [openSync(`${dir}/lock`, 'a'), openSync(`${dir}/lock`, 'a')];
    try {
      expect(tryLock(a, 'shared')).toBe(true);
      expect(tryLock(b, 'shared')).toBe(true);
      expect(tryLock(a, 'exclusive')).toBe(false);
      unlock(b);
      await lock(a, 'exclusive');
      expect(tryLock(b, 'shared')).toBe(false);
      const waiting = lock(b, 'shared');
      unlock(a);
      await waiting;
      expect(tryLock(a, 'exclusive')).toBe(false);
    } finally {
      closeSync(a);
      closeSync(b);
    }
  });

  it('stops waiting when it is aborted', async () => {
    const [a, b] = [openSync(`${dir}/lock`, 'a'), openSync(`${dir}/lock`, 'a')];
    try {
      await lock(a, 'exclusive');
      const abort = new AbortController();
      const waiting = lock(b, 'exclusive', abort.signal);
      abort.abort();
      await expect(waiting).rejects.toMatchObject({ name: 'AbortError' });
    } finally {
      closeSync(a);
      closeSync(b);
    }
  });
});

describe('processes', () => {
  it('are known beyond their pid', () => {
    const own = ownIdentity();
    expect(runsHere(own)).toBe(true);
    expect(runsHere({ ...own, startTime: own.startTime - 1 })).toBe(false);
    expect(runsHere({ ...own, boot: 'another' })).toBe(false);
    expect(bootId()).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('that ended are not alive', () => {
    const { pid } = spawnSync('true');
    expect(startTimeOf(pid)).toBeUndefined();
  });

  it('are found whatever their name', async () => {
    const child = spawn('sh', ['-c', 'cp /bin/sleep "$0/a) Z 1 2" && exec "$0/a) Z 1 2" 60', dir]);
    try {
      expect(startTimeOf(child.pid ?? 0)).toBeGreaterThan(0);
    } finally {
      child.kill('SIGKILL');
      await new Promise((resolve) => child.once('exit', resolve));
    }
  });
});
