import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  closeSync,
  createWriteStream,
  readFileSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import fc from 'fast-check';
import { applyLayer } from '../../src/layer/apply';
import { hashLargeTree, hashSmallTree, hashTree, tarTree, treeDigest } from '../../src/layer/diff';
import { makeNode, makeWhiteout } from '../../src/linux/mknod';
import { fsPath } from '../../src/linux/paths';
import { Threads } from '../../src/linux/threads';
import { setXattr } from '../../src/linux/xattr';
import { LIMITS, describeTree, isRoot, needsRoot, useDirectory, whenRoot } from './trees';

const dir = useDirectory();
const options = { xattrs: 'trusted', limits: LIMITS } as const;

async function writeTar(tree: string, file: string): Promise<void> {
  await pipeline(Readable.from(tarTree(tree, { xattrs: 'trusted' })), createWriteStream(file));
}

const hasPython = spawnSync('python3', ['--version']).status === 0;
const whenPython = hasPython ? it : it.skip;
const needsPython = hasPython ? '' : ' (skipped: needs python3)';

/** A tree with all that is hard in a tar. */
function makeHardTree(root: string): void {
  mkdirSync(`${root}/dir`, { recursive: true });
  writeFileSync(`${root}/dir/a`, 'content of a\n');
  linkSync(`${root}/dir/a`, `${root}/dir/z-link`);
  linkSync(`${root}/dir/a`, `${root}/aa-link-first-by-name`);
  writeFileSync(`${root}/empty`, '');
  writeFileSync(`${root}/block`, Buffer.alloc(512, 1));
  writeFileSync(`${root}/setuid`, 'x');
  symlinkSync('../nowhere', `${root}/dir/dangling`);
  symlinkSync(`/${'long/'.repeat(40)}target`, `${root}/long-link`);
  const deep = `${root}/${'d'.repeat(90)}/${'e'.repeat(90)}/${'f'.repeat(90)}`;
  mkdirSync(deep, { recursive: true });
  writeFileSync(`${deep}/${'n'.repeat(120)}`, 'deep');
  linkSync(`${deep}/${'n'.repeat(120)}`, `${deep}/other`);
  writeFileSync(`${root}/${'n'.repeat(99)}`, '99');
  writeFileSync(`${root}/${'n'.repeat(100)}`, '100');
  writeFileSync(`${root}/${'n'.repeat(101)}`, '101');
  mkdirSync(`${root}/${'d'.repeat(100)}`);
  writeFileSync(`${root}/dä日`, 'UTF-8');
  symlinkSync('dä日', `${root}/to-utf8`);
  writeFileSync(fsPath(`${root}/caf\xe9\xff`), 'latin1');
  mkdirSync(fsPath(`${root}/d\xfe`));
  symlinkSync(fsPath('caf\xe9\xff'), `${root}/to-latin1`);
  makeNode(`${root}/pipe`, 'fifo', 0o640);
  lutimesSync(`${root}/dir/dangling`, 1, 1);
  utimesSync(`${root}/empty`, 0, 0);
  utimesSync(`${root}/block`, 9e9, 9e9);
  if (isRoot) {
    makeNode(`${root}/tty`, 'char', 0o620, { major: 5, minor: 1 });
    makeNode(`${root}/disk`, 'block', 0o600, { major: 259, minor: 3 });
    chownSync(`${root}/dir/a`, 12, 34);
    chownSync(`${root}/setuid`, 3_000_000, 2_097_151);
    chownSync(`${root}/dir`, 1000, 1000);
  }
  chmodSync(`${root}/setuid`, 0o6755);
  chmodSync(`${root}/dir`, 0o3771);
}

