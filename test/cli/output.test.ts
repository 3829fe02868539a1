import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { buildSync } from 'esbuild';

let folder = '';
let program = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mbuild-output-'));
  program = join(folder, 'output.cjs');
  buildSync({
    entryPoints: [resolve(__dirname, '../../src/cli/output.ts')],
    bundle: true,
    platform: 'node',
    format: 'cjs',
    outfile: program,
  });
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function script(body: string): string[] {
  return [
    '-e',
    `const { FdOutput } = require(${JSON.stringify(program)}); (async () => { ${body} })();`,
  ];
}

describe('writing to the standard streams', () => {
  test('texts arrive whole and in order', () => {
    const body =
      'const out = new FdOutput(1); for (let i = 0; i < 20000; i++) out.write(`line ${i}\\n`); await out.drain(); process.exit(0);';
    const { stdout } = spawnSync(process.execPath, script(body), {
      encoding: 'utf8',
      maxBuffer: 1 << 24,
    });
    expect(stdout).toBe(Array.from({ length: 20_000 }, (_, i) => `line ${i}\n`).join(''));
  });

  test('a reader that has gone is told of once, and nothing is thrown', () => {
    const body = `let closed = 0; const out = new FdOutput(1, () => { closed++; });
      for (let i = 0; i < 50; i++) { out.write('x'.repeat(100000)); await out.drain(); } process.stderr.write(String(closed)); process.exit(0);`;
    const quoted = script(body)
      .map((word) => `'${word.replaceAll("'", "'\\''")}'`)
      .join(' ');
    const { stdout, stderr } = spawnSync(
      'sh',
      ['-c', `'${process.execPath}' ${quoted} | head -c 5`],
      { encoding: 'utf8' },
    );
    expect([stdout, stderr]).toEqual(['xxxxx', '1']);
  });

  test('a reader that sleeps does not stop the program', async () => {
    const body =
      "const out = new FdOutput(1); out.write('x'.repeat(1 << 20)); setTimeout(() => { process.stderr.write('alive'); process.kill(process.pid, 'SIGKILL'); }, 50);";
    const child = spawn(process.execPath, script(body), { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.pause();
    const text = await new Promise((done) => {
      child.stderr.once('data', (data: Buffer) => done(data.toString()));
    });
    child.kill('SIGKILL');
    child.stdout.destroy();
    expect(text).toBe('alive');
  });
});
