import { execFileSync, spawnSync } from 'node:child_process';
import { createWriteStream, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { applyLayer } from '../../src/layer/apply';
import { hashTree, tarTree } from '../../src/layer/diff';
import { LIMITS, isRoot, useDirectory } from './trees';

const OPTIONS = 'redirect_dir=off,metacopy=off,index=off';

/**
 * Runs a script with an overlay of `lowers` (and `upper`) mounted on $root, in a mount namespace
 * that ends with it.
 */
function onOverlay(
  dir: string,
  lowers: readonly string[],
  upper: string | undefined,
  script: string,
): string {
  mkdirSync(`${dir}/root`, { recursive: true });
  mkdirSync(`${dir}/work`, { recursive: true });
  const writable = upper === undefined ? '' : `,upperdir=${upper},workdir=${dir}/work`;
  const mount = `mount -t overlay overlay -o ${OPTIONS},lowerdir=${lowers.join(':')}${writable} ${dir}/root`;
  return execFileSync('unshare', ['-m', 'sh', '-euc', `${mount}\ncd ${dir}/root\n${script}`], {
    encoding: 'utf8',
  });
}

function canMount(): boolean {
  if (!isRoot) return false;
  const dir = mkdtempSync(path.join(tmpdir(), 'mbuild-probe-'));
  try {
    for (const name of ['lower', 'upper']) mkdirSync(`${dir}/${name}`);
    onOverlay(dir, [`${dir}/lower`], `${dir}/upper`, 'true');
    return true;
  } catch {
    return false;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const whenMounts = canMount() ? it : it.skip;
const needsMounts = canMount() ? '' : ' (skipped: needs overlay mounts)';
const hasSetcap = spawnSync('sh', ['-c', 'command -v setcap']).status === 0;

const dir = useDirectory();

const LOWER = `
mkdir -p etc usr/lib var/cache opt/app/deep
echo passwd > etc/passwd; echo shadow > etc/shadow; chmod 600 etc/shadow
echo lib > usr/lib/a.so; ln usr/lib/a.so usr/lib/b.so; ln -s usr/lib lib
echo one > var/cache/one; echo two > var/cache/two
echo x > opt/app/x; echo y > opt/app/deep/y; chown -R 100:200 opt
`;

const STEP = `
rm etc/passwd
chmod 4755 etc/shadow; chown 5:6 etc/shadow
rm -r var/cache; mkdir var/cache; echo three > var/cache/three
mv opt/app/deep/y opt/app/y2
rm -r opt/app/deep; echo now-a-file > opt/app/deep
rm lib; mkdir lib; echo own > lib/own
ln usr/lib/a.so usr/lib/c.so; echo more >> usr/lib/c.so
ln -s /nowhere dangling; mkfifo pipe; mknod null c 1 3
mkdir -p "new/$(printf 'caf\\351')"; echo latin1 > "new/$(printf 'caf\\351')/f"
touch -h -d @1234567890 dangling new
python3 -c 'import os; os.setxattr("etc/shadow", "user.note", b"kept")' 2>/dev/null || true
${hasSetcap ? 'cp /bin/true cap; setcap cap_net_raw+ep cap' : ''}
`;

const DESCRIBE = `find . -mindepth 1 -printf '%p %y %m %U:%G %n %T@ %l\\n' | sed 's/ \\([0-9]*\\)\\.[0-9]* / \\1 /' | sort; find . -type f -exec cksum {} + | sort
${hasSetcap ? 'getcap -r . || true' : ''}`;

describe('the diff of a step', () => {
  whenMounts(`applied to what the step ran on gives what it left${needsMounts}`, async () => {
    const { lower, upper, again } = {
      lower: `${dir()}/lower`,
      upper: `${dir()}/upper`,
      again: `${dir()}/again`,
    };
    for (const each of [lower, upper]) mkdirSync(each);
    execFileSync('sh', ['-euc', LOWER], { cwd: lower });
    onOverlay(dir(), [lower], upper, STEP);
    const left = onOverlay(dir(), [upper, lower], undefined, DESCRIBE);

    await pipeline(
      Readable.from(tarTree(upper, { xattrs: 'trusted' })),
      createWriteStream(`${dir()}/diff.tar`),
    );
    const applied = await applyLayer({ path: `${dir()}/diff.tar`, compression: 'none' }, again, {
      xattrs: 'trusted',
      limits: LIMITS,
    });
    expect(applied).toMatchObject({ implied: [''], foreignLinks: [] });
    expect(onOverlay(dir(), [again, lower], undefined, DESCRIBE)).toBe(left);
    expect(hashTree(again, { xattrs: 'trusted' })).toEqual(hashTree(upper, { xattrs: 'trusted' }));

    const listing = execFileSync('tar', ['-tf', `${dir()}/diff.tar`], { encoding: 'utf8' }).split(
      '\n',
    );
    expect(listing).toEqual(
      expect.arrayContaining([
        'etc/.wh.passwd',
        'var/cache/.wh..wh..opq',
        'var/cache/three',
        'lib/',
        'lib/own',
        'opt/app/deep',
        'usr/lib/c.so',
      ]),
    );
    expect(listing.filter((name) => name.startsWith('usr/lib/') && name !== 'usr/lib/')).toEqual([
      'usr/lib/a.so',
      'usr/lib/c.so',
    ]);
  });

  whenMounts(`that touches nothing is empty${needsMounts}`, () => {
    for (const each of ['lower', 'upper']) mkdirSync(`${dir()}/${each}`);
    writeFileSync(`${dir()}/lower/f`, 'x');
    onOverlay(dir(), [`${dir()}/lower`], `${dir()}/upper`, 'cat f; echo x > new; rm new');
    expect(hashTree(`${dir()}/upper`, { xattrs: 'trusted' }).entries).toBe(0);
  });
});
