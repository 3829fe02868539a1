import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { LogWriter, readLog, type LogEntry } from '../../src/containers/log';
import { useTemp } from '../support/temp';

describe('the log of a container', () => {
  const temp = useTemp();

  async function all(
    file: string,
    options: Parameters<typeof readLog>[1] = {},
  ): Promise<LogEntry[]> {
    const entries: LogEntry[] = [];
    for await (const entry of readLog(file, options)) entries.push(entry);
    return entries;
  }
  const texts = (entries: readonly LogEntry[]): string[] =>
    entries.map(({ stream, log }) => `${stream}:${log}`);

  it('has an entry a line, whatever the pieces that it came in', async () => {
    const file = join(temp.dir(), 'log');
    const log = new LogWriter(file);
    log.write('stdout', Buffer.from('one\ntw'));
    log.write('stderr', Buffer.from('error\n'));
    log.write('stdout', Buffer.from('o\nthree'));
    log.close();
    expect(texts(await all(file))).toEqual([
      'stdout:one\n',
      'stderr:error\n',
      'stdout:two\n',
      'stdout:three',
    ]);
  });

  it('keeps characters whole that were cut in two', async () => {
    const file = join(temp.dir(), 'log');
    const log = new LogWriter(file);
    const bytes = Buffer.from('grün\n');
    for (const byte of bytes) log.write('stdout', Buffer.from([byte]));
    log.close();
    expect(texts(await all(file))).toEqual(['stdout:grün\n']);
  });

  it('is bounded, and loses only its oldest part', async () => {
    const file = join(temp.dir(), 'log');
    const log = new LogWriter(file);
    const line = Buffer.from(`${'x'.repeat(1000)}\n`.repeat(1000));
    for (let i = 0; i < 80; i++) log.write('stdout', line);
    log.write('stdout', Buffer.from('last\n'));
    log.close();
    const entries = await all(file);
    expect(entries.length).toBeLessThan(66_000);
    expect(entries.length).toBeGreaterThan(20_000);
    expect(entries.at(-1)?.log).toBe('last\n');
  });

  it('is followed until the container has ended', async () => {
    const file = join(temp.dir(), 'log');
    const log = new LogWriter(file);
    let over = false;
    const following = all(file, { follow: () => over });
    for (const word of ['a', 'b', 'c']) {
      log.write('stdout', Buffer.from(`${word}\n`));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    log.close();
    over = true;
    expect(texts(await following)).toEqual(['stdout:a\n', 'stdout:b\n', 'stdout:c\n']);
  });

  it('is readable after a crash in the middle of a line, and empty before there is one', async () => {
    const file = join(temp.dir(), 'log');
    expect(await all(file)).toEqual([]);
    appendFileSync(
      file,
      '{"log":"whole\\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n{"log":"cut o',
    );
    expect(texts(await all(file))).toEqual(['stdout:whole\n']);
  });
});