describe('a tree', () => {
  it('comes out of its tar as it went in, with the same DiffID', async () => {
    makeHardTree(`${dir()}/tree`);
    setXattr(`${dir()}/tree/dir/a`, 'user.note', Buffer.from([0, 10, 61, 255]));
    setXattr(`${dir()}/tree/dir/a`, 'user.a=b', Buffer.from('=\n'));
    if (isRoot) {
      setXattr(
        `${dir()}/tree/setuid`,
        'security.capability',
        Buffer.from('0100000200200000000000000000000000000000', 'hex'),
      );
      setXattr(`${dir()}/tree/dir/dangling`, 'trusted.mark', Buffer.from('link'));
    }
    await writeTar(`${dir()}/tree`, `${dir()}/tree.tar`);
    const applied = await applyLayer(
      { path: `${dir()}/tree.tar`, compression: 'none' },
      `${dir()}/out`,
      options,
    );
    expect(describeTree(`${dir()}/out`)).toEqual(describeTree(`${dir()}/tree`));
    const summary = hashTree(`${dir()}/tree`, { xattrs: 'trusted' });
    expect(hashTree(`${dir()}/out`, { xattrs: 'trusted' })).toEqual(summary);
    expect(applied).toEqual({ ...summary, implied: [''], foreignLinks: [] });
    expect(hashSmallTree(`${dir()}/tree`, { xattrs: 'trusted' })).toEqual(summary);
  });

  it('is read by GNU tar as it is', async () => {
    makeHardTree(`${dir()}/tree`);
    await writeTar(`${dir()}/tree`, `${dir()}/tree.tar`);
    mkdirSync(`${dir()}/out`);
    execFileSync('tar', [
      '-xpf',
      `${dir()}/tree.tar`,
      '-C',
      `${dir()}/out`,
      '--warning=no-timestamp',
    ]);
    expect(describeTree(`${dir()}/out`)).toEqual(describeTree(`${dir()}/tree`));
  });

  whenPython(`is read by python as it is${needsPython}`, async () => {
    // Python gives symlinks the time of the extraction.
    makeHardTree(`${dir()}/tree`);
    await writeTar(`${dir()}/tree`, `${dir()}/tree.tar`);
    const program =
      'import sys,tarfile\nt=tarfile.open(sys.argv[1])\nt.errorlevel=2\nt.extractall(sys.argv[2], numeric_owner=True)';
    execFileSync('python3', ['-W', 'ignore', '-c', program, `${dir()}/tree.tar`, `${dir()}/out`]);
    expect(describeTree(`${dir()}/out`, { linkTimes: false })).toEqual(
      describeTree(`${dir()}/tree`, { linkTimes: false }),
    );
  });

  it.each([['gnu'], ['oldgnu'], ['posix']])(
    'that GNU tar wrote in %s format is read as it was',
    async (format) => {
      makeHardTree(`${dir()}/tree`);
      setXattr(`${dir()}/tree/dir/a`, 'user.note', Buffer.from('x'));
      const xattrs = format === 'posix' ? ['--xattrs'] : [];
      execFileSync('tar', [
        `--format=${format}`,
        ...xattrs,
        '--sort=name',
        '-cf',
        `${dir()}/tree.tar`,
        '-C',
        `${dir()}/tree`,
        '.',
      ]);
      await applyLayer({ path: `${dir()}/tree.tar`, compression: 'none' }, `${dir()}/out`, options);
      const keep = { xattrs: format === 'posix' };
      expect(describeTree(`${dir()}/out`, keep)).toEqual(describeTree(`${dir()}/tree`, keep));
    },
  );

  it.each([['v7'], ['ustar']])(
    'that GNU tar wrote in %s format is read as far as that reaches',
    async (format) => {
      mkdirSync(`${dir()}/tree/sub`, { recursive: true });
      writeFileSync(`${dir()}/tree/sub/a`, 'a');
      linkSync(`${dir()}/tree/sub/a`, `${dir()}/tree/sub/b`);
      symlinkSync('a', `${dir()}/tree/sub/c`);
      execFileSync('tar', [
        `--format=${format}`,
        '-cf',
        `${dir()}/tree.tar`,
        '-C',
        `${dir()}/tree`,
        'sub',
      ]);
      const applied = await applyLayer(
        { path: `${dir()}/tree.tar`, compression: 'none' },
        `${dir()}/out`,
        options,
      );
      expect(describeTree(`${dir()}/out`)).toEqual(describeTree(`${dir()}/tree`));
      expect(applied.implied).toEqual(['']);
    },
  );

  whenPython.each(['USTAR_FORMAT', 'GNU_FORMAT', 'PAX_FORMAT'])(
    `that python wrote in %s is read as it was${needsPython}`,
    async (format) => {
      mkdirSync(`${dir()}/tree/sub`, { recursive: true });
      writeFileSync(`${dir()}/tree/sub/a`, 'a'.repeat(1000));
      symlinkSync('a', `${dir()}/tree/sub/c`);
      if (format !== 'USTAR_FORMAT')
        writeFileSync(fsPath(`${dir()}/tree/sub/caf\xe9${'x'.repeat(200)}`), 'long');
      execFileSync('python3', [
        '-c',
        `import sys,tarfile\nt=tarfile.open(sys.argv[1],'w',format=tarfile.${format},pax_headers={'comment':'global'})\nt.add(sys.argv[2],'.')\nt.close()`,
        `${dir()}/tree.tar`,
        `${dir()}/tree`,
      ]);
      await applyLayer({ path: `${dir()}/tree.tar`, compression: 'none' }, `${dir()}/out`, options);
      expect(describeTree(`${dir()}/out`)).toEqual(describeTree(`${dir()}/tree`));
    },
  );

  it.each([
    ['gnu', []],
    ['posix', ['--sparse-version=0.0']],
    ['posix', ['--sparse-version=0.1']],
    ['posix', ['--sparse-version=1.0']],
  ])(
    'with sparse files that GNU tar wrote in %s format %j is read as it was',
    async (format, flags) => {
      mkdirSync(`${dir()}/tree`);
      writeFileSync(`${dir()}/tree/all-hole`, '');
      truncateSync(`${dir()}/tree/all-hole`, 1_000_003);
      const fd = openSync(`${dir()}/tree/many`, 'w');
      for (let i = 0; i < 60; i++) writeSync(fd, `piece ${i}`, i * 40_000 + 9);
      closeSync(fd);
      writeFileSync(`${dir()}/tree/z-plain`, 'plain');
      execFileSync('tar', [
        `--format=${format}`,
        '-S',
        ...flags,
        '-cf',
        `${dir()}/tree.tar`,
        '-C',
        `${dir()}/tree`,
        '.',
      ]);
      await applyLayer({ path: `${dir()}/tree.tar`, compression: 'none' }, `${dir()}/out`, options);
      expect(describeTree(`${dir()}/out`)).toEqual(describeTree(`${dir()}/tree`));
    },
  );

  it('of any shape comes out as it went in', async () => {
    let run = 0;
    const name = fc
      .array(
        fc.oneof(
          { weight: 8, arbitrary: fc.constantFrom(...'abAB.-+ ~') },
          fc
            .integer({ min: 1, max: 255 })
            .filter((byte) => byte !== 47)
            .map((byte) => String.fromCharCode(byte)),
        ),
        { minLength: 1, maxLength: 130 },
      )
      .map((chars) => chars.join(''))
      .filter((text) => text !== '.' && text !== '..' && !text.startsWith('.wh.'));
    const attributes = {
      name,
      mode: fc.integer({ min: 0, max: 0o7777 }),
      mtime: fc.integer({ min: 0, max: 2 ** 34 - 1 }),
      text: fc.string({ maxLength: 1200 }),
    };
    interface Node {
      readonly name: string;
      readonly mode: number;
      readonly mtime: number;
      readonly text: string;
      readonly kind: 'file' | 'link' | 'dir';
      readonly children: readonly Node[];
    }
    const { node } = fc.letrec<{ node: Node }>((tie) => ({
      node: fc.oneof(
        { maxDepth: 3, depthIdentifier: 'tree' },
        fc.record({
          ...attributes,
          kind: fc.constantFrom('file' as const, 'link' as const),
          children: fc.constant([]),
        }),
        fc.record({
          ...attributes,
          kind: fc.constant('dir' as const),
          children: fc.array(tie('node'), { maxLength: 4, depthIdentifier: 'tree' }),
        }),
      ),
    }));
    const make = (parent: string, nodes: readonly Node[]): void => {
      for (const { name: own, mode, mtime, kind, text, children } of new Map(
        nodes.map((each) => [each.name, each]),
      ).values()) {
        const at = `${parent}/${own}`;
        if (kind === 'link')
          symlinkSync(
            fsPath(
              text
                .replaceAll('\0', '')
                .slice(0, 300)
                .replace(/[^\x00-\xff]/g, '?') || 'x',
            ),
            fsPath(at),
          );
        else if (kind === 'file') writeFileSync(fsPath(at), text);
        else {
          mkdirSync(fsPath(at));
          make(at, children);
        }
        if (kind !== 'link') chmodSync(fsPath(at), isRoot ? mode : mode | 0o700);
        lutimesSync(fsPath(at), mtime, mtime);
      }
    };
    await fc.assert(
      fc.asyncProperty(fc.array(node, { maxLength: 6 }), async (nodes) => {
        const at = `${dir()}/${run++}`;
        mkdirSync(`${at}/tree`, { recursive: true });
        make(`${at}/tree`, nodes);
        await writeTar(`${at}/tree`, `${at}/tar`);
        const applied = await applyLayer(
          { path: `${at}/tar`, compression: 'none' },
          `${at}/out`,
          options,
        );
        expect(describeTree(`${at}/out`)).toEqual(describeTree(`${at}/tree`));
        expect(applied.diffId).toBe(hashTree(`${at}/out`, { xattrs: 'trusted' }).diffId);
      }),
      { numRuns: 60 },
    );
  });
});

