import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { interpreterFile, type Arch } from '../../src/sandbox/namespaces/init/interpreter';
import { assemble, type Op } from '../../src/sandbox/namespaces/init/program';

const EMULATOR = '/usr/bin/qemu-aarch64-static';

/** How to start a program of an architecture here; `undefined` when it cannot be. */
function launcher(arch: Arch): string[] | undefined {
  if (arch === process.arch) return [];
  return arch === 'arm64' && existsSync(EMULATOR) ? [EMULATOR] : undefined;
}

describe.each<Arch>(['x64', 'arm64'])('the init interpreter on %s', (arch) => {
  const prefix = launcher(arch);
  if (prefix === undefined)
    console.log(`skipped: no way to run ${arch} programs here (package qemu-user-static)`);
  const test = prefix === undefined ? it.skip : it;

  function execute(ops: readonly Op[]): { status: number | null; stdout: string; report: Buffer } {
    const dir = mkdtempSync(path.join(tmpdir(), 'mbuild-init-'));
    try {
      writeFileSync(path.join(dir, 'init'), interpreterFile(arch), { mode: 0o755 });
      writeFileSync(path.join(dir, 'program'), assemble(ops, arch).image);
      const fd = openSync(path.join(dir, 'program'), 'r');
      try {
        const [file = '', ...args] = [...(prefix ?? []), path.join(dir, 'init')];
        const { status, stdout, output } = spawnSync(file, args, {
          stdio: ['ignore', 'pipe', 'inherit', fd, 'pipe'],
        });
        return {
          status,
          stdout: stdout.toString(),
          report: (output[4] ?? Buffer.alloc(0)) as unknown as Buffer,
        };
      } finally {
        closeSync(fd);
      }
    } finally {
      rmSync(dir, { recursive: true });
    }
  }
  const end: Op[] = [
    { what: 'exit', call: 'exit_group', args: [0] },
    { what: 'report', label: 'fail', call: 'write', args: [4, 0x10000000, 16], onError: 'next' },
    { what: 'exit', call: 'exit_group', args: [125] },
  ];

  test('makes the calls in order', () => {
    const say = (text: string): Op => ({
      what: 'say',
      call: 'write',
      args: [1, { text }, text.length],
    });
    expect(execute([say('one '), say('two'), ...end])).toMatchObject({
      status: 0,
      stdout: 'one two',
    });
  });

  test('hands a result to a later call and branches on zero, positive and error', () => {
    const result = execute([
      {
        what: 'fork',
        call: 'clone',
        args: [17, 0, 0, 0, 0],
        save: 'child',
        onZero: { to: 'child' },
      },
      {
        what: 'wait',
        call: 'wait4',
        args: [{ saved: 'child' }, { buffer: 'status', size: 8 }, 0, 0],
      },
      { what: 'say', call: 'write', args: [1, { buffer: 'status', size: 8 }, 2] },
      { what: 'close nothing', call: 'close', args: [99], onError: { to: 'recovered' } },
      { what: 'never', call: 'exit_group', args: [1] },
      { what: 'exit', label: 'recovered', call: 'exit_group', args: [0] },
      { what: 'exit with 7', label: 'child', call: 'exit_group', args: [7] },
      ...end,
    ]);
    expect(result).toMatchObject({ status: 0, stdout: '\0\x07' });
  });

  test('reports which call failed and why', () => {
    const ops: Op[] = [
      { what: 'fine', call: 'umask', args: [0] },
      { what: 'enter nowhere', call: 'chdir', args: [{ path: '/no/such/place' }] },
      ...end,
    ];
    const { status, report } = execute(ops);
    expect(status).toBe(125);
    expect(assemble(ops, arch).opAt(report.readBigUInt64LE(0))?.what).toBe('enter nowhere');
    expect(report.readBigInt64LE(8)).toBe(-2n);
  });

  test('executes with arguments and environment', () => {
    const result = execute([
      {
        what: 'execute',
        call: 'execve',
        args: [
          { text: '/bin/sh' },
          { strings: ['sh', '-c', 'echo $1 $X', 'sh', 'ä b'] },
          { strings: ['X=y z'] },
        ],
      },
      ...end,
    ]);
    expect(result).toMatchObject({ status: 0, stdout: 'ä b y z\n' });
  });
});
