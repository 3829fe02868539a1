import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

/**
 * Above the size from which a ratio once counted, and far above its factor in every compression.
 */
const MIB = 100;

describeWith('layers of zeros', { root: true }, () => {
  const temp = useTemp();

  it.each([
    ['oci', 'compression=gzip,compression-level=9'],
    ['oci', 'compression=zstd'],
    ['docker', 'compression=uncompressed'],
  ])('type=%s,%s is loaded again', async (type, compression) => {
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM scratch\nADD zeros.tar.gz /\n',
    });
    execFileSync('sh', [
      '-c',
      `cd ${context} && head -c ${MIB}M /dev/zero > z && tar -czf zeros.tar.gz z && rm z`,
    ]);
    const archive = join(temp.dir('out'), 'image.tar');
    const output = `type=${type},dest=${archive},${compression},force-compression=true`;
    await new Mbuild(temp.dir('store')).build(['-t', 'zeros:1', '-o', output, context]);
    const other = new Mbuild(temp.dir('store'));
    await other.ok(['load', '-i', archive]);
    expect(await other.ok(['images', '--format', '{{.Repository}}'])).toBe('zeros');
  });

  it('a limit of the environment names itself', async () => {
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM scratch\nCOPY file /\n',
      file: 'x'.repeat(100_000),
    });
    const archive = join(temp.dir('out'), 'image.tar');
    await new Mbuild(temp.dir('store')).build([
      '-t',
      'x:1',
      '-o',
      `type=oci,dest=${archive}`,
      context,
    ]);
    const small = new Mbuild(temp.dir('store'), { MBUILD_MAX_UNPACKED: '50k' });
    const refused = await small.run(['load', '-i', archive]);
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringMatching(/\[LIMIT_EXCEEDED\] hint: .*MBUILD_MAX_UNPACKED/),
    ]);
  });
});
