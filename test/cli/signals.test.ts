import { EventEmitter } from 'node:events';
import { gzipSync } from 'node:zlib';
import { Readable } from 'node:stream';
import { pack } from 'tar-stream';
import { isMbuildError } from '../../src/diagnostics/error';
import { watchSignals, type SignalSource } from '../../src/cli/signals';
import { isArchive, sniffStdin } from '../../src/cli/stdin';

class FakeProcess extends EventEmitter implements SignalSource {
  readonly exits: number[] = [];

  exit(code: number): void {
    this.exits.push(code);
  }
}

describe('signals', () => {
  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ])('%s aborts and asks for exit code %d', (signal, code) => {
    const source = new FakeProcess();
    const watch = watchSignals(source);
    expect(watch.exitCode()).toBeUndefined();
    source.emit(signal);
    expect([watch.signal.aborted, watch.exitCode(), source.exits]).toEqual([true, code, []]);
    expect(isMbuildError(watch.signal.reason, 'CANCELED')).toBe(true);
  });

  test('a second Ctrl-C ends the process at once, a second SIGHUP does not', () => {
    const source = new FakeProcess();
    const watch = watchSignals(source);
    source.emit('SIGHUP');
    source.emit('SIGHUP');
    expect(source.exits).toEqual([]);
    source.emit('SIGINT');
    expect(source.exits).toEqual([130]);
    expect(watch.exitCode()).toBe(129);
  });

  test('nothing is listened for after the end', () => {
    const source = new FakeProcess();
    watchSignals(source).dispose();
    expect(source.eventNames()).toEqual([]);
  });

  test('a reader that has gone aborts as well', () => {
    const watch = watchSignals(new FakeProcess());
    watch.abort('the program that reads the output has ended', 141);
    expect([watch.signal.aborted, watch.exitCode()]).toEqual([true, 141]);
  });
});

describe('standard input of a build', () => {
  async function tar(): Promise<Buffer> {
    const archive = pack();
    archive.entry({ name: 'Dockerfile' }, 'FROM scratch\n');
    archive.finalize();
    const chunks: Buffer[] = [];
    for await (const chunk of archive) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
  }

  async function bytesOf(stream: NodeJS.ReadableStream): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(Buffer.from(chunk));
    return Buffer.concat(chunks);
  }

  test.each([
    ['a tar', (bytes: Buffer) => bytes],
    ['a gzipped tar', (bytes: Buffer) => gzipSync(bytes)],
  ])('%s is the context, to the last byte', async (_, make) => {
    const bytes = make(await tar());
    const content = await sniffStdin(
      Readable.from([bytes.subarray(0, 10), bytes.subarray(10, 700), bytes.subarray(700)]),
    );
    expect(content.kind).toBe('archive');
    expect(content.kind === 'archive' && (await bytesOf(content.stream)).equals(bytes)).toBe(true);
  });

  test.each(['FROM scratch\n', '', `FROM scratch\n# ${'x'.repeat(2000)}\n`])(
    'anything else is the Dockerfile',
    async (text) => {
      expect(await sniffStdin(Readable.from([Buffer.from(text)]))).toEqual({ kind: 'text', text });
    },
  );

  test('a long text is no archive', () => {
    expect(isArchive(Buffer.from('RUN x\n'.repeat(200)))).toBe(false);
  });
});
