import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { cleanEnv, command, type CommandResult } from '../support/command';
import { caseArgs, casesOf, copyFixture } from '../support/fixtures';
import { fixture, MBUILD, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { mountsLeft, useTemp, writeFiles } from '../support/temp';
import { hostileTar, type HostileName } from '../support/hostile-tar';

describeWith('bad input', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let hello: string;
  let id: string;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    hello = copyFixture(fixture('hello'), join(temp.dir(), 'hello'));
    id = (await mbuild.build(['-t', 'hello', hello])).id;
  });

  // Whatever happened: what was built before is whole, and building goes on.
  afterEach(async () => {
    expect(mountsLeft(mbuild.root)).toEqual([]);
    expect((await mbuild.run(['run', '--rm', 'hello'])).stdout).toContain('Hello, world!');
    expect((await mbuild.build([hello])).id).toBe(id);
  });

  const dockerfiles = casesOf('bad').filter(({ dir }) => existsSync(join(dir, 'context')));
  it.each(dockerfiles)('fixtures/bad/$name ends with the expected error', async (fixtureCase) => {
    const context = copyFixture(join(fixtureCase.dir, 'context'), join(temp.dir(), 'context'));
    const where = fixtureCase.name === 'missing-context' ? './nowhere' : '.';
    expectError(
      await mbuild.run(['build', '-q', ...caseArgs(fixtureCase), where], { cwd: context }),
      fixtureCase.name,
    );
  });

  it('the error is the same, and last, after plain progress', async () => {
    const context = join(fixture('bad', 'failing-run'), 'context');
    const quiet = await mbuild.run(['build', '-q', '.'], { cwd: context });
    const plain = await mbuild.run(['build', '--progress=plain', '.'], { cwd: context });
    expect(plain.stderr.endsWith(quiet.stderr)).toBe(true);
    expect(plain.stderr).toMatch(/^#\d+ ERROR/m);
  });

  it('a foreign image whose archive was cut off is refused', async () => {
    const file = join(temp.dir(), 'image.tar');
    await mbuild.ok(['save', '-o', file, 'hello']);
    truncateSync(file, Math.floor(readFileSync(file).length / 2));
    expectError(await mbuild.run(['load', '-i', file]), 'truncated-archive');
    const rootfs = join(temp.dir(), 'rootfs.tar');
    writeFileSync(rootfs, readFileSync(file).subarray(0, 1500));
    expectError(await mbuild.run(['import', rootfs, 'cut-off']), 'truncated-import');
    expect((await mbuild.run(['inspect', 'cut-off'])).code).toBe(1);
  });

  it('a layer that is not what its digest says is refused', async () => {
    const layout = join(temp.dir(), 'layout');
    await mbuild.build([
      '-t',
      'forged:v1',
      '--output',
      `type=oci,tar=false,compression=uncompressed,dest=${layout}`,
      hello,
    ]);
    const blobs = join(layout, 'blobs/sha256');
    const layer = execFileSync('sh', ['-c', 'ls -S | head -1'], { cwd: blobs }).toString().trim();
    const bytes = readFileSync(join(blobs, layer));
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    chmodSync(join(blobs, layer), 0o644);
    writeFileSync(join(blobs, layer), bytes);
    const other = new Mbuild(temp.dir('store'));
    expectError(await other.run(['load', '-i', layout]), 'wrong-digest');
    expect(await other.ok(['images', '-q'])).toBe('');
  });

  it.each([
    'parent-name',
    'parent-in-the-middle',
    'hard-link-outside',
    'absolute-name',
    'through-a-symlink',
    'through-an-absolute-symlink',
  ] as const)('a root file system with a hostile name is refused: %s', async (kind) => {
    const outside = temp.dir('outside');
    const result = await mbuild.run(['import', hostileFile(kind, outside), 'hostile']);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(
      /^error: the layer's entry .+ is refused: .+\n\[ARCHIVE_UNSAFE\]/,
    );
    expect(execFileSync('find', [outside, '-mindepth', '1']).toString()).toBe('');
    expect(existsSync('/mbuild-hostile')).toBe(false);
  });

  it.each([
    'parent-name',
    'parent-in-the-middle',
    'hard-link-outside',
    'absolute-name',
    'through-a-symlink',
    'through-an-absolute-symlink',
  ] as const)(
    'an archive with a hostile name does not reach the host through ADD: %s',
    async (kind) => {
      const outside = temp.dir('outside');
      const context = writeFiles(temp.dir('context'), {
        Dockerfile: 'FROM small-base\nADD rootfs.tar /\n',
        'rootfs.tar': readFileSync(hostileFile(kind, outside)),
      });
      const result = await mbuild.run(['build', '-q', '.'], { cwd: context });
      if (result.code !== 0) expect(result.stderr).toMatch(/^Dockerfile:2 — [\s\S]*\[ARCHIVE_/);
      expect(execFileSync('find', [outside, '-mindepth', '1']).toString()).toBe('');
      expect(existsSync('/mbuild-hostile')).toBe(false);
    },
  );

  function hostileFile(kind: HostileName, outside: string): string {
    const tar = join(temp.dir(), 'rootfs.tar');
    writeFileSync(tar, hostileTar(kind, outside));
    return tar;
  }

  it('an ADDed archive that was cut off names the archive', async () => {
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM small-base\nADD half.tar.gz /data/\n',
      'whole/file': Buffer.alloc(200_000, 'x'),
    });
    const whole = execFileSync('tar', ['-czf', '-', '-C', context, 'whole']);
    writeFileSync(join(context, 'half.tar.gz'), whole.subarray(0, whole.length - 100));
    expectError(await mbuild.run(['build', '-q', '.'], { cwd: context }), 'add-truncated-archive');
  });

  describeWith('without the right to make namespaces', { programs: ['setpriv'] }, () => {
    it('a step is refused with the reason and the way out', async () => {
      const context = writeFiles(temp.dir('context'), {
        Dockerfile: 'FROM small-base\nRUN echo never\n',
      });
      const result = await command(
        'setpriv',
        ['--bounding-set=-sys_admin', MBUILD, 'build', '-q', '.'],
        { cwd: context, env: cleanEnv({ MBUILD_ROOT: mbuild.root }) },
      );
      expectError(result, 'no-namespaces');
    });
  });

  describe('on a full disk', () => {
    it('a build ends with an error, and the store goes on when there is space', async () => {
      const root = temp.dir('full');
      const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16m,mode=700', 'tmpfs', root]);
      if (mounted.status !== 0)
        throw new Error(`no tmpfs could be mounted: ${mounted.stderr.toString()}`);
      const small = new Mbuild(root);
      await smallBase(small);
      const context = writeFiles(temp.dir('context'), {
        Dockerfile: 'FROM small-base\nRUN echo kept > /kept\n',
        big: Buffer.alloc(24 << 20, 'x'),
      });
      const before = await small.build(['-t', 'before', context]);

      writeFiles(context, {
        Copy: 'FROM small-base\nCOPY big /\n',
        Run: 'FROM small-base\nRUN dd if=/dev/zero of=/big bs=1M count=24\n',
      });
      expectError(
        await small.run(['build', '-q', '-f', 'Copy', '.'], { cwd: context }),
        'disk-full-copy',
      );
      expectError(
        await small.run(['build', '-q', '-f', 'Run', '.'], { cwd: context }),
        'disk-full-run',
      );

      expect((await small.run(['run', '--rm', 'before', 'cat', '/kept'])).stdout).toBe('kept\n');
      expect((await small.build(['-f', join(context, 'Dockerfile'), context])).id).toBe(before.id);
      spawnSync('mount', ['-o', 'remount,size=64m', root]);
      await small.build(['-f', join(context, 'Copy'), '-t', 'after', context]);
    });
  });

  it('in a store that is read-only, what is there can be looked at, and nothing be made', async () => {
    const root = temp.dir('read-only');
    const writable = new Mbuild(root);
    await smallBase(writable);
    const bind = spawnSync('mount', ['--bind', root, root]);
    if (bind.status !== 0)
      throw new Error(`no directory could be mounted: ${bind.stderr.toString()}`);
    spawnSync('mount', ['-o', 'remount,bind,ro', root]);
    expect(await writable.ok(['images', '--format', '{{.Repository}}'])).toBe('small-base');
    expect((await writable.inspect('small-base')).RepoTags).toEqual(['small-base:latest']);
    // The tar of GNU tar cannot be written anew, so its layer is unpacked to be compared.
    expect(await writable.ok(['system', 'check'])).toMatch(/nothing is wrong/);
    expect(await writable.run(['tag', 'small-base', 'other'])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /read-only file system[^]*\[PERMISSION_DENIED\] hint: choose a store of your own with --root/,
      ),
    });
  });

  /**
   * Exit code 1, nothing on standard output, and standard error as in the case's expected.txt, in
   * which `…` stands for any text of a line.
   */
  function expectError(result: CommandResult, name: string): void {
    const file = join(fixture('bad', name), 'expected.txt');
    if (process.env.MBUILD_UPDATE_FIXTURES === '1') {
      mkdirSync(fixture('bad', name), { recursive: true });
      if (!existsSync(file)) writeFileSync(file, result.stderr);
    }
    const expected = readFileSync(file, 'utf8');
    const pattern = expected
      .split('…')
      .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
      .join('.*');
    if (!new RegExp(`^${pattern}$`).test(result.stderr)) expect(result.stderr).toBe(expected);
    expect(result.stdout).toBe('');
    expect([name, result.code]).toEqual([
      name,
      name === 'missing-context' ? expect.any(Number) : 1,
    ]);
  }
});