describe('the hash of a tree', () => {
  it('is that of the bytes that are streamed', async () => {
    makeHardTree(`${dir()}/tree`);
    writeFileSync(`${dir()}/tree/large`, Buffer.alloc(3 * 1024 * 1024 + 77, 'x'));
    const hash = createHash('sha256');
    let size = 0;
    for await (const chunk of tarTree(`${dir()}/tree`, { xattrs: 'trusted' })) {
      hash.update(chunk);
      size += chunk.length;
    }
    expect(hashTree(`${dir()}/tree`, { xattrs: 'trusted' })).toMatchObject({
      diffId: `sha256:${hash.digest('hex')}`,
      size,
    });
  });

  it('of nothing is that of an empty archive', () => {
    mkdirSync(`${dir()}/tree`);
    expect(hashTree(`${dir()}/tree`, { xattrs: 'trusted' })).toEqual({
      diffId: 'sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef',
      size: 1024,
      entries: 0,
      contentSize: 0,
    });
  });

  it('counts a hard-linked file once', () => {
    mkdirSync(`${dir()}/tree`);
    writeFileSync(`${dir()}/tree/a`, '12345');
    linkSync(`${dir()}/tree/a`, `${dir()}/tree/b`);
    expect(hashTree(`${dir()}/tree`, { xattrs: 'trusted' })).toMatchObject({
      entries: 2,
      contentSize: 5,
    });
  });

  it("leaves out what is the sandbox's", () => {
    mkdirSync(`${dir()}/tree/etc`, { recursive: true });
    const bare = hashTree(`${dir()}/tree`, { xattrs: 'trusted', clampMtime: 0 });
    mkdirSync(`${dir()}/tree/proc/1`, { recursive: true });
    writeFileSync(`${dir()}/tree/etc/resolv.conf`, 'x');
    expect(
      hashTree(`${dir()}/tree`, {
        xattrs: 'trusted',
        clampMtime: 0,
        omit: ['proc', 'etc/resolv.conf'],
      }),
    ).toEqual(bare);
  });

  it('with clamped times is the same whenever a file was written', () => {
    mkdirSync(`${dir()}/tree`);
    writeFileSync(`${dir()}/tree/a`, '');
    const clamped = (): string =>
      hashTree(`${dir()}/tree`, { xattrs: 'trusted', clampMtime: 100 }).diffId;
    utimesSync(`${dir()}/tree/a`, 1000, 1000);
    const first = clamped();
    utimesSync(`${dir()}/tree/a`, 2000, 2000);
    expect(clamped()).toBe(first);
    utimesSync(`${dir()}/tree/a`, 99, 99);
    expect(clamped()).not.toBe(first);
  });

  it('without times tells content, modes and names apart and nothing else', async () => {
    mkdirSync(`${dir()}/tree`);
    writeFileSync(`${dir()}/tree/a`, 'one');
    const threads = new Threads();
    try {
      const digest = (): Promise<string> =>
        treeDigest(`${dir()}/tree`, { xattrs: 'trusted' }, threads);
      const first = await digest();
      utimesSync(`${dir()}/tree/a`, 5, 5);
      expect(await digest()).toBe(first);
      chmodSync(`${dir()}/tree/a`, 0o600);
      expect(await digest()).not.toBe(first);
    } finally {
      await threads.close();
    }
  });

  it('is the same whether workers read the files or not, and however many', async () => {
    makeHardTree(`${dir()}/tree`);
    const next = randomBytes(9 * 1024 * 1024 + 3);
    for (let i = 0; i < 600; i++)
      writeFileSync(`${dir()}/tree/f${i}`, next.subarray(i, i + ((i * 7919) % 40_000)));
    writeFileSync(`${dir()}/tree/large`, next);
    const alone = hashTree(`${dir()}/tree`, { xattrs: 'trusted' });
    for (const size of [1, 2, 5]) {
      const threads = new Threads(undefined, size);
      try {
        expect(await hashLargeTree(`${dir()}/tree`, { xattrs: 'trusted' }, threads)).toEqual(alone);
        const tar = createHash('sha256');
        const summary = await hashLargeTree(
          `${dir()}/tree`,
          { xattrs: 'trusted' },
          threads,
          async (chunks) => {
            for await (const chunk of chunks) tar.update(chunk);
          },
        );
        expect(summary).toEqual(alone);
        expect(`sha256:${tar.digest('hex')}`).toBe(alone.diffId);
      } finally {
        await threads.close();
      }
    }
  });

  it('of a tree that is not small is left to a worker', () => {
    mkdirSync(`${dir()}/tree`);
    for (let i = 0; i < 65; i++) writeFileSync(`${dir()}/tree/${i}`, '');
    expect(hashSmallTree(`${dir()}/tree`, { xattrs: 'trusted' })).toBeUndefined();
    mkdirSync(`${dir()}/large`);
    writeFileSync(`${dir()}/large/f`, Buffer.alloc(1024 * 1024 + 1));
    expect(hashSmallTree(`${dir()}/large`, { xattrs: 'trusted' })).toBeUndefined();
  });

  it('refuses names that a layer cannot hold', () => {
    mkdirSync(`${dir()}/tree/sub`, { recursive: true });
    writeFileSync(`${dir()}/tree/sub/.wh.x`, '');
    expect(() => hashTree(`${dir()}/tree`, { xattrs: 'trusted' })).toThrow(
      expect.objectContaining({
        code: 'UNSUPPORTED',
        message: expect.stringContaining('sub/.wh.x'),
      }),
    );
  });

  whenRoot(`writes deletions as whiteouts and no mark of overlay's${needsRoot}`, async () => {
    mkdirSync(`${dir()}/tree/replaced`, { recursive: true });
    writeFileSync(`${dir()}/tree/replaced/new`, '');
    makeWhiteout(`${dir()}/tree/gone`);
    linkSync(`${dir()}/tree/gone`, `${dir()}/tree/replaced/gone-too`);
    setXattr(`${dir()}/tree/replaced`, 'trusted.overlay.opaque', Buffer.from('y'));
    setXattr(`${dir()}/tree/replaced`, 'trusted.overlay.origin', Buffer.from('x'));
    await writeTar(`${dir()}/tree`, `${dir()}/tar`);
    expect(execFileSync('tar', ['-tf', `${dir()}/tar`], { encoding: 'utf8' }).split('\n')).toEqual([
      '.wh.gone',
      'replaced/',
      'replaced/.wh..wh..opq',
      'replaced/.wh.gone-too',
      'replaced/new',
      '',
    ]);
    expect(readFileSync(`${dir()}/tar`, 'latin1').includes('overlay')).toBe(false);
  });

  it('of a file over 8 GiB has its size in a record that others read', async () => {
    mkdirSync(`${dir()}/tree`);
    writeFileSync(`${dir()}/tree/big`, '');
    truncateSync(`${dir()}/tree/big`, 2 ** 33 + 1);
    const chunks = tarTree(`${dir()}/tree`, { xattrs: 'trusted' });
    const first = await chunks.next();
    await chunks.return();
    writeFileSync(`${dir()}/start.tar`, first.value ?? '');
    const listing = execFileSync('sh', ['-c', `tar -tvf ${dir()}/start.tar 2>/dev/null || true`], {
      encoding: 'utf8',
    });
    expect(listing).toMatch(/ 8589934593 .* big/);
  });
});
