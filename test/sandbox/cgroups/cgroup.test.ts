import { existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  findCgroup,
  makeCgroup,
  refusalFix,
  refusalText,
  stepGroupName,
} from '../../../src/sandbox/cgroups/cgroup';
import type { CgroupPlace } from '../../../src/sandbox/cgroups/cgroup-directories';
import { useTemp, writeFiles } from '../../support/temp';

describe('control groups', () => {
  const temp = useTemp();

  /**
   * A machine whose groups are plain folders; a controller's files lie ready in the group that is
   * going to be made.
   */
  function place(name: string, files: readonly string[], own: string): CgroupPlace {
    const root = temp.dir(name);
    writeFiles(root, Object.fromEntries(files.map((file) => [file, ''])));
    writeFiles(root, { own: own });
    return { root, own: join(root, 'own') };
  }

  test('of version 1 are made below the own group of each controller', () => {
    const machine = place(
      'legacy',
      ['memory/mine/cgroup.procs', 'pids/cgroup.procs'],
      '4:memory:/mine\n8:pids:/gone\n',
    );
    const group = makeCgroup('a', { memory: 64 << 20, pids: 7, cpus: 1 }, machine);
    expect(existsSync(join(machine.root, 'memory/mine/mbuild-a'))).toBe(true);
    expect(existsSync(join(machine.root, 'pids/mbuild-a'))).toBe(true);
    expect(group.refused.find(({ limit }) => limit === 'cpus')?.reason).toBe(
      'the cpu controller is missing',
    );
    expect(findCgroup('a', machine).doors).toEqual(group.doors);
    group.remove();
    expect(readdirSync(join(machine.root, 'memory/mine'))).toEqual(['cgroup.procs']);
  });

  test('of version 2 are made in a group of mbuild at the top', () => {
    const machine = place(
      'unified',
      [
        'cgroup.controllers',
        'cgroup.procs',
        'cgroup.subtree_control',
        'mbuild/cgroup.subtree_control',
        'mbuild/cgroup.procs',
      ],
      '0::/\n',
    );
    const group = makeCgroup('a', { memory: 64 << 20, cpuShares: 1024 }, machine);
    expect(readFileSync(join(machine.root, 'cgroup.subtree_control'), 'utf8')).toMatch(/^\+cpu/);
    expect(existsSync(join(machine.root, 'mbuild/mbuild-a'))).toBe(true);
    group.remove();
    expect(existsSync(join(machine.root, 'mbuild/mbuild-a'))).toBe(false);
  });

  test('of version 2 have no limits below a group with processes in it, which is left as it is', () => {
    const machine = place(
      'occupied',
      ['cgroup.controllers', 'cgroup.type', 'cgroup.subtree_control'],
      '0::/\n',
    );
    writeFiles(machine.root, { 'cgroup.procs': '1\n7\n' });
    const { doors, refused } = makeCgroup('a', { memory: 64 << 20, pids: 7 }, machine);
    expect(doors).toEqual([]);
    expect(refused.map(({ limit, reason }) => [limit, reason])).toEqual(
      ['memory', 'pids'].map((limit) => [
        limit,
        `${machine.root} itself has processes, so groups in it cannot have limits`,
      ]),
    );
    expect(refusalFix(refused)).toContain(
      `mkdir ${machine.root}/init; xargs -rn1 <${machine.root}/cgroup.procs >${machine.root}/init/cgroup.procs`,
    );
    expect(readFileSync(join(machine.root, 'cgroup.subtree_control'), 'utf8')).toBe('');
    expect(existsSync(join(machine.root, 'mbuild'))).toBe(false);
  });

  test('of version 2 leave nothing where a controller is not given out, and say which', () => {
    const machine = place(
      'withheld',
      ['cgroup.controllers', 'cgroup.procs', 'cgroup.subtree_control/x', 'mbuild/cgroup.procs'],
      '0::/\n',
    );
    const { refused } = makeCgroup('a', { cpusetCpus: '0' }, machine);
    expect(refused.map(({ reason }) => reason)).toEqual([
      expect.stringMatching(/mbuild has no cpuset controller: cgroup.subtree_control: EISDIR/),
    ]);
    expect(readdirSync(join(machine.root, 'mbuild'))).toEqual(['cgroup.procs']);
  });

  test('that a killed process left are removed by the next one, and those of others are not', () => {
    const machine = place('left', ['pids/cgroup.procs'], '8:pids:/\n');
    const living = join(machine.root, 'pids', `mbuild-${stepGroupName()}`);
    for (const folder of [
      join(machine.root, 'pids/mbuild-step-99999999-x'),
      living,
      join(machine.root, 'pids/mbuild-container'),
    ])
      mkdirSync(folder);
    makeCgroup('b', { pids: 5 }, machine).remove();
    expect(readdirSync(join(machine.root, 'pids')).sort()).toEqual(
      ['cgroup.procs', 'mbuild-container', living.slice(living.lastIndexOf('/') + 1)].sort(),
    );
  });

  test('are not to be had where there are none, which is said once for all limits', () => {
    const group = makeCgroup(
      'a',
      { memory: 64 << 20, memorySwap: -1, pids: 7 },
      { root: join(temp.dir('none'), 'no'), own: '/nowhere' },
    );
    expect(group.doors).toEqual([]);
    expect(group.refused.map(({ limit }) => limit)).toEqual(['memory', 'memorySwap', 'pids']);
    expect(refusalText('RUN', group.refused)).toBe(
      '--memory, --memory-swap, --pids-limit of RUN cannot be set on this machine and have no effect: the memory controller is missing; the pids controller is missing',
    );
  });

  const unified = existsSync('/sys/fs/cgroup/cgroup.controllers');

  test.each([
    [
      { memory: 1 << 26 },
      { 'memory.limit_in_bytes': '67108864', 'memory.memsw.limit_in_bytes': '67108864' },
      { 'memory.max': '67108864', 'memory.swap.max': '0' },
    ],
    [
      { memory: 1 << 26, memorySwap: -1 },
      { 'memory.limit_in_bytes': '67108864', 'memory.memsw.limit_in_bytes': '-1' },
      { 'memory.max': '67108864', 'memory.swap.max': 'max' },
    ],
    [
      { memory: 1 << 26, memorySwap: 1 << 27 },
      { 'memory.memsw.limit_in_bytes': '134217728' },
      { 'memory.swap.max': '67108864' },
    ],
    [
      { cpus: 1.5 },
      { 'cpu.cfs_period_us': '100000', 'cpu.cfs_quota_us': '150000' },
      { 'cpu.max': '150000 100000' },
    ],
    [
      { cpuQuota: 5000, cpuPeriod: 20_000, cpuShares: 512 },
      { 'cpu.cfs_quota_us': '5000', 'cpu.cfs_period_us': '20000', 'cpu.shares': '512' },
      { 'cpu.max': '5000 20000', 'cpu.weight': '20' },
    ],
    [{ cpusetCpus: '0' }, { 'cpuset.cpus': '0' }, { 'cpuset.cpus': '0' }],
    [{ pids: 7 }, { 'pids.max': '7' }, { 'pids.max': '7' }],
  ] as const)(
    'of this machine take the limits %j, in either version',
    (limits, legacy, current) => {
      const group = makeCgroup(stepGroupName(), limits);
      try {
        const [reason] = group.refused;
        if (reason !== undefined)
          return console.log(`skipped: ${reason.limit} cannot be set here: ${reason.reason}`);
        const [folder = ''] = group.doors.map((door) => join(door, '..'));
        for (const [file, value] of Object.entries<string>(unified ? current : legacy)) {
          // A kernel that accounts no swap has no file for it.
          const read =
            /memsw|swap/.test(file) && !existsSync(join(folder, file))
              ? value
              : readFileSync(join(folder, file), 'utf8').trim();
          expect([file, value === '-1' && Number(read) > 2 ** 60 ? '-1' : read]).toEqual([
            file,
            value,
          ]);
        }
      } finally {
        group.remove();
      }
    },
  );
});
