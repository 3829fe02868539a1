import { existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { findCgroup, makeCgroup, refusalText, stepGroupName, type CgroupPlace } from '../../src/sandbox/cgroup';
import { useTemp, writeFiles } from '../support/temp';


describe('control groups', () => {
  const temp = useTemp();

  /** A machine whose groups are plain folders; a controller's files lie ready in the group that is going to be made. */
  function place(name: string, files: readonly string[], own: string): CgroupPlace {
    const root = temp.dir(name);
    writeFiles(root, Object.fromEntries(files.map((file) => [file, ''])));
    writeFiles(root, { 'own': own });
    return { root, own: join(root, 'own') };
  }

  test('of version 1 are made below the own group of each controller', () => {
    const machine = place('legacy', ['memory/mine/cgroup.procs', 'pids/cgroup.procs'], '4:memory:/mine\n8:pids:/gone\n');
    const group = makeCgroup('a', { memory: 64 << 20, pids: 7, cpus: 1 }, machine);
    expect(existsSync(join(machine.root, 'memory/mine/mbuild-a'))).toBe(true);
    expect(existsSync(join(machine.root, 'pids/mbuild-a'))).toBe(true);
    expect(group.refused.find(({ limit }) => limit === 'cpus')?.reason).toBe('there is no cpu controller');
    expect(findCgroup('a', machine).doors).toEqual(group.doors);
    group.remove();
    expect(readdirSync(join(machine.root, 'memory/mine'))).toEqual(['cgroup.procs']);
  });

  test('of version 2 are made in a group of mbuild at the top', () => {
    const machine = place('unified', ['cgroup.controllers', 'cgroup.procs', 'cgroup.subtree_control', 'mbuild/cgroup.subtree_control', 'mbuild/cgroup.procs'], '0::/\n');
    const group = makeCgroup('a', { memory: 64 << 20, cpuShares: 1024 }, machine);
    expect(readFileSync(join(machine.root, 'cgroup.subtree_control'), 'utf8')).toMatch(/^\+cpu/);
    expect(existsSync(join(machine.root, 'mbuild/mbuild-a'))).toBe(true);
    group.remove();
    expect(existsSync(join(machine.root, 'mbuild/mbuild-a'))).toBe(false);
  });

  test('that a killed process left are removed by the next one, and those of others are not', () => {
    const machine = place('left', ['pids/cgroup.procs'], '8:pids:/\n');
    const living = join(machine.root, 'pids', `mbuild-${stepGroupName()}`);
    for (const folder of [join(machine.root, 'pids/mbuild-step-99999999-x'), living, join(machine.root, 'pids/mbuild-container')]) mkdirSync(folder);
    makeCgroup('b', { pids: 5 }, machine).remove();
    expect(readdirSync(join(machine.root, 'pids')).sort()).toEqual(['cgroup.procs', 'mbuild-container', living.slice(living.lastIndexOf('/') + 1)].sort());
  });

  test('are not to be had where there are none, which is said once for all limits', () => {
    const group = makeCgroup('a', { memory: 64 << 20, memorySwap: -1, pids: 7 }, { root: join(temp.dir('none'), 'no'), own: '/nowhere' });
    expect(group.doors).toEqual([]);
    expect(group.refused.map(({ limit }) => limit)).toEqual(['memory', 'memorySwap', 'pids']);
    expect(refusalText('RUN', group.refused)).toBe('--memory, --memory-swap, --pids-limit of RUN cannot be set on this machine and are not kept: there is no memory controller; there is no pids controller');
  });

  test.each([
    ['memory', { memory: 1 << 26 }, { 'memory.limit_in_bytes': '67108864', 'memory.memsw.limit_in_bytes': '67108864' }],
    ['memory', { memory: 1 << 26, memorySwap: -1 }, { 'memory.limit_in_bytes': '67108864', 'memory.memsw.limit_in_bytes': '-1' }],
    ['cpu', { cpus: 1.5 }, { 'cpu.cfs_period_us': '100000', 'cpu.cfs_quota_us': '150000' }],
    ['cpu', { cpuQuota: 5000, cpuPeriod: 20_000, cpuShares: 512 }, { 'cpu.cfs_period_us': '20000', 'cpu.cfs_quota_us': '5000', 'cpu.shares': '512' }],
    ['cpuset', { cpusetCpus: '0' }, { 'cpuset.cpus': '0' }],
    ['pids', { pids: 7 }, { 'pids.max': '7' }],
  ] as const)('of this machine take what %s limits say: %j', (controller, limits, expected) => {
    const group = makeCgroup(stepGroupName(), limits);
    try {
      const folder = group.doors.map((door) => join(door, '..')).find((candidate) => candidate.includes(`/${controller}/`));
      if (folder === undefined) return console.log(`skipped: this machine has no ${controller} controller of version 1 that it gives the right to`);
      for (const [file, value] of Object.entries(expected)) {
        const optional = file.includes('memsw') && !existsSync(join(folder, file));
        const read = optional ? value : readFileSync(join(folder, file), 'utf8').trim();
        expect([file, value === '-1' && Number(read) > 2 ** 60 ? '-1' : read]).toEqual([file, value]);
      }
    } finally {
      group.remove();
    }
  });
});
